#define _GNU_SOURCE
#include "nftables.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
  /* Elements in one message are one attribute, whose length is 16 bit. */
  ELEMENTS_BYTES = 60000,
  /* Of one element: attribute headers, key, end of key, data, chain name and comment. */
  ELEMENT_MAX = 3 * (8 + KS_NFT_KEY_MAX) + 16 + NFT_CHAIN_MAXNAMELEN + 8 + KS_NFT_COMMENT_MAX + 8,
  MESSAGE_HEAD = 512,
  NAME_MAX_BYTES = 128,
  MAX_TRIES = 8,
  /* Between tries; twice as long each time. */
  PAUSE_MS = 5,
  /* libnftnl's user data: type 0 of a set element is its comment. */
  USERDATA_COMMENT = 0
};

struct ks_nft_batch {
  uint8_t *bytes;
  size_t length, capacity;
  uint32_t sequence;
};

/* Room for `more` bytes at the end, or NULL. */
static uint8_t *reserve(struct ks_nft_batch *batch, size_t more) {
  if (batch->capacity - batch->length < more) {
    size_t capacity = batch->capacity * 2 + more + ELEMENTS_BYTES;
    uint8_t *bytes = realloc(batch->bytes, capacity);
    if (bytes == NULL)
      return NULL;
    batch->bytes = bytes;
    batch->capacity = capacity;
  }
  return batch->bytes + batch->length;
}

struct ks_nft_batch *ks_nft_batch_new(void) {
  struct ks_nft_batch *batch = calloc(1, sizeof(*batch));
  if (batch == NULL)
    return NULL;
  uint8_t *at = reserve(batch, MESSAGE_HEAD);
  if (at == NULL) {
    free(batch);
    return NULL;
  }
  struct nlmsghdr *begin = ks_netlink_message(at, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC);
  ((struct nfgenmsg *)mnl_nlmsg_get_payload(begin))->res_id = htons(NFNL_SUBSYS_NFTABLES);
  begin->nlmsg_seq = batch->sequence++;
  batch->length += begin->nlmsg_len;
  return batch;
}

void ks_nft_batch_free(struct ks_nft_batch *batch) {
  free(batch->bytes);
  free(batch);
}

static struct nlmsghdr *begin_message(uint8_t *at, const struct ks_nft_operation *operation) {
  bool is_add = operation->verb == KS_NFT_ADD;
  uint16_t type = is_add ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM;
  struct nlmsghdr *message =
      ks_netlink_message(at, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type),
                         is_add ? NLM_F_CREATE : 0, operation->family == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, operation->table);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, operation->set);
  return message;
}

static void put_value(struct nlmsghdr *message, uint16_t type, const uint8_t *value, size_t length) {
  struct nlattr *nest = mnl_attr_nest_start(message, type);
  mnl_attr_put(message, NFTA_DATA_VALUE, length, value);
  mnl_attr_nest_end(message, nest);
}

static void put_verdict(struct nlmsghdr *message, const struct ks_nft_operation *operation,
                        uint32_t verdict) {
  struct nlattr *data = mnl_attr_nest_start(message, NFTA_SET_ELEM_DATA);
  struct nlattr *nest = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);
  uint32_t code = verdict == KS_NFT_ACCEPT ? NF_ACCEPT
                  : verdict == KS_NFT_DROP ? NF_DROP
                                           : (uint32_t)NFT_GOTO;
  mnl_attr_put_u32(message, NFTA_VERDICT_CODE, htonl(code));
  if (verdict < operation->chain_count)
    mnl_attr_put_strz(message, NFTA_VERDICT_CHAIN, operation->chains[verdict]);
  mnl_attr_nest_end(message, nest);
  mnl_attr_nest_end(message, data);
}

static void put_comment(struct nlmsghdr *message, const struct ks_nft_operation *operation,
                        uint32_t index) {
  uint8_t userdata[2 + KS_NFT_COMMENT_MAX + 1];
  uint32_t start = index == 0 ? 0 : operation->comment_ends[index - 1];
  uint32_t length = operation->comment_ends[index] - start;
  if (length == 0)
    return;
  userdata[0] = USERDATA_COMMENT;
  userdata[1] = (uint8_t)(length + 1);
  memcpy(userdata + 2, operation->comments + start, length);
  userdata[2 + length] = '\0';
  mnl_attr_put(message, NFTA_SET_ELEM_USERDATA, length + 3, userdata);
}

