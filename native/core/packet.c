#include "packet.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

/* IPv6 extension headers read at most: a real packet has one or two, an attack many. */
enum { MAX_EXTENSIONS = 8 };

/* Protocol numbers that netinet/in.h does not name everywhere. */
enum { PROTOCOL_MOBILITY = 135, PROTOCOL_HIP = 139, PROTOCOL_SHIM6 = 140 };

/* What is left to read. Every access goes through has(). */
struct reader {
  const uint8_t *at;
  size_t left;
};

/* Where one IP header and what follows it are written to: the packet's own words or the inner ones. */
struct ip_header {
  uint32_t family;
  uint32_t protocol;
  uint32_t length;
  const uint8_t *source;
  const uint8_t *destination;
  bool is_fragment;
};

static bool has(const struct reader *reader, size_t bytes) {
  return reader->left >= bytes;
}

static void skip(struct reader *reader, size_t bytes) {
  reader->at += bytes;
  reader->left -= bytes;
}

static uint32_t be16(const uint8_t *at) {
  return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t be32(const uint8_t *at) {
  return be16(at) << 16 | be16(at + 2);
}

/* RFC 791. The options are skipped by the header's own length. */
static bool read_ipv4(struct reader *reader, struct ip_header *header) {
  if (!has(reader, 20))
    return false;
  const uint8_t *ip = reader->at;
  size_t header_length = (size_t)(ip[0] & 15) * 4;
  if (header_length < 20 || !has(reader, header_length))
    return false;
  *header = (struct ip_header){.family = 4,
                               .protocol = ip[9],
                               .length = be16(ip + 2),
                               .source = ip + 12,
                               .destination = ip + 16,
                               .is_fragment = (be16(ip + 6) & 0x1fff) != 0};
  skip(reader, header_length);
  return true;
}

static bool is_extension(uint32_t protocol) {
  return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
         protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH ||
         protocol == PROTOCOL_MOBILITY || protocol == PROTOCOL_HIP || protocol == PROTOCOL_SHIM6;
}

/* RFC 8200, section 4; AH counts its length in words of 4 bytes (RFC 4302, section 2.2). */
static bool skip_extension(struct reader *reader, struct ip_header *header) {
  if (!has(reader, 8))
    return false;
  const uint8_t *extension = reader->at;
  size_t length = ((size_t)extension[1] + 1) * 8;
  if (header->protocol == IPPROTO_AH)
    length = ((size_t)extension[1] + 2) * 4;
  if (header->protocol == IPPROTO_FRAGMENT) {
    length = 8;
    header->is_fragment |= (be16(extension + 2) & 0xfff8) != 0;
  }
  header->protocol = extension[0];
  /* What follows in a later fragment is not a header. */
  if (header->is_fragment || !has(reader, length))
    return false;
  skip(reader, length);
  return true;
}

static bool read_ipv6(struct reader *reader, struct ip_header *header) {
  if (!has(reader, 40))
    return false;
  const uint8_t *ip = reader->at;
  *header = (struct ip_header){.family = 6,
                               .protocol = ip[6],
                               .length = be16(ip + 4) + 40,
                               .source = ip + 8,
                               .destination = ip + 24};
  skip(reader, 40);
  for (int count = 0; count < MAX_EXTENSIONS && is_extension(header->protocol); count++)
    if (!skip_extension(reader, header))
      /* Cut short: the addresses are good, what would follow is not there. */
      reader->left = 0;
  if (is_extension(header->protocol))
    reader->left = 0;
  return true;
}

static bool read_ip(struct reader *reader, struct ip_header *header) {
  if (!has(reader, 1))
    return false;
  switch (reader->at[0] >> 4) {
  case 4:
    return read_ipv4(reader, header);
  case 6:
    return read_ipv6(reader, header);
  default:
    return false;
  }
}

static bool has_ports(uint32_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE ||
         protocol == IPPROTO_SCTP;
}

/* Errors, not queries: RFC 792 and RFC 4443. Both have the inner packet after eight bytes. */
static bool is_icmp_error(const struct ip_header *header, uint32_t type) {
  if (header->family == 6)
    return header->protocol == IPPROTO_ICMPV6 && type >= 1 && type <= 4;
  return header->protocol == IPPROTO_ICMP &&
         (type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

static void read_inner(struct reader *reader, uint32_t *words) {
  struct ip_header inner;
  if (!has(reader, 8))
    return;
  skip(reader, 8);
  if (!read_ip(reader, &inner) || inner.family != words[KS_PACKET_FAMILY] || inner.is_fragment ||
      !has_ports(inner.protocol) || !has(reader, 4))
    return;
  size_t address_length = inner.family == 6 ? 16 : 4;
  words[KS_PACKET_INNER_PROTOCOL] = inner.protocol;
  memcpy(&words[KS_PACKET_INNER_SOURCE], inner.source, address_length);
  memcpy(&words[KS_PACKET_INNER_DESTINATION], inner.destination, address_length);
  words[KS_PACKET_INNER_SOURCE_PORT] = be16(reader->at);
  words[KS_PACKET_INNER_DESTINATION_PORT] = be16(reader->at + 2);
  if (inner.protocol == IPPROTO_TCP && has(reader, 8))
    words[KS_PACKET_INNER_TCP_SEQUENCE] = be32(reader->at + 4);
  words[KS_PACKET_FLAGS] |= KS_PACKET_HAS_INNER;
}

static void read_transport(struct reader *reader, const struct ip_header *header, uint32_t *words) {
  const uint8_t *at = reader->at;
  if (has_ports(header->protocol) && has(reader, 4)) {
    words[KS_PACKET_SOURCE_PORT] = be16(at);
    words[KS_PACKET_DESTINATION_PORT] = be16(at + 2);
    words[KS_PACKET_FLAGS] |= KS_PACKET_HAS_PORTS;
  }
  if (header->protocol == IPPROTO_TCP && has(reader, 20)) {
    words[KS_PACKET_TCP_SEQUENCE] = be32(at + 4);
    words[KS_PACKET_TCP_ACKNOWLEDGED] = be32(at + 8);
    words[KS_PACKET_TCP_FLAGS] = at[13];
    words[KS_PACKET_FLAGS] |= KS_PACKET_HAS_TCP;
  }
  if ((header->protocol == IPPROTO_ICMP || header->protocol == IPPROTO_ICMPV6) && has(reader, 2)) {
    words[KS_PACKET_ICMP_TYPE] = be16(at);
    if (is_icmp_error(header, at[0]))
      read_inner(reader, words);
  }
}

void ks_packet_parse(const uint8_t *data, size_t length, uint32_t words[KS_PACKET_WORDS]) {
  struct reader reader = {.at = data, .left = length};
  struct ip_header header;
  uint32_t offset = words[KS_PACKET_COPY_OFFSET], copied = words[KS_PACKET_COPY_LENGTH];

  memset(&words[KS_PACKET_FAMILY], 0,
         (KS_PACKET_INNER_TCP_SEQUENCE + 1 - KS_PACKET_FAMILY) * sizeof(*words));
  words[KS_PACKET_COPY_OFFSET] = offset;
  words[KS_PACKET_COPY_LENGTH] = copied;
  if (!read_ip(&reader, &header))
    return;
  size_t address_length = header.family == 6 ? 16 : 4;
  words[KS_PACKET_FAMILY] = header.family;
  words[KS_PACKET_PROTOCOL] = header.protocol;
  words[KS_PACKET_LENGTH] = header.length;
  memcpy(&words[KS_PACKET_SOURCE], header.source, address_length);
  memcpy(&words[KS_PACKET_DESTINATION], header.destination, address_length);
  if (header.length > length)
    words[KS_PACKET_FLAGS] |= KS_PACKET_IS_TRUNCATED;
  if (header.is_fragment)
    words[KS_PACKET_FLAGS] |= KS_PACKET_IS_FRAGMENT;
  else
    read_transport(&reader, &header, words);
}
