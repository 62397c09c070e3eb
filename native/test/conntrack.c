/* Unit test of core/conntrack.c: entries made here, read whole and cut, and what deletions send. */
#include "../core/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include "peer.h"

enum { ROOM = 1024, ENTRY_TYPE = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW };

static void put_tuple(struct nlmsghdr *message, uint16_t type, bool is_v6, uint8_t first) {
  const uint8_t source[16] = {first, 1, 2, 3, [15] = 9}, destination[16] = {first, 4, 5, 6};
  size_t length = is_v6 ? 16 : 4;
  struct nlattr *tuple = mnl_attr_nest_start(message, type);
  struct nlattr *ip = mnl_attr_nest_start(message, CTA_TUPLE_IP);
  mnl_attr_put(message, is_v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, length, source);
  mnl_attr_put(message, is_v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, length, destination);
  mnl_attr_nest_end(message, ip);
  struct nlattr *protocol = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(message, CTA_PROTO_NUM, IPPROTO_TCP);
  mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons((uint16_t)(first * 1000)));
  mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(first));
  mnl_attr_nest_end(message, protocol);
  mnl_attr_nest_end(message, tuple);
}

static struct nlmsghdr *put_entry(void *buffer, bool is_v6, uint16_t flags) {
  const struct nf_ct_tcp_flags original = {.flags = IP_CT_TCP_FLAG_CLOSE_INIT, .mask = 0xff},
                               reply = {.flags = IP_CT_TCP_FLAG_SACK_PERM, .mask = 0xff};
  struct nlmsghdr *message =
      ks_netlink_message(buffer, ENTRY_TYPE, flags, is_v6 ? AF_INET6 : AF_INET);
  message->nlmsg_flags = flags;
  put_tuple(message, CTA_TUPLE_ORIG, is_v6, 10);
  put_tuple(message, CTA_TUPLE_REPLY, is_v6, 20);
  mnl_attr_put_u32(message, CTA_STATUS, htonl(0x18e));
  struct nlattr *info = mnl_attr_nest_start(message, CTA_PROTOINFO);
  struct nlattr *tcp = mnl_attr_nest_start(message, CTA_PROTOINFO_TCP);
  mnl_attr_put_u8(message, CTA_PROTOINFO_TCP_STATE, TCP_CONNTRACK_ESTABLISHED);
  mnl_attr_put(message, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, sizeof(original), &original);
  mnl_attr_put(message, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof(reply), &reply);
  mnl_attr_nest_end(message, tcp);
  mnl_attr_nest_end(message, info);
  mnl_attr_put_u32(message, CTA_TIMEOUT, htonl(99));
  mnl_attr_put_u32(message, CTA_MARK, htonl(0x40001));
  return message;
}

static int parse(const void *bytes, size_t length, uint32_t *words) {
  memset(words, 0xa5, KS_CONNTRACK_WORDS * sizeof(*words));
  uint8_t *copy = exact_copy(bytes, length);
  int result = ks_conntrack_parse(copy, length, words);
  free(copy);
  return result;
}

static void reads_all_of_an_entry(bool is_v6) {
  _Alignas(4) uint8_t buffer[ROOM];
  uint32_t words[KS_CONNTRACK_WORDS];
  struct nlmsghdr *message = put_entry(buffer, is_v6, NLM_F_MULTI);
  CHECK(parse(buffer, message->nlmsg_len, words) == 1);
  const struct {
    enum ks_conntrack_word word;
    uint32_t value;
  } expected[] = {
      {KS_CONNTRACK_TYPE, KS_CONNTRACK_IS_ENTRY},
      {KS_CONNTRACK_FAMILY, is_v6 ? 6 : 4},
      {KS_CONNTRACK_PROTOCOL, IPPROTO_TCP},
      {KS_CONNTRACK_MARK, 0x40001},
      {KS_CONNTRACK_STATUS, 0x18e},
      {KS_CONNTRACK_TCP_STATE, TCP_CONNTRACK_ESTABLISHED},
      {KS_CONNTRACK_TCP_FLAGS, IP_CT_TCP_FLAG_CLOSE_INIT | IP_CT_TCP_FLAG_SACK_PERM},
      {KS_CONNTRACK_TIMEOUT, 99},
      {KS_CONNTRACK_SOURCE_PORT, 10000},
      {KS_CONNTRACK_DESTINATION_PORT, 10},
      {KS_CONNTRACK_REPLY_SOURCE_PORT, 20000},
      {KS_CONNTRACK_REPLY_DESTINATION_PORT, 20},
  };
  for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
    CHECK(words[expected[i].word] == expected[i].value);
  const uint8_t source[16] = {10, 1, 2, 3, [15] = is_v6 ? 9 : 0}, destination[16] = {10, 4, 5, 6};
  const uint8_t reply[16] = {20, 1, 2, 3, [15] = is_v6 ? 9 : 0}, answered[16] = {20, 4, 5, 6};
  CHECK(memcmp(&words[KS_CONNTRACK_SOURCE], source, 16) == 0);
  CHECK(memcmp(&words[KS_CONNTRACK_DESTINATION], destination, 16) == 0);
  CHECK(memcmp(&words[KS_CONNTRACK_REPLY_SOURCE], reply, 16) == 0);
  CHECK(memcmp(&words[KS_CONNTRACK_REPLY_DESTINATION], answered, 16) == 0);
}

