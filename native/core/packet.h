/*
 * Reading the headers of one packet: IPv4, IPv6 with extension headers, TCP, UDP, SCTP, and ICMP
 * errors with the packet that they are about. Pure: no I/O, no state, reads nothing outside of
 * `data`, and takes anything at all for input.
 */
#ifndef KS_PACKET_H
#define KS_PACKET_H

#include <stddef.h>
#include <stdint.h>

/*
 * A packet as JavaScript sees it: a fixed number of 32-bit words. Addresses are the bytes of the
 * packet in four words (IPv4: the first one); all else is in host order. PacketWord in
 * src/kernel/queue-addon-types.ts has the same numbers, and a test compares the two.
 */
enum ks_packet_word {
  KS_PACKET_ID,             /* of the message, for the verdict */
  KS_PACKET_QUEUE,          /* number of the queue */
  KS_PACKET_HOOK,           /* NF_INET_*: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting */
  KS_PACKET_MARK,           /* packet mark before the queue */
  KS_PACKET_IN_DEVICE,      /* index of the interface that it came in by, 0: none */
  KS_PACKET_FAMILY,         /* 4, 6, or 0: not an IP packet that could be read */
  KS_PACKET_PROTOCOL,       /* IPPROTO_* after the extension headers */
  KS_PACKET_FLAGS,          /* KS_PACKET_HAS_* */
  KS_PACKET_SOURCE,         /* 4 words */
  KS_PACKET_DESTINATION = KS_PACKET_SOURCE + 4,
  KS_PACKET_SOURCE_PORT = KS_PACKET_DESTINATION + 4,
  KS_PACKET_DESTINATION_PORT,
  KS_PACKET_TCP_FLAGS,      /* the flags byte: FIN 1, SYN 2, RST 4, PSH 8, ACK 16 */
  KS_PACKET_TCP_SEQUENCE,
  KS_PACKET_TCP_ACKNOWLEDGED,
  KS_PACKET_ICMP_TYPE,      /* type << 8 | code */
  KS_PACKET_LENGTH,         /* of the IP packet, as its header says; the copy may be shorter */
  KS_PACKET_COPY_OFFSET,    /* where the copy begins in the payload buffer */
  KS_PACKET_COPY_LENGTH,
  /* The packet that an ICMP error is about, with the same meaning as above. */
  KS_PACKET_INNER_PROTOCOL,
  KS_PACKET_INNER_SOURCE,
  KS_PACKET_INNER_DESTINATION = KS_PACKET_INNER_SOURCE + 4,
  KS_PACKET_INNER_SOURCE_PORT = KS_PACKET_INNER_DESTINATION + 4,
  KS_PACKET_INNER_DESTINATION_PORT,
  KS_PACKET_INNER_TCP_SEQUENCE,
  /* Written by JavaScript. */
  KS_PACKET_VERDICT,        /* KS_VERDICT_* */
  KS_PACKET_VERDICT_MARK,   /* the packet mark from here on, with KS_VERDICT_MARKED */
  KS_PACKET_WORDS
};

enum ks_packet_flag {
  KS_PACKET_HAS_PORTS = 1,    /* the two ports could be read */
  KS_PACKET_HAS_TCP = 2,      /* the TCP words could be read */
  KS_PACKET_HAS_INNER = 4,    /* an ICMP error whose inner addresses and ports could be read */
  KS_PACKET_IS_FRAGMENT = 8,  /* not the first one of its packet: has no ports */
  KS_PACKET_IS_TRUNCATED = 16 /* the copy ends before the packet does */
};

enum ks_verdict { KS_VERDICT_DROP = 0, KS_VERDICT_ACCEPT = 1, KS_VERDICT_MARKED = 256 };

/*
 * Fills the words from KS_PACKET_FAMILY to KS_PACKET_INNER_TCP_SEQUENCE, but for the copy's two;
 * what cannot be read is 0. Never fails: a packet that is cut short has fewer flags.
 */
void ks_packet_parse(const uint8_t *data, size_t length, uint32_t words[KS_PACKET_WORDS]);

#endif