static void put_element(struct nlmsghdr *message, const struct ks_nft_operation *operation,
                        uint32_t index) {
  const uint32_t key_length = operation->key_length, data_length = operation->data_length;
  bool is_add = operation->verb == KS_NFT_ADD;
  struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  put_value(message, NFTA_SET_ELEM_KEY, operation->keys + (size_t)index * key_length, key_length);
  if (operation->key_ends != NULL)
    put_value(message, NFTA_SET_ELEM_KEY_END, operation->key_ends + (size_t)index * key_length,
              key_length);
  if (is_add && operation->verdicts != NULL)
    put_verdict(message, operation, operation->verdicts[index]);
  else if (is_add && data_length > 0)
    put_value(message, NFTA_SET_ELEM_DATA, operation->data + (size_t)index * data_length,
              data_length);
  if (is_add && operation->comments != NULL)
    put_comment(message, operation, index);
  mnl_attr_nest_end(message, element);
}

static bool is_name(const char *name) {
  size_t length = strnlen(name, NAME_MAX_BYTES);
  return length > 0 && length < NAME_MAX_BYTES;
}

static bool is_valid(const struct ks_nft_operation *operation) {
  if (!is_name(operation->table) || !is_name(operation->set) ||
      operation->key_length > KS_NFT_KEY_MAX || operation->data_length > KS_NFT_KEY_MAX ||
      (operation->key_length == 0 && operation->count > 0))
    return false;
  for (uint32_t i = 0; i < operation->chain_count; i++)
    if (!is_name(operation->chains[i]))
      return false;
  for (uint32_t i = 0; i < operation->count && operation->verdicts != NULL; i++)
    if (operation->verdicts[i] >= operation->chain_count && operation->verdicts[i] < KS_NFT_DROP)
      return false;
  for (uint32_t i = 0, start = 0; i < operation->count && operation->comments != NULL; i++) {
    uint32_t end = operation->comment_ends[i];
    if (end < start || end - start >= KS_NFT_COMMENT_MAX)
      return false;
    start = end;
  }
  return true;
}

int ks_nft_batch_add(struct ks_nft_batch *batch, const struct ks_nft_operation *operation) {
  if (!is_valid(operation))
    return -EINVAL;
  uint32_t index = 0;
  if (operation->verb != KS_NFT_FLUSH && operation->count == 0)
    return 0;
  do {
    uint8_t *at = reserve(batch, MESSAGE_HEAD + ELEMENTS_BYTES + ELEMENT_MAX);
    if (at == NULL)
      return -ENOMEM;
    struct nlmsghdr *message = begin_message(at, operation);
    if (operation->verb != KS_NFT_FLUSH) {
      struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
      uint32_t start = message->nlmsg_len;
      while (index < operation->count && message->nlmsg_len - start < ELEMENTS_BYTES)
        put_element(message, operation, index++);
      mnl_attr_nest_end(message, list);
    }
    message->nlmsg_seq = batch->sequence++;
    batch->length += message->nlmsg_len;
  } while (operation->verb != KS_NFT_FLUSH && index < operation->count);
  return 0;
}

/* The kernel answers a transaction when it is committed: by the last message that asks for it. */
int ks_nft_batch_send(struct ks_nft_batch *batch, int fd, struct ks_netlink_error *error,
                      const char **step) {
  struct nlmsghdr *last = NULL;
  for (size_t at = 0; at < batch->length;
       at += ks_netlink_align(((struct nlmsghdr *)(batch->bytes + at))->nlmsg_len))
    last = (struct nlmsghdr *)(batch->bytes + at);
  if (batch->sequence <= 1)
    return 0;
  last->nlmsg_flags |= NLM_F_ACK;
  uint8_t *at = reserve(batch, MESSAGE_HEAD);
  *step = "memory";
  if (at == NULL)
    return -ENOMEM;
  struct nlmsghdr *end = ks_netlink_message(at, NFNL_MSG_BATCH_END, 0, AF_UNSPEC);
  ((struct nfgenmsg *)mnl_nlmsg_get_payload(end))->res_id = htons(NFNL_SUBSYS_NFTABLES);
  end->nlmsg_seq = batch->sequence++;
  batch->length += end->nlmsg_len;
  int granted = ks_netlink_buffer(fd, SO_SNDBUF, (uint32_t)batch->length + (1u << 20), step);
  if (granted < 0)
    return granted;
  return ks_netlink_transact(fd, batch->bytes, batch->length, 1, error, step);
}

void ks_nft_elements_free(struct ks_nft_elements *elements) {
  free(elements->keys);
  free(elements->data);
  free(elements->comments);
  free(elements->comment_ends);
  memset(elements, 0, sizeof(*elements));
}

static bool grow(void *pointer, size_t count, size_t size) {
  void **array = pointer;
  void *bytes = realloc(*array, count * (size == 0 ? 1 : size));
  if (bytes == NULL)
    return false;
  *array = bytes;
  return true;
}