static void tells_the_kinds_of_messages_apart(void) {
  const struct {
    uint16_t type;
    uint16_t flags;
    uint32_t expected;
  } kinds[] = {
      {IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL, KS_CONNTRACK_IS_NEW},
      {IPCTNL_MSG_CT_NEW, 0, KS_CONNTRACK_IS_UPDATE},
      {IPCTNL_MSG_CT_NEW, NLM_F_MULTI, KS_CONNTRACK_IS_ENTRY},
      {IPCTNL_MSG_CT_DELETE, 0, KS_CONNTRACK_IS_DESTROY},
  };
  _Alignas(4) uint8_t buffer[ROOM];
  uint32_t words[KS_CONNTRACK_WORDS];
  for (size_t i = 0; i < 4; i++) {
    struct nlmsghdr *message = put_entry(buffer, false, kinds[i].flags);
    message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | kinds[i].type);
    CHECK(parse(buffer, message->nlmsg_len, words) == 1);
    CHECK(words[KS_CONNTRACK_TYPE] == kinds[i].expected);
  }
  const uint16_t others[] = {NLMSG_DONE, NLMSG_ERROR, NFNL_SUBSYS_CTNETLINK_EXP << 8,
                             NFNL_SUBSYS_NFTABLES << 8};
  for (size_t i = 0; i < 4; i++) {
    struct nlmsghdr *message = put_entry(buffer, false, 0);
    message->nlmsg_type = others[i];
    CHECK(parse(buffer, message->nlmsg_len, words) == 0);
  }
}

/* As ICMP has no ports, and an entry may have neither a state nor a mark. */
static void what_a_message_does_not_say_is_0(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  uint32_t words[KS_CONNTRACK_WORDS];
  struct nlmsghdr *message = ks_netlink_message(buffer, ENTRY_TYPE, 0, AF_INET);
  struct nlattr *tuple = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
  struct nlattr *protocol = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(message, CTA_PROTO_NUM, IPPROTO_ICMP);
  mnl_attr_put_u16(message, CTA_PROTO_ICMP_ID, htons(77));
  mnl_attr_nest_end(message, protocol);
  mnl_attr_nest_end(message, tuple);
  CHECK(parse(buffer, message->nlmsg_len, words) == 1);
  for (size_t i = 0; i < KS_CONNTRACK_WORDS; i++)
    CHECK(words[i] == (i == KS_CONNTRACK_TYPE       ? KS_CONNTRACK_IS_UPDATE
                       : i == KS_CONNTRACK_FAMILY   ? 4
                       : i == KS_CONNTRACK_PROTOCOL ? IPPROTO_ICMP
                                                    : 0));
  message = ks_netlink_message(buffer, ENTRY_TYPE, 0, AF_INET);
  put_tuple(message, CTA_TUPLE_REPLY, false, 20);
  CHECK(parse(buffer, message->nlmsg_len, words) == 0);
}

/* Attributes too short for what they hold, and an outer one with a false length inside. */
static void reads_nothing_from_short_attributes(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  uint32_t words[KS_CONNTRACK_WORDS];
  struct nlmsghdr *message = ks_netlink_message(buffer, ENTRY_TYPE, 0, AF_INET);
  struct nlattr *tuple = mnl_attr_nest_start(message, CTA_TUPLE_ORIG);
  struct nlattr *ip = mnl_attr_nest_start(message, CTA_TUPLE_IP);
  mnl_attr_put(message, CTA_IP_V4_SRC, 3, "\xff\xff\xff");
  mnl_attr_put(message, CTA_IP_V6_DST, 15,
               "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff");
  mnl_attr_nest_end(message, ip);
  struct nlattr *protocol = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
  mnl_attr_put(message, CTA_PROTO_NUM, 0, NULL);
  mnl_attr_put_u8(message, CTA_PROTO_SRC_PORT, 255);
  mnl_attr_nest_end(message, protocol);
  mnl_attr_nest_end(message, tuple);
  mnl_attr_put(message, CTA_TUPLE_REPLY, 4, "\xff\0\1\0");
  mnl_attr_put_u16(message, CTA_MARK, 0xffff);
  mnl_attr_put(message, CTA_PROTOINFO, 4, "\3\0\1\0");
  CHECK(parse(buffer, message->nlmsg_len, words) == 1);
  for (size_t i = KS_CONNTRACK_PROTOCOL; i < KS_CONNTRACK_WORDS; i++)
    CHECK(words[i] == 0);
}

