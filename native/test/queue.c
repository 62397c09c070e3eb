/* Unit test of core/queue.c: messages with packets made here; test/netns has it on the real kernel.
 */
#include "../core/queue.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <netinet/in.h>

#include "check.h"

enum { ROOM = 1024, PACKET_TYPE = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET };

/* UDP from 192.0.2.1, port 40000, to 10.96.0.1, port 53; its last byte is not on a multiple of 4.
 */
static const uint8_t PACKET[] = {0x45, 0,  0,  29, 0, 0,    0,    0, 64, 17, 0, 0, 192, 0, 2,
                                 1,    10, 96, 0,  1, 0x9c, 0x40, 0, 53, 0,  9, 0, 0,   7};

static struct nlmsghdr *put_header(void *buffer) {
  const struct nfqnl_msg_packet_hdr packet = {
      .packet_id = htonl(0x01020304), .hw_protocol = htons(0x0800), .hook = 3};
  struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = PACKET_TYPE;
  struct nfgenmsg *extra = mnl_nlmsg_put_extra_header(message, sizeof(*extra));
  extra->nfgen_family = AF_INET;
  extra->res_id = htons(0xabcd);
  mnl_attr_put(message, NFQA_PACKET_HDR, sizeof(packet), &packet);
  return message;
}

static struct nlmsghdr *put_packet(void *buffer) {
  struct nlmsghdr *message = put_header(buffer);
  mnl_attr_put_u32(message, NFQA_MARK, htonl(0x4000));
  mnl_attr_put_u32(message, NFQA_IFINDEX_INDEV, htonl(7));
  mnl_attr_put_u32(message, NFQA_SKB_INFO, 0);
  mnl_attr_put(message, NFQA_PAYLOAD, sizeof(PACKET), PACKET);
  return message;
}

/* `words[KS_PACKET_COPY_LENGTH]` bytes at *offset of the message are the packet. */
static int parse(const void *bytes, size_t length, uint32_t *words, size_t *offset) {
  memset(words, 0xa5, KS_PACKET_WORDS * sizeof(*words));
  uint8_t *copy = exact_copy(bytes, length);
  const uint8_t *payload = copy;
  int result = ks_queue_parse(copy, length, words, &payload);
  *offset = (size_t)(payload - copy);
  free(copy);
  return result;
}

static void reads_a_packet(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  uint32_t words[KS_PACKET_WORDS];
  size_t offset = 0;
  struct nlmsghdr *message = put_packet(buffer);
  CHECK(parse(buffer, message->nlmsg_len, words, &offset) == 1);
  CHECK(words[KS_PACKET_ID] == 0x01020304 && words[KS_PACKET_QUEUE] == 0xabcd);
  CHECK(words[KS_PACKET_HOOK] == 3 && words[KS_PACKET_MARK] == 0x4000);
  CHECK(words[KS_PACKET_IN_DEVICE] == 7);
  CHECK(words[KS_PACKET_VERDICT] == KS_VERDICT_ACCEPT && words[KS_PACKET_VERDICT_MARK] == 0);
  CHECK(words[KS_PACKET_FAMILY] == 4 && words[KS_PACKET_PROTOCOL] == IPPROTO_UDP);
  CHECK(words[KS_PACKET_FLAGS] == KS_PACKET_HAS_PORTS);
  CHECK(words[KS_PACKET_SOURCE_PORT] == 40000 && words[KS_PACKET_DESTINATION_PORT] == 53);
  CHECK(words[KS_PACKET_LENGTH] == sizeof(PACKET));
  CHECK(words[KS_PACKET_COPY_LENGTH] == sizeof(PACKET));
  CHECK(memcmp(buffer + offset, PACKET, sizeof(PACKET)) == 0);
}

/* As with a copy range of 0, and without a mark or an interface. */
static void reads_a_packet_without_its_bytes(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  uint32_t words[KS_PACKET_WORDS];
  size_t offset = 0;
  struct nlmsghdr *message = put_header(buffer);
  mnl_attr_put_u16(message, NFQA_MARK, 0xffff);
  CHECK(parse(buffer, message->nlmsg_len, words, &offset) == 1);
  CHECK(words[KS_PACKET_ID] == 0x01020304 && words[KS_PACKET_VERDICT] == KS_VERDICT_ACCEPT);
  CHECK(words[KS_PACKET_COPY_LENGTH] == 0 && offset <= message->nlmsg_len);
  CHECK(words[KS_PACKET_MARK] == 0 && words[KS_PACKET_IN_DEVICE] == 0);
  CHECK(words[KS_PACKET_FAMILY] == 0 && words[KS_PACKET_FLAGS] == 0);
}

static void takes_other_messages_for_no_packets(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  uint32_t words[KS_PACKET_WORDS];
  size_t offset = 0;
  const uint16_t types[] = {NLMSG_ERROR, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG,
                            NFNL_SUBSYS_CTNETLINK << 8 | NFQNL_MSG_PACKET};
  for (size_t i = 0; i < 3; i++) {
    struct nlmsghdr *message = put_packet(buffer);
    message->nlmsg_type = types[i];
    CHECK(parse(buffer, message->nlmsg_len, words, &offset) == 0);
  }
  /* Without a header there is no id to answer to. */
  struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = PACKET_TYPE;
  mnl_nlmsg_put_extra_header(message, sizeof(struct nfgenmsg));
  mnl_attr_put(message, NFQA_PAYLOAD, sizeof(PACKET), PACKET);
  CHECK(parse(buffer, message->nlmsg_len, words, &offset) == 0);
  mnl_attr_put(message, NFQA_PACKET_HDR, 6, "\0\0\0\1\x8\0");
  CHECK(parse(buffer, message->nlmsg_len, words, &offset) == 0);
}

/* As the datagram ends, and with the length that the message claims. */
static void survives_messages_cut_anywhere(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  uint32_t words[KS_PACKET_WORDS];
  size_t offset = 0;
  struct nlmsghdr *message = put_packet(buffer);
  const uint32_t whole = message->nlmsg_len,
                 head = 16 + 4 + 4 + sizeof(struct nfqnl_msg_packet_hdr);
  for (uint32_t length = 0; length < whole; length++) {
    message->nlmsg_len = whole;
    CHECK(parse(buffer, length, words, &offset) == 0);
    message->nlmsg_len = length;
    uint32_t bytes = length < 16 ? 16 : length;
    int result = parse(buffer, bytes, words, &offset);
    CHECK(length >= head || result == 0);
    if (result == 1)
      CHECK(offset + words[KS_PACKET_COPY_LENGTH] <= bytes);
  }
}

static void refuses_options_out_of_range(void) {
  const struct ks_queue_options good = {.count = 1, .batch = 1, .copy_range = 128, .length = 16};
  struct ks_queue_options wrong[] = {good, good, good, good, good};
  struct ks_queue *queue = NULL;
  wrong[0].count = 0;
  wrong[1].batch = 0;
  wrong[2].batch = 1025;
  wrong[3].first = 65535;
  wrong[3].count = 2;
  wrong[4].buffer_bytes = UINT32_C(1) << 31;
  for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
    const char *step = NULL;
    CHECK(ks_queue_open(&wrong[i], &queue, &step) == -EINVAL);
    CHECK(strcmp(step, "open") == 0 && queue == NULL);
  }
}

int main(void) {
  reads_a_packet();
  reads_a_packet_without_its_bytes();
  takes_other_messages_for_no_packets();
  survives_messages_cut_anywhere();
  refuses_options_out_of_range();
  return 0;
}
