/* Unit test of core/packet.c: packets made here, read whole and cut at every length. */
#include "../core/packet.h"

#include <netinet/in.h>
#include <stdbool.h>

#include "check.h"

enum { FILLER = 0xa5, ROOM = 512 };

/* A packet in the making. */
struct packet {
  uint8_t bytes[ROOM];
  size_t length;
};

static void put(struct packet *packet, const void *bytes, size_t length) {
  CHECK(packet->length + length <= ROOM);
  memcpy(packet->bytes + packet->length, bytes, length);
  packet->length += length;
}

static void put_zeros(struct packet *packet, size_t length) {
  static const uint8_t zeros[ROOM];
  put(packet, zeros, length);
}

/* 192.0.2.1 to 10.96.0.1 with `words` words of options, for `length` bytes behind the header. */
static void put_ipv4(struct packet *packet, uint8_t protocol, uint8_t words, uint16_t length,
                     uint16_t offset) {
  uint16_t total = (uint16_t)(length + 20 + words * 4);
  const uint8_t header[20] = {(uint8_t)(0x45 + words),
                              0,
                              (uint8_t)(total >> 8),
                              (uint8_t)total,
                              0,
                              0,
                              (uint8_t)(offset >> 8),
                              (uint8_t)offset,
                              64,
                              protocol,
                              0,
                              0,
                              192,
                              0,
                              2,
                              1,
                              10,
                              96,
                              0,
                              1};
  put(packet, header, sizeof(header));
  put_zeros(packet, (size_t)words * 4);
}

/* fd71::2 to fd96::1. */
static void put_ipv6(struct packet *packet, uint8_t protocol, uint16_t length) {
  const uint8_t header[40] = {0x60,
                              0,
                              0,
                              0,
                              (uint8_t)(length >> 8),
                              (uint8_t)length,
                              protocol,
                              64,
                              0xfd,
                              0x71,
                              [23] = 2,
                              0xfd,
                              0x96,
                              [39] = 1};
  put(packet, header, sizeof(header));
}

/* Port 40000 to port 80, sequence 0x01020304, acknowledged 0x05060708, the flags SYN and ACK. */
static void put_tcp(struct packet *packet) {
  put(packet, "\x9c\x40\0\x50\1\2\3\4\5\6\7\x8\x50\x12\xff\xff\0\0\0\0", 20);
}

static void put_ports(struct packet *packet) {
  put(packet, "\x9c\x40\0\x50\0\0\0\0", 8);
}

/* Words that the parser has to fill are filled with something else before. */
static void parse(const uint8_t *bytes, size_t length, uint32_t *words) {
  memset(words, FILLER, KS_PACKET_WORDS * sizeof(*words));
  uint8_t *copy = exact_copy(bytes, length);
  ks_packet_parse(copy, length, words);
  free(copy);
  const uint32_t untouched[] = {KS_PACKET_ID,          KS_PACKET_QUEUE,     KS_PACKET_HOOK,
                                KS_PACKET_MARK,        KS_PACKET_IN_DEVICE, KS_PACKET_COPY_OFFSET,
                                KS_PACKET_COPY_LENGTH, KS_PACKET_VERDICT,   KS_PACKET_VERDICT_MARK};
  for (size_t i = 0; i < sizeof(untouched) / sizeof(untouched[0]); i++)
    CHECK(words[untouched[i]] == 0xa5a5a5a5);
}

static void has_ports(const uint32_t *words) {
  CHECK(words[KS_PACKET_FLAGS] & KS_PACKET_HAS_PORTS);
  CHECK(words[KS_PACKET_SOURCE_PORT] == 40000 && words[KS_PACKET_DESTINATION_PORT] == 80);
}

static void has_tcp(const uint32_t *words) {
  has_ports(words);
  CHECK(words[KS_PACKET_PROTOCOL] == IPPROTO_TCP);
  CHECK(words[KS_PACKET_FLAGS] & KS_PACKET_HAS_TCP);
  CHECK(words[KS_PACKET_TCP_SEQUENCE] == 0x01020304);
  CHECK(words[KS_PACKET_TCP_ACKNOWLEDGED] == 0x05060708);
  CHECK(words[KS_PACKET_TCP_FLAGS] == 0x12);
}