static bool make_room(struct ks_nft_elements *elements, size_t comment_length) {
  if (elements->count == elements->capacity) {
    size_t capacity = elements->capacity == 0 ? 1024 : elements->capacity * 2;
    if (!grow(&elements->keys, capacity, elements->key_length) ||
        !grow(&elements->data, capacity, elements->data_length) ||
        !grow(&elements->comment_ends, capacity, sizeof(uint32_t)))
      return false;
    elements->capacity = capacity;
  }
  if (elements->comment_capacity - elements->comment_bytes < comment_length) {
    size_t capacity = elements->comment_capacity * 2 + 65536;
    if (!grow(&elements->comments, capacity, 1))
      return false;
    elements->comment_capacity = capacity;
  }
  return true;
}

/* The value inside of a key or data attribute; NULL for a verdict or none. */
static const uint8_t *value_of(const struct nlattr *attribute, uint32_t *length) {
  const struct nlattr *table[NFTA_DATA_VALUE + 1];
  *length = 0;
  if (!ks_netlink_index_nested(attribute, table, NFTA_DATA_VALUE) || table[NFTA_DATA_VALUE] == NULL)
    return NULL;
  *length = mnl_attr_get_payload_len(table[NFTA_DATA_VALUE]);
  return mnl_attr_get_payload(table[NFTA_DATA_VALUE]);
}

static const uint8_t *comment_of(const struct nlattr *attribute, uint32_t *length) {
  *length = 0;
  const uint8_t *userdata = ks_netlink_payload(attribute, 2);
  if (userdata == NULL || userdata[0] != USERDATA_COMMENT || userdata[1] == 0 ||
      ks_netlink_payload(attribute, 2 + (size_t)userdata[1]) == NULL)
    return NULL;
  *length = (uint32_t)strnlen((const char *)userdata + 2, userdata[1]);
  return userdata + 2;
}

static int add_element(const struct nlattr *element, struct ks_nft_elements *elements) {
  const struct nlattr *table[NFTA_SET_ELEM_USERDATA + 1];
  uint32_t key_length, data_length, comment_length;
  if (!ks_netlink_index_nested(element, table, NFTA_SET_ELEM_USERDATA))
    return 0;
  const uint8_t *key = value_of(table[NFTA_SET_ELEM_KEY], &key_length);
  const uint8_t *data = value_of(table[NFTA_SET_ELEM_DATA], &data_length);
  const uint8_t *comment = comment_of(table[NFTA_SET_ELEM_USERDATA], &comment_length);
  if (key == NULL || key_length > KS_NFT_KEY_MAX || data_length > KS_NFT_KEY_MAX)
    return 0;
  if (elements->count == 0) {
    elements->key_length = key_length;
    elements->data_length = data_length;
  }
  if (key_length != elements->key_length || data_length != elements->data_length)
    return 0;
  if (!make_room(elements, comment_length))
    return -ENOMEM;
  memcpy(elements->keys + (size_t)elements->count * key_length, key, key_length);
  if (data != NULL)
    memcpy(elements->data + (size_t)elements->count * data_length, data, data_length);
  /* Before the first comment there is no memory for any. */
  if (comment_length > 0)
    memcpy(elements->comments + elements->comment_bytes, comment, comment_length);
  elements->comment_bytes += comment_length;
  elements->comment_ends[elements->count++] = (uint32_t)elements->comment_bytes;
  uint32_t flags = 0;
  const void *payload = ks_netlink_payload(table[NFTA_SET_ELEM_FLAGS], sizeof(flags));
  if (payload != NULL)
    memcpy(&flags, payload, sizeof(flags));
  elements->has_interval_ends |= (ntohl(flags) & NFT_SET_ELEM_INTERVAL_END) != 0;
  return 0;
}

int ks_nft_parse(const uint8_t *message, size_t length, struct ks_nft_elements *elements) {
  const struct nlmsghdr *header = (const struct nlmsghdr *)message;
  const struct nlattr *table[NFTA_SET_ELEM_LIST_ELEMENTS + 1];
  size_t head = sizeof(*header) + sizeof(struct nfgenmsg);
  if (length < head || header->nlmsg_len > length || header->nlmsg_len < head ||
      header->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM) ||
      !ks_netlink_index(message + head, message + header->nlmsg_len, table,
                        NFTA_SET_ELEM_LIST_ELEMENTS) ||
      table[NFTA_SET_ELEM_LIST_ELEMENTS] == NULL)
    return 0;
  const uint8_t *at = mnl_attr_get_payload(table[NFTA_SET_ELEM_LIST_ELEMENTS]);
  size_t left = mnl_attr_get_payload_len(table[NFTA_SET_ELEM_LIST_ELEMENTS]);
  while (left >= sizeof(struct nlattr)) {
    const struct nlattr *element = (const struct nlattr *)at;
    if (element->nla_len < sizeof(*element) || element->nla_len > left)
      return 0;
    int error = add_element(element, elements);
    if (error)
      return error;
    size_t step = ks_netlink_align(element->nla_len);
    if (step >= left)
      return 0;
    at += step;
    left -= step;
  }
  return 0;
}

