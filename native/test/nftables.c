/* Unit test of core/nftables.c: what it sends, and what it makes of dumps made here. */
#include "../core/nftables.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "peer.h"

enum { ROOM = 4096, ELEMENT_TYPE = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM };

static struct ks_nft_operation operation_of(enum ks_nft_verb verb, uint32_t count) {
  static const uint8_t keys[] = {1, 2, 3, 4, 5, 6, 7, 8}, data[] = {9, 10, 11, 12};
  static const uint8_t comments[] = {'o', 'n', 'e'};
  static const uint32_t ends[] = {3, 3};
  return (struct ks_nft_operation){.verb = verb,
                                   .family = 6,
                                   .table = "sluice",
                                   .set = "endpoints",
                                   .count = count,
                                   .key_length = 4,
                                   .keys = keys,
                                   .data_length = 2,
                                   .data = data,
                                   .comments = comments,
                                   .comment_ends = ends};
}

/* Sends the batch to a peer that agrees; the messages are in peer->requests. */
static struct peer *send_batch(struct ks_nft_batch *batch) {
  static _Alignas(4) uint8_t answer[ROOM];
  const char *step = NULL;
  struct peer *peer = peer_open(answer, put_answer(answer, 0, 1, NULL)->nlmsg_len, 1);
  CHECK(ks_nft_batch_send(batch, peer->fd, NULL, &step) == 0);
  peer_join(peer);
  ks_nft_batch_free(batch);
  return peer;
}

/* Message `index` of the batch, or NULL behind the last one. */
static const struct nlmsghdr *message_at(const struct peer *peer, size_t index) {
  size_t at = 0;
  for (;; index--) {
    const struct nlmsghdr *message = (const struct nlmsghdr *)(peer->requests + at);
    if (at == peer->length)
      return NULL;
    CHECK(at < peer->length && message->nlmsg_len >= 20 &&
          message->nlmsg_len <= peer->length - at && message->nlmsg_len % 4 == 0);
    if (index == 0)
      return message;
    at += message->nlmsg_len;
  }
}

static uint8_t family_of(const struct nlmsghdr *message) {
  return ((const struct nfgenmsg *)mnl_nlmsg_get_payload(message))->nfgen_family;
}

static void index_message(const struct nlmsghdr *message, const struct nlattr **table) {
  const uint8_t *start = (const uint8_t *)message;
  CHECK(
      ks_netlink_index(start + 20, start + message->nlmsg_len, table, NFTA_SET_ELEM_LIST_ELEMENTS));
  CHECK(strcmp(mnl_attr_get_str(table[NFTA_SET_ELEM_LIST_TABLE]), "sluice") == 0);
  CHECK(strcmp(mnl_attr_get_str(table[NFTA_SET_ELEM_LIST_SET]), "endpoints") == 0);
}

/* Attributes of the first element of a message. */
static void index_element(const struct nlmsghdr *message, const struct nlattr **element) {
  const struct nlattr *table[NFTA_SET_ELEM_LIST_ELEMENTS + 1], *list[NFTA_LIST_ELEM + 1];
  index_message(message, table);
  CHECK(ks_netlink_index_nested(table[NFTA_SET_ELEM_LIST_ELEMENTS], list, NFTA_LIST_ELEM));
  CHECK(ks_netlink_index_nested(list[NFTA_LIST_ELEM], element, NFTA_SET_ELEM_KEY_END));
}

static void has_value(const struct nlattr *attribute, const char *bytes, size_t length) {
  const struct nlattr *table[NFTA_DATA_VALUE + 1];
  CHECK(ks_netlink_index_nested(attribute, table, NFTA_DATA_VALUE));
  CHECK(mnl_attr_get_payload_len(table[NFTA_DATA_VALUE]) == length);
  CHECK(memcmp(mnl_attr_get_payload(table[NFTA_DATA_VALUE]), bytes, length) == 0);
}

/* What nfnetlink wants: begin and end of the batch, and an acknowledgement of the last change only.
 */