/* Every prefix: flags only for what is there, and IS_TRUNCATED as soon as the header can be read.
 */
static void reads_every_prefix_of_tcp(uint8_t option_words) {
  struct packet packet = {0};
  uint32_t words[KS_PACKET_WORDS];
  put_ipv4(&packet, IPPROTO_TCP, option_words, 20, 0);
  size_t header = packet.length;
  put_tcp(&packet);
  for (size_t length = 0; length <= packet.length; length++) {
    parse(packet.bytes, length, words);
    CHECK(words[KS_PACKET_FAMILY] == (length < header ? 0 : 4));
    if (length < header) {
      CHECK(words[KS_PACKET_FLAGS] == 0 && words[KS_PACKET_SOURCE] == 0);
      continue;
    }
    uint32_t flags = (length < packet.length ? KS_PACKET_IS_TRUNCATED : KS_PACKET_HAS_TCP) |
                     (length < header + 4 ? 0u : KS_PACKET_HAS_PORTS);
    CHECK(words[KS_PACKET_FLAGS] == flags);
    CHECK(memcmp(&words[KS_PACKET_SOURCE], "\xc0\0\2\1", 4) == 0);
    CHECK(memcmp(&words[KS_PACKET_DESTINATION], "\x0a\x60\0\1", 4) == 0);
    CHECK(words[KS_PACKET_SOURCE + 1] == 0 && words[KS_PACKET_DESTINATION + 3] == 0);
    CHECK(words[KS_PACKET_LENGTH] == packet.length);
  }
  has_tcp(words);
}

static void knows_the_protocols_with_ports(void) {
  const uint8_t with[] = {IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_UDPLITE}, without[] = {IPPROTO_GRE, 0};
  uint32_t words[KS_PACKET_WORDS];
  for (size_t i = 0; i < sizeof(with) + sizeof(without); i++) {
    struct packet packet = {0};
    bool is_with = i < sizeof(with);
    put_ipv4(&packet, is_with ? with[i] : without[i - sizeof(with)], 0, 8, 0);
    put_ports(&packet);
    parse(packet.bytes, packet.length, words);
    CHECK(words[KS_PACKET_FLAGS] == (is_with ? KS_PACKET_HAS_PORTS : 0u));
    if (is_with)
      has_ports(words);
  }
}

static void takes_nonsense_for_no_packet(void) {
  uint32_t words[KS_PACKET_WORDS];
  struct packet packet = {0};
  put_ipv4(&packet, IPPROTO_TCP, 0, 20, 0);
  put_tcp(&packet);
  for (unsigned first = 0; first < 256; first++) {
    bool is_v4 = first >> 4 == 4 && (first & 15) >= 5 && (first & 15) * 4 <= packet.length;
    bool is_v6 = first >> 4 == 6 && packet.length >= 40;
    packet.bytes[0] = (uint8_t)first;
    parse(packet.bytes, packet.length, words);
    CHECK(words[KS_PACKET_FAMILY] == (is_v4 ? 4u : is_v6 ? 6u : 0u));
  }
}

static void reads_no_ports_of_later_fragments(void) {
  uint32_t words[KS_PACKET_WORDS];
  const uint16_t dont_fragment = 0x4000, first = 0x2000, later = 0x2001, last = 185;
  const uint16_t offsets[] = {dont_fragment, first, later, last};
  for (size_t i = 0; i < 4; i++) {
    struct packet packet = {0};
    put_ipv4(&packet, IPPROTO_TCP, 0, 20, offsets[i]);
    put_tcp(&packet);
    parse(packet.bytes, packet.length, words);
    CHECK(words[KS_PACKET_FLAGS] ==
          (i < 2 ? KS_PACKET_HAS_PORTS | KS_PACKET_HAS_TCP : KS_PACKET_IS_FRAGMENT));
    CHECK(words[KS_PACKET_PROTOCOL] == IPPROTO_TCP);
  }
}

/* Hop-by-hop of 8 bytes, routing of 24, AH of 16 (words, less two), destination options, then TCP.
 */
