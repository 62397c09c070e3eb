/* Unit test of core/nftables.c: what it sends; nftables-dump.c has what it reads. */
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

int main(void) {
  frames_a_transaction();
  writes_keys_data_and_comments();
  writes_verdicts();
  splits_what_one_message_cannot_hold();
  sends_nothing_for_nothing();
  refuses_lengths_out_of_range();
  return 0;
}