static void frames_a_transaction(void) {
  struct ks_nft_batch *batch = ks_nft_batch_new();
  struct ks_nft_operation added = operation_of(KS_NFT_ADD, 1),
                          gone = operation_of(KS_NFT_DELETE, 1),
                          flushed = operation_of(KS_NFT_FLUSH, 0);
  CHECK(ks_nft_batch_add(batch, &flushed) == 0);
  CHECK(ks_nft_batch_add(batch, &gone) == 0);
  CHECK(ks_nft_batch_add(batch, &added) == 0);
  struct peer *peer = send_batch(batch);
  const uint16_t types[] = {NFNL_MSG_BATCH_BEGIN, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM,
                            NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELSETELEM, ELEMENT_TYPE,
                            NFNL_MSG_BATCH_END};
  for (size_t i = 0; i < 5; i++) {
    const struct nlmsghdr *message = message_at(peer, i);
    CHECK(message != NULL && message->nlmsg_type == types[i] && message->nlmsg_seq == i);
    CHECK(((message->nlmsg_flags & NLM_F_ACK) != 0) == (i == 3));
    CHECK(((message->nlmsg_flags & NLM_F_CREATE) != 0) == (i == 3));
    CHECK(family_of(message) == (i == 0 || i == 4 ? AF_UNSPEC : NFPROTO_IPV6));
  }
  const struct nlattr *table[NFTA_SET_ELEM_LIST_ELEMENTS + 1];
  index_message(message_at(peer, 1), table);
  CHECK(table[NFTA_SET_ELEM_LIST_ELEMENTS] == NULL);
  CHECK(message_at(peer, 5) == NULL);
  peer_close(peer);
}

static void writes_keys_data_and_comments(void) {
  const struct nlattr *element[NFTA_SET_ELEM_KEY_END + 1];
  struct ks_nft_batch *batch = ks_nft_batch_new();
  struct ks_nft_operation added = operation_of(KS_NFT_ADD, 1),
                          gone = operation_of(KS_NFT_DELETE, 1);
  added.key_ends = (const uint8_t *)"\xff\xfe\xfd\xfc";
  CHECK(ks_nft_batch_add(batch, &added) == 0 && ks_nft_batch_add(batch, &gone) == 0);
  struct peer *peer = send_batch(batch);
  index_element(message_at(peer, 1), element);
  has_value(element[NFTA_SET_ELEM_KEY], "\1\2\3\4", 4);
  has_value(element[NFTA_SET_ELEM_KEY_END], "\xff\xfe\xfd\xfc", 4);
  has_value(element[NFTA_SET_ELEM_DATA], "\x9\xa", 2);
  /* As libnftnl has it: type, length, text and its NUL. */
  CHECK(mnl_attr_get_payload_len(element[NFTA_SET_ELEM_USERDATA]) == 6);
  CHECK(memcmp(mnl_attr_get_payload(element[NFTA_SET_ELEM_USERDATA]), "\0\4one", 6) == 0);
  index_element(message_at(peer, 2), element);
  has_value(element[NFTA_SET_ELEM_KEY], "\1\2\3\4", 4);
  CHECK(element[NFTA_SET_ELEM_DATA] == NULL && element[NFTA_SET_ELEM_USERDATA] == NULL);
  peer_close(peer);
}

static void writes_verdicts(void) {
  const char *const chains[] = {"svc-a", "svc-b"};
  const uint32_t verdicts[] = {1, KS_NFT_ACCEPT, KS_NFT_DROP};
  const uint32_t codes[] = {(uint32_t)NFT_GOTO, NF_ACCEPT, NF_DROP};
  for (size_t i = 0; i < 3; i++) {
    const struct nlattr *element[NFTA_SET_ELEM_KEY_END + 1], *data[NFTA_DATA_VERDICT + 1],
        *verdict[NFTA_VERDICT_CHAIN + 1];
    struct ks_nft_batch *batch = ks_nft_batch_new();
    struct ks_nft_operation operation = operation_of(KS_NFT_ADD, 1);
    operation.data_length = 0;
    operation.chains = chains;
    operation.chain_count = 2;
    operation.verdicts = &verdicts[i];
    CHECK(ks_nft_batch_add(batch, &operation) == 0);
    struct peer *peer = send_batch(batch);
    index_element(message_at(peer, 1), element);
    CHECK(ks_netlink_index_nested(element[NFTA_SET_ELEM_DATA], data, NFTA_DATA_VERDICT));
    CHECK(ks_netlink_index_nested(data[NFTA_DATA_VERDICT], verdict, NFTA_VERDICT_CHAIN));
    CHECK(ntohl(mnl_attr_get_u32(verdict[NFTA_VERDICT_CODE])) == codes[i]);
    CHECK((verdict[NFTA_VERDICT_CHAIN] != NULL) == (i == 0));
    if (i == 0)
      CHECK(strcmp(mnl_attr_get_str(verdict[NFTA_VERDICT_CHAIN]), "svc-b") == 0);
    peer_close(peer);
  }
}