static void put_extensions(struct packet *packet) {
  put_ipv6(packet, IPPROTO_HOPOPTS, 8 + 24 + 16 + 8 + 20);
  put(packet, (uint8_t[]){IPPROTO_ROUTING, 0, 0, 0, 0, 0, 0, 0}, 8);
  put(packet, (uint8_t[24]){IPPROTO_AH, 2}, 24);
  put(packet, (uint8_t[16]){IPPROTO_DSTOPTS, 2}, 16);
  put(packet, (uint8_t[8]){IPPROTO_TCP, 0}, 8);
  put_tcp(packet);
}

static void reads_every_prefix_of_extension_headers(void) {
  struct packet packet = {0};
  uint32_t words[KS_PACKET_WORDS];
  put_extensions(&packet);
  for (size_t length = 0; length <= packet.length; length++) {
    parse(packet.bytes, length, words);
    CHECK(words[KS_PACKET_FAMILY] == (length < 40 ? 0 : 6));
    if (length < 40)
      continue;
    bool has_four = length >= packet.length - 16;
    CHECK(((words[KS_PACKET_FLAGS] & KS_PACKET_HAS_PORTS) != 0) == has_four);
    CHECK(memcmp(&words[KS_PACKET_SOURCE], packet.bytes + 8, 16) == 0);
    CHECK(memcmp(&words[KS_PACKET_DESTINATION], packet.bytes + 24, 16) == 0);
  }
  has_tcp(words);
}

static void gives_up_on_long_chains_of_extensions(void) {
  for (size_t count = 7; count <= 9; count++) {
    struct packet packet = {0};
    uint32_t words[KS_PACKET_WORDS];
    put_ipv6(&packet, IPPROTO_DSTOPTS, (uint16_t)(count * 8 + 20));
    for (size_t i = 1; i < count; i++)
      put(&packet, (uint8_t[8]){IPPROTO_DSTOPTS, 0}, 8);
    put(&packet, (uint8_t[8]){IPPROTO_TCP, 0}, 8);
    put_tcp(&packet);
    parse(packet.bytes, packet.length, words);
    CHECK(words[KS_PACKET_FAMILY] == 6);
    CHECK(words[KS_PACKET_FLAGS] == (count <= 8 ? KS_PACKET_HAS_PORTS | KS_PACKET_HAS_TCP : 0u));
  }
}

/* The first fragment, an atomic one (RFC 6946), and a later one. */
static void reads_ipv6_fragments(void) {
  const uint8_t offsets[] = {1, 0, 8};
  for (size_t i = 0; i < 3; i++) {
    struct packet packet = {0};
    uint32_t words[KS_PACKET_WORDS];
    put_ipv6(&packet, IPPROTO_FRAGMENT, 28);
    /* The second byte is reserved: it is no length here. */
    put(&packet, (uint8_t[8]){IPPROTO_TCP, 0xff, 0, offsets[i]}, 8);
    put_tcp(&packet);
    parse(packet.bytes, packet.length, words);
    CHECK(words[KS_PACKET_PROTOCOL] == IPPROTO_TCP);
    if (i < 2)
      has_tcp(words);
    else
      CHECK(words[KS_PACKET_FLAGS] == KS_PACKET_IS_FRAGMENT);
  }
}

/* An error of `type` about a TCP packet, of which it brings `bytes` bytes behind the IP header. */
static void put_icmp(struct packet *packet, bool is_v6, uint8_t type, size_t bytes) {
  uint16_t inner = (uint16_t)((is_v6 ? 40 : 20) + bytes);
  struct packet tcp = {0};
  put_tcp(&tcp);
  if (is_v6)
    put_ipv6(packet, IPPROTO_ICMPV6, (uint16_t)(8 + inner));
  else
    put_ipv4(packet, IPPROTO_ICMP, 0, (uint16_t)(8 + inner), 0);
  put(packet, (uint8_t[8]){type, 3}, 8);
  if (is_v6)
    put_ipv6(packet, IPPROTO_TCP, 20);
  else
    put_ipv4(packet, IPPROTO_TCP, 0, 20, 0);
  put(packet, tcp.bytes, bytes);
}