static int each_element(const uint8_t *message, size_t length, void *elements) {
  return ks_nft_parse(message, length, elements);
}

/* FNV-1a. */
static uint32_t hash_of(const uint8_t *key, size_t length) {
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ key[i]) * 16777619u;
  return hash ^ hash >> 15;
}

/* Whether a key is there twice: 0, 1 or -ENOMEM. */
static int has_repetition(const struct ks_nft_elements *elements) {
  const size_t length = elements->key_length;
  size_t room = 16;
  if (elements->has_interval_ends)
    return 0;
  while (room < (size_t)elements->count * 2)
    room *= 2;
  /* Open addressing: the place of an element, plus 1. */
  uint32_t *places = calloc(room, sizeof(*places));
  if (places == NULL)
    return -ENOMEM;
  int found = 0;
  for (uint32_t i = 0; i < elements->count && !found; i++) {
    const uint8_t *key = elements->keys + i * length;
    size_t at = hash_of(key, length) & (room - 1);
    for (; places[at] != 0 && !found; at = (at + 1) & (room - 1))
      found = memcmp(elements->keys + (places[at] - 1) * length, key, length) == 0;
    places[at] = i + 1;
  }
  free(places);
  return found;
}

int ks_nft_dump(int fd, int family, const char *table, const char *set,
                struct ks_nft_elements *elements, struct ks_netlink_error *error,
                const char **step) {
  uint8_t buffer[MESSAGE_HEAD];
  *step = "nftables dump";
  if (!is_name(table) || !is_name(set))
    return -EINVAL;
  for (int tries = 0; tries < MAX_TRIES; tries++) {
    struct nlmsghdr *request =
        ks_netlink_message(buffer, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, NLM_F_DUMP,
                           family == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
    mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE, table);
    mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET, set);
    memset(elements, 0, sizeof(*elements));
    int state = ks_netlink_dump(fd, request, each_element, elements, error, step);
    if (state == 1)
      state = has_repetition(elements);
    if (state == 0)
      return 0;
    ks_nft_elements_free(elements);
    if (state < 0)
      return state;
    (void)poll(NULL, 0, PAUSE_MS << tries);
  }
  return -EAGAIN;
}

struct rule_count {
  const char *table, *chain;
  uint32_t count;
};

static bool is_text(const struct nlattr *attribute, const char *text) {
  const size_t bytes = strlen(text) + 1;
  const void *payload = ks_netlink_payload(attribute, bytes);
  return payload != NULL && memcmp(payload, text, bytes) == 0;
}

/* Kernels before 4.15 list the rules of all chains, whatever is asked for. */
static int each_rule(const uint8_t *message, size_t length, void *context) {
  const struct nlmsghdr *header = (const struct nlmsghdr *)message;
  const struct nlattr *table[NFTA_RULE_CHAIN + 1];
  struct rule_count *rules = context;
  const size_t head = sizeof(*header) + sizeof(struct nfgenmsg);
  if (length < head || header->nlmsg_len > length || header->nlmsg_len < head ||
      header->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE) ||
      !ks_netlink_index(message + head, message + header->nlmsg_len, table, NFTA_RULE_CHAIN))
    return 0;
  rules->count += is_text(table[NFTA_RULE_TABLE], rules->table) &&
                  (rules->chain == NULL || is_text(table[NFTA_RULE_CHAIN], rules->chain));
  return 0;
}

int ks_nft_count_rules(int fd, int family, const char *table, const char *chain, uint32_t *count,
                       struct ks_netlink_error *error, const char **step) {
  uint8_t buffer[MESSAGE_HEAD];
  *step = "nftables dump";
  if (!is_name(table) || (chain != NULL && !is_name(chain)))
    return -EINVAL;
  for (int tries = 0; tries < MAX_TRIES; tries++) {
    struct rule_count rules = {.table = table, .chain = chain};
    struct nlmsghdr *request =
        ks_netlink_message(buffer, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE, NLM_F_DUMP,
                           family == 6 ? NFPROTO_IPV6 : NFPROTO_IPV4);
    mnl_attr_put_strz(request, NFTA_RULE_TABLE, table);
    if (chain != NULL)
      mnl_attr_put_strz(request, NFTA_RULE_CHAIN, chain);
    int state = ks_netlink_dump(fd, request, each_rule, &rules, error, step);
    *count = rules.count;
    if (state < 0)
      return state;
    if (state == 1)
      return 0;
    (void)poll(NULL, 0, PAUSE_MS << tries);
  }
  return -EAGAIN;
}