/* The length of an attribute has 16 bits: more elements than that are several messages. */
static void splits_what_one_message_cannot_hold(void) {
  enum { COUNT = 2000 };
  struct ks_nft_operation operation = operation_of(KS_NFT_ADD, COUNT);
  struct ks_nft_elements elements = {0};
  uint8_t *keys = calloc(COUNT, KS_NFT_KEY_MAX);
  CHECK(keys != NULL);
  for (uint32_t i = 0; i < COUNT; i++)
    memcpy(keys + (size_t)i * KS_NFT_KEY_MAX, &i, sizeof(i));
  operation.keys = keys;
  operation.key_length = KS_NFT_KEY_MAX;
  operation.data_length = 0;
  operation.comments = NULL;
  struct ks_nft_batch *batch = ks_nft_batch_new();
  CHECK(ks_nft_batch_add(batch, &operation) == 0);
  struct peer *peer = send_batch(batch);
  size_t messages = 0;
  for (const struct nlmsghdr *at; (at = message_at(peer, messages)) != NULL; messages++)
    CHECK(ks_nft_parse((const uint8_t *)at, at->nlmsg_len, &elements) == 0);
  CHECK(messages == 2 + 3);
  CHECK(elements.count == COUNT && elements.key_length == KS_NFT_KEY_MAX);
  CHECK(memcmp(elements.keys, keys, (size_t)COUNT * KS_NFT_KEY_MAX) == 0);
  ks_nft_elements_free(&elements);
  free(keys);
  peer_close(peer);
}

static void sends_nothing_for_nothing(void) {
  const char *step = NULL;
  struct ks_nft_batch *batch = ks_nft_batch_new();
  struct ks_nft_operation nothing = operation_of(KS_NFT_ADD, 0);
  CHECK(ks_nft_batch_add(batch, &nothing) == 0);
  CHECK(ks_nft_batch_send(batch, -1, NULL, &step) == 0);
  ks_nft_batch_free(batch);
}

static void refuses_lengths_out_of_range(void) {
  static const uint8_t bytes[KS_NFT_COMMENT_MAX + 1];
  const uint32_t backwards[] = {2, 1}, long_comment[] = {0, KS_NFT_COMMENT_MAX};
  const uint32_t verdicts[] = {0, 2};
  const char *const chains[] = {"one", ""}, *const good[] = {"one", "two"};
  char name[129];
  memset(name, 'n', sizeof(name) - 1);
  name[128] = '\0';
  struct ks_nft_operation wrong[9];
  for (size_t i = 0; i < 9; i++) {
    wrong[i] = operation_of(KS_NFT_ADD, 2);
    wrong[i].comments = bytes;
  }
  wrong[0].key_length = KS_NFT_KEY_MAX + 1;
  wrong[1].key_length = 0;
  wrong[2].data_length = KS_NFT_KEY_MAX + 1;
  wrong[3].comment_ends = backwards;
  wrong[4].comment_ends = long_comment;
  wrong[5].table = "";
  wrong[6].set = name;
  wrong[7].chains = chains;
  wrong[7].chain_count = 2;
  wrong[8].chains = good;
  wrong[8].chain_count = 2;
  wrong[8].verdicts = verdicts;
  for (size_t i = 0; i < 9; i++) {
    struct ks_nft_batch *batch = ks_nft_batch_new();
    CHECK(ks_nft_batch_add(batch, &wrong[i]) == -EINVAL);
    ks_nft_batch_free(batch);
  }
}

/* One element as the kernel dumps it; `data` NULL: of a set; `comment` NULL: none. */
static void put_element(struct nlmsghdr *message, uint32_t key, const void *data,
                        const char *comment) {
  uint8_t userdata[2 + KS_NFT_COMMENT_MAX] = {0};
  struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  struct nlattr *nest = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
  mnl_attr_put_u32(message, NFTA_DATA_VALUE, key);
  mnl_attr_nest_end(message, nest);
  if (data != NULL) {
    nest = mnl_attr_nest_start(message, NFTA_SET_ELEM_DATA);
    mnl_attr_put(message, NFTA_DATA_VALUE, 8, data);
    mnl_attr_nest_end(message, nest);
  }
  if (comment != NULL) {
    userdata[1] = (uint8_t)(strlen(comment) + 1);
    memcpy(userdata + 2, comment, strlen(comment));
    mnl_attr_put(message, NFTA_SET_ELEM_USERDATA, 2u + userdata[1], userdata);
  }
  mnl_attr_nest_end(message, element);
}

/* A page of a dump with the keys first..first+count-1. */
static struct nlmsghdr *put_page(void *buffer, uint16_t flags, uint32_t first, uint32_t count,
                                 const char *comment) {
  struct nlmsghdr *message = ks_netlink_message(buffer, ELEMENT_TYPE, flags, NFPROTO_IPV4);
  message->nlmsg_flags = (uint16_t)(NLM_F_MULTI | flags);
  struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
  for (uint32_t i = 0; i < count; i++)
    put_element(message, first + i, "\1\2\3\4\5\6\7\x8", comment);
  mnl_attr_nest_end(message, list);
  return message;
}