static void reads_what_an_error_is_about(bool is_v6) {
  uint32_t words[KS_PACKET_WORDS];
  for (size_t bytes = 0; bytes <= 20; bytes++) {
    struct packet packet = {0};
    put_icmp(&packet, is_v6, is_v6 ? 1 : 3, bytes);
    parse(packet.bytes, packet.length, words);
    CHECK(words[KS_PACKET_FLAGS] == (bytes < 4 ? 0u : KS_PACKET_HAS_INNER));
    CHECK(words[KS_PACKET_ICMP_TYPE] == (is_v6 ? 0x103 : 0x303));
    CHECK(words[KS_PACKET_INNER_TCP_SEQUENCE] == (bytes < 8 ? 0 : 0x01020304));
    if (bytes < 4)
      continue;
    CHECK(words[KS_PACKET_INNER_PROTOCOL] == IPPROTO_TCP);
    CHECK(words[KS_PACKET_INNER_SOURCE_PORT] == 40000);
    CHECK(words[KS_PACKET_INNER_DESTINATION_PORT] == 80);
    CHECK(memcmp(&words[KS_PACKET_INNER_SOURCE], &words[KS_PACKET_SOURCE], 16) == 0);
    CHECK(memcmp(&words[KS_PACKET_INNER_DESTINATION], &words[KS_PACKET_DESTINATION], 16) == 0);
  }
}

static void cuts_errors_anywhere(bool is_v6) {
  struct packet packet = {0};
  uint32_t words[KS_PACKET_WORDS];
  put_icmp(&packet, is_v6, is_v6 ? 1 : 3, 8);
  for (size_t length = 0; length < packet.length - 4; length++) {
    parse(packet.bytes, length, words);
    CHECK(!(words[KS_PACKET_FLAGS] & KS_PACKET_HAS_INNER));
    CHECK(words[KS_PACKET_INNER_PROTOCOL] == 0 && words[KS_PACKET_INNER_SOURCE] == 0);
  }
}

/* RFC 792 and RFC 4443: the rest are queries and answers, which have no packet inside. */
static void tells_errors_from_queries(void) {
  uint32_t words[KS_PACKET_WORDS];
  for (unsigned type = 0; type < 256; type++) {
    struct packet v4 = {0}, v6 = {0};
    bool is_v4_error = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    put_icmp(&v4, false, (uint8_t)type, 8);
    parse(v4.bytes, v4.length, words);
    CHECK(((words[KS_PACKET_FLAGS] & KS_PACKET_HAS_INNER) != 0) == is_v4_error);
    put_icmp(&v6, true, (uint8_t)type, 8);
    parse(v6.bytes, v6.length, words);
    CHECK(((words[KS_PACKET_FLAGS] & KS_PACKET_HAS_INNER) != 0) == (type >= 1 && type <= 4));
  }
}

static void reads_no_inner_fragment_nor_another_family(void) {
  uint32_t words[KS_PACKET_WORDS];
  struct packet fragment = {0}, family = {0};
  put_ipv4(&fragment, IPPROTO_ICMP, 0, 8 + 20 + 8, 0);
  put(&fragment, (uint8_t[8]){3, 3}, 8);
  put_ipv4(&fragment, IPPROTO_UDP, 0, 8, 7);
  put_ports(&fragment);
  parse(fragment.bytes, fragment.length, words);
  CHECK(words[KS_PACKET_FLAGS] == 0 && words[KS_PACKET_ICMP_TYPE] == 0x303);

  put_ipv4(&family, IPPROTO_ICMP, 0, 8 + 40 + 8, 0);
  put(&family, (uint8_t[8]){3, 3}, 8);
  put_ipv6(&family, IPPROTO_UDP, 8);
  put_ports(&family);
  parse(family.bytes, family.length, words);
  CHECK(words[KS_PACKET_FLAGS] == 0);
}

int main(void) {
  reads_every_prefix_of_tcp(0);
  reads_every_prefix_of_tcp(10);
  knows_the_protocols_with_ports();
  takes_nonsense_for_no_packet();
  reads_no_ports_of_later_fragments();
  reads_every_prefix_of_extension_headers();
  gives_up_on_long_chains_of_extensions();
  reads_ipv6_fragments();
  for (int is_v6 = 0; is_v6 <= 1; is_v6++) {
    reads_what_an_error_is_about(is_v6);
    cuts_errors_anywhere(is_v6);
  }
  tells_errors_from_queries();
  reads_no_inner_fragment_nor_another_family();
  return 0;
}