static void survives_messages_cut_anywhere(bool is_v6) {
  _Alignas(4) uint8_t buffer[ROOM];
  uint32_t words[KS_CONNTRACK_WORDS];
  struct nlmsghdr *message = put_entry(buffer, is_v6, 0);
  const uint32_t whole = message->nlmsg_len;
  for (uint32_t length = 0; length < whole; length++) {
    message->nlmsg_len = whole;
    CHECK(parse(buffer, length, words) == 0);
    message->nlmsg_len = length;
    if (length < 16 + 4 + 4)
      CHECK(parse(buffer, length < 16 ? 16 : length, words) == 0);
    else if (parse(buffer, length, words) == 1)
      CHECK(words[KS_CONNTRACK_PROTOCOL] == IPPROTO_TCP);
  }
}

static void deletes_by_the_original_tuple(bool is_v6) {
  _Alignas(4) uint8_t answer[ROOM];
  uint32_t words[KS_CONNTRACK_WORDS], tuple[10] = {0};
  const char *step = NULL;
  for (uint32_t i = 0; i < 8; i++)
    tuple[i] = 0x01010101 * (i + 1);
  tuple[8] = UINT32_C(40000) << 16 | 53;
  tuple[9] = IPPROTO_UDP;
  struct peer *peer = peer_open(answer, put_answer(answer, 0, 1, NULL)->nlmsg_len, 1);
  CHECK(ks_conntrack_delete(peer->fd, is_v6 ? 6 : 4, tuple, &step) == 0);
  peer_join(peer);
  CHECK(parse(peer->requests, peer->length, words) == 1);
  CHECK(words[KS_CONNTRACK_TYPE] == KS_CONNTRACK_IS_DESTROY);
  CHECK(words[KS_CONNTRACK_FAMILY] == (is_v6 ? 6 : 4));
  CHECK(words[KS_CONNTRACK_PROTOCOL] == IPPROTO_UDP);
  CHECK(memcmp(&words[KS_CONNTRACK_SOURCE], tuple, is_v6 ? 16 : 4) == 0);
  CHECK(memcmp(&words[KS_CONNTRACK_DESTINATION], tuple + 4, is_v6 ? 16 : 4) == 0);
  CHECK(words[KS_CONNTRACK_SOURCE_PORT] == 40000 && words[KS_CONNTRACK_DESTINATION_PORT] == 53);
  peer_close(peer);

  peer = peer_open(answer, put_answer(answer, -ENOENT, 1, NULL)->nlmsg_len, 1);
  CHECK(ks_conntrack_delete(peer->fd, is_v6 ? 6 : 4, tuple, &step) == -ENOENT);
  peer_join(peer);
  peer_close(peer);
}

/* A request without both attributes would empty the table. */
static void deletes_by_mark_with_a_mask_only(void) {
  _Alignas(4) uint8_t answer[ROOM];
  const struct nlattr *table[CTA_MARK_MASK + 1];
  const char *step = NULL;
  CHECK(ks_conntrack_delete_marked(-1, 4, 0, 0xff, &step) == -EINVAL);
  CHECK(ks_conntrack_delete_marked(-1, 4, 1, 0, &step) == -EINVAL);
  struct peer *peer = peer_open(answer, put_answer(answer, 0, 1, NULL)->nlmsg_len, 1);
  CHECK(ks_conntrack_delete_marked(peer->fd, 6, 0x40000, 0xf0000, &step) == 0);
  peer_join(peer);
  const struct nlmsghdr *request = (const struct nlmsghdr *)peer->requests;
  CHECK(peer->length == request->nlmsg_len);
  CHECK(request->nlmsg_type == (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE));
  const struct nfgenmsg *extra = mnl_nlmsg_get_payload(request);
  CHECK(extra->nfgen_family == AF_INET6 && extra->version == 1);
  CHECK(ks_netlink_index(peer->requests + 20, peer->requests + peer->length, table, CTA_MARK_MASK));
  CHECK(mnl_attr_get_u32(table[CTA_MARK]) == htonl(0x40000));
  CHECK(mnl_attr_get_u32(table[CTA_MARK_MASK]) == htonl(0xf0000));
  peer_close(peer);
}

int main(void) {
  for (int is_v6 = 0; is_v6 <= 1; is_v6++) {
    reads_all_of_an_entry(is_v6);
    survives_messages_cut_anywhere(is_v6);
    deletes_by_the_original_tuple(is_v6);
  }
  tells_the_kinds_of_messages_apart();
  what_a_message_does_not_say_is_0();
  reads_nothing_from_short_attributes();
  deletes_by_mark_with_a_mask_only();
  return 0;
}