static struct nlmsghdr *put_done(void *buffer, uint16_t flags) {
  struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
  /* How it ended: 0. */
  mnl_nlmsg_put_extra_header(message, sizeof(int32_t));
  message->nlmsg_type = NLMSG_DONE;
  message->nlmsg_flags = (uint16_t)(NLM_F_MULTI | flags);
  return message;
}

/* An empty comment first: there is no memory for any yet. */
static void parses_elements_and_their_comments(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct ks_nft_elements elements = {0};
  const char *const comments[] = {"", NULL, "default/web:http"};
  for (uint32_t i = 0; i < 3; i++) {
    struct nlmsghdr *message = put_page(buffer, 0, i, 1, comments[i]);
    CHECK(ks_nft_parse(buffer, message->nlmsg_len, &elements) == 0);
  }
  CHECK(elements.count == 3 && elements.key_length == 4 && elements.data_length == 8);
  CHECK(memcmp(elements.keys, (uint32_t[]){0, 1, 2}, 12) == 0);
  CHECK(memcmp(elements.data + 16, "\1\2\3\4\5\6\7\x8", 8) == 0);
  CHECK(memcmp(elements.comment_ends, (uint32_t[]){0, 0, 16}, 12) == 0);
  CHECK(memcmp(elements.comments, "default/web:http", 16) == 0);
  ks_nft_elements_free(&elements);
  CHECK(elements.count == 0 && elements.keys == NULL);
}

/* As the end of an interval, or a catch-all element, which has no key. */
static void passes_over_elements_of_another_shape(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct ks_nft_elements elements = {0};
  struct nlmsghdr *message = put_page(buffer, 0, 7, 1, NULL);
  struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
  put_element(message, 8, NULL, NULL);
  mnl_attr_put_u32(message, NFTA_LIST_ELEM, 0);
  put_element(message, 9, "\0\0\0\0\0\0\0", NULL);
  mnl_attr_nest_end(message, list);
  CHECK(ks_nft_parse(buffer, 60, &elements) == 0 && elements.count == 0);
  struct nlmsghdr *first = put_page(buffer + ROOM / 2, 0, 7, 1, NULL);
  CHECK(ks_nft_parse((uint8_t *)first, first->nlmsg_len, &elements) == 0);
  /* Of two lists the last counts. */
  CHECK(ks_nft_parse(buffer, message->nlmsg_len, &elements) == 0);
  CHECK(elements.count == 2 && memcmp(elements.keys, (uint32_t[]){7, 9}, 8) == 0);
  ks_nft_elements_free(&elements);
}

static void survives_pages_cut_anywhere(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct nlmsghdr *message = put_page(buffer, 0, 1, 3, "here");
  const uint32_t whole = message->nlmsg_len;
  for (uint32_t length = 0; length < whole; length++) {
    struct ks_nft_elements elements = {0};
    message->nlmsg_len = whole;
    uint8_t *copy = exact_copy(buffer, length);
    CHECK(ks_nft_parse(copy, length, &elements) == 0 && elements.count == 0);
    free(copy);
    message->nlmsg_len = length;
    copy = exact_copy(buffer, length < 16 ? 16 : length);
    CHECK(ks_nft_parse(copy, length < 16 ? 16 : length, &elements) == 0 && elements.count == 0);
    free(copy);
  }
}

/* Datagrams of a dump that wait in a socket; returns what a dump of them says. */
struct script {
  int ends[2];
};

static void open_script(struct script *script) {
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, script->ends) == 0);
}

static void add_page(struct script *script, const void *bytes, size_t length) {
  CHECK(send(script->ends[1], bytes, length, 0) == (ssize_t)length);
}

static int dump(struct script *script, struct ks_nft_elements *elements,
                struct ks_netlink_error *error) {
  const char *step = NULL;
  int state = ks_nft_dump(script->ends[0], 4, "sluice", "endpoints", elements, error, &step);
  close(script->ends[0]);
  close(script->ends[1]);
  return state;
}

/* The last page and the end come in one datagram, as from kernels since 2.6. */
static void add_last_page(struct script *script, uint16_t flags, uint32_t first) {
  _Alignas(4) uint8_t buffer[ROOM];
  size_t length = put_page(buffer, flags, first, 1, "last")->nlmsg_len;
  length += put_done(buffer + length, flags)->nlmsg_len;
  add_page(script, buffer, length);
}

static void add_first_page(struct script *script, uint16_t flags) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct nlmsghdr *message = put_page(buffer, flags, 0, 2, NULL);
  add_page(script, message, message->nlmsg_len);
}

static void collects_the_pages_of_a_dump(void) {
  struct script script;
  struct ks_nft_elements elements;
  struct ks_netlink_error error;
  open_script(&script);
  add_first_page(&script, 0);
  add_last_page(&script, 0, 2);
  CHECK(dump(&script, &elements, &error) == 0);
  CHECK(elements.count == 3 && memcmp(elements.keys, (uint32_t[]){0, 1, 2}, 12) == 0);
  ks_nft_elements_free(&elements);
}

/* Whichever page says so, what was collected is thrown away and the next dump counts. */
static void begins_anew_when_the_set_changes(void) {
  for (int interrupted = 0; interrupted < 3; interrupted++) {
    _Alignas(4) uint8_t buffer[ROOM];
    struct script script;
    struct ks_nft_elements elements;
    struct ks_netlink_error error;
    open_script(&script);
    add_first_page(&script, interrupted == 0 ? NLM_F_DUMP_INTR : 0);
    if (interrupted == 2)
      add_page(&script, buffer, put_done(buffer, NLM_F_DUMP_INTR)->nlmsg_len);
    else
      add_last_page(&script, interrupted == 1 ? NLM_F_DUMP_INTR : 0, 2);
    add_last_page(&script, 0, 7);
    CHECK(dump(&script, &elements, &error) == 0);
    CHECK(elements.count == 1 && memcmp(elements.keys, (uint32_t[]){7}, 4) == 0);
    ks_nft_elements_free(&elements);
  }
}

/* As while the kernel resizes its hash table: no page says so, but an element comes twice. */
static void begins_anew_when_an_element_comes_twice(void) {
  struct script script;
  struct ks_nft_elements elements;
  struct ks_netlink_error error;
  open_script(&script);
  add_first_page(&script, 0);
  add_last_page(&script, 0, 1);
  add_first_page(&script, 0);
  add_last_page(&script, 0, 2);
  CHECK(dump(&script, &elements, &error) == 0);
  CHECK(elements.count == 3 && memcmp(elements.keys, (uint32_t[]){0, 1, 2}, 12) == 0);
  ks_nft_elements_free(&elements);
}

static void gives_up_on_a_set_that_never_stands_still(void) {
  struct script script;
  struct ks_nft_elements elements;
  struct ks_netlink_error error;
  open_script(&script);
  for (int i = 0; i < 8; i++)
    add_last_page(&script, NLM_F_DUMP_INTR, 2);
  CHECK(dump(&script, &elements, &error) == -EAGAIN);
  CHECK(elements.count == 0 && elements.keys == NULL);
}

static void passes_on_what_the_kernel_refuses(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct script script;
  struct ks_nft_elements elements;
  struct ks_netlink_error error = {0};
  open_script(&script);
  add_first_page(&script, 0);
  add_page(&script, buffer, put_answer(buffer, -ENOENT, 1, "no such set")->nlmsg_len);
  CHECK(dump(&script, &elements, &error) == -ENOENT);
  CHECK(strcmp(error.text, "no such set") == 0 && elements.keys == NULL);

  /* The set is deleted between two pages (nf_tables_dump_set). */
  const int32_t gone = -ENOENT;
  struct nlmsghdr *done = put_done(buffer, 0);
  memcpy(mnl_nlmsg_get_payload(done), &gone, sizeof(gone));
  open_script(&script);
  add_first_page(&script, 0);
  add_page(&script, done, done->nlmsg_len);
  CHECK(dump(&script, &elements, &error) == -ENOENT && elements.keys == NULL);

  struct nlmsghdr *broken = put_page(buffer, 0, 0, 1, NULL);
  const uint32_t length = broken->nlmsg_len;
  broken->nlmsg_len = length + 4;
  open_script(&script);
  add_page(&script, buffer, length);
  CHECK(dump(&script, &elements, &error) == -EBADMSG);
}

int main(void) {
  frames_a_transaction();
  writes_keys_data_and_comments();
  writes_verdicts();
  splits_what_one_message_cannot_hold();
  sends_nothing_for_nothing();
  refuses_lengths_out_of_range();
  parses_elements_and_their_comments();
  passes_over_elements_of_another_shape();
  survives_pages_cut_anywhere();
  collects_the_pages_of_a_dump();
  begins_anew_when_the_set_changes();
  begins_anew_when_an_element_comes_twice();
  gives_up_on_a_set_that_never_stands_still();
  passes_on_what_the_kernel_refuses();
  return 0;
}
