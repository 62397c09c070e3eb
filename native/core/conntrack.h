/*
 * The kernel's table of connections: events, dumps, deletion.
 *
 * Source of the protocol: linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
 * Functions return 0 or a count on success and -errno on failure; `*step` names what failed.
 */
#ifndef KS_CONNTRACK_H
#define KS_CONNTRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * An entry as JavaScript sees it. Addresses are their bytes in four words (IPv4: the first one),
 * all else is in host order; what a message does not say is 0. ConntrackWord in src/packet has the
 * same numbers, and a test compares the two.
 */
enum ks_conntrack_word {
  KS_CONNTRACK_TYPE,     /* KS_CONNTRACK_IS_* */
  KS_CONNTRACK_FAMILY,   /* 4 or 6 */
  KS_CONNTRACK_PROTOCOL, /* IPPROTO_* */
  KS_CONNTRACK_MARK,
  KS_CONNTRACK_STATUS,    /* IPS_* */
  KS_CONNTRACK_TCP_STATE, /* TCP_CONNTRACK_*, 0: not TCP or not said */
  KS_CONNTRACK_TCP_FLAGS, /* IP_CT_TCP_FLAG_* of both sides, or'ed */
  KS_CONNTRACK_TIMEOUT,   /* seconds */
  /* As the first packet had them ... */
  KS_CONNTRACK_SOURCE,
  KS_CONNTRACK_DESTINATION = KS_CONNTRACK_SOURCE + 4,
  KS_CONNTRACK_SOURCE_PORT = KS_CONNTRACK_DESTINATION + 4,
  KS_CONNTRACK_DESTINATION_PORT,
  /* ... and as packets of the answer have them: its source is the endpoint. */
  KS_CONNTRACK_REPLY_SOURCE,
  KS_CONNTRACK_REPLY_DESTINATION = KS_CONNTRACK_REPLY_SOURCE + 4,
  KS_CONNTRACK_REPLY_SOURCE_PORT = KS_CONNTRACK_REPLY_DESTINATION + 4,
  KS_CONNTRACK_REPLY_DESTINATION_PORT,
  KS_CONNTRACK_WORDS
};

enum ks_conntrack_type {
  KS_CONNTRACK_IS_ENTRY = 0, /* of a dump */
  KS_CONNTRACK_IS_NEW = 1,
  KS_CONNTRACK_IS_UPDATE = 2,
  KS_CONNTRACK_IS_DESTROY = 3
};

struct ks_conntrack;

/*
 * Subscribes to events of connections whose mark has a bit of `mark_mask` (0: all): new ones,
 * destroyed ones, and, of TCP, those that begin to close (FIN seen, or reset), with `answers` those
 * whose SYN was answered as well. The choice is made by a socket filter, in the kernel. `buffer_bytes` of receive buffer are asked for.
 */
int ks_conntrack_events(uint32_t mark_mask, uint32_t buffer_bytes, bool answers,
                        struct ks_conntrack **made, const char **step);

/* From now on with or without `answers`; `mark_mask` as it was. */
int ks_conntrack_answers(struct ks_conntrack *conntrack, uint32_t mark_mask, bool answers,
                         const char **step);

/*
 * A dump of a family's entries (4 or 6) with (mark & mark_mask) == mark, of one protocol (0: all).
 * The kernel filters by mark; all of it is checked again here. Read it with ks_conntrack_receive.
 */
int ks_conntrack_dump(int family, uint32_t mark, uint32_t mark_mask, uint8_t protocol,
                      struct ks_conntrack **made, const char **step);

void ks_conntrack_close(struct ks_conntrack *conntrack);
int ks_conntrack_fd(const struct ks_conntrack *conntrack);

/* Receive buffer as granted. */
uint32_t ks_conntrack_buffer_bytes(const struct ks_conntrack *conntrack);

/*
 * Takes in what is there, into at most `capacity` records; does not block. 0: nothing (more may
 * come). -ENOBUFS: events were lost. -ENODATA: the dump is complete. -EINTR: it is, but the table
 * changed under it, so entries may be missing.
 */
int ks_conntrack_receive(struct ks_conntrack *conntrack, uint32_t *records, uint32_t capacity,
                         const char **step);

/*
 * Deletes the entry with this original tuple; -ENOENT when there is none. `words` are the ten of a
 * 5-tuple: source, destination (4 words each), source port << 16 | destination port, protocol.
 */
int ks_conntrack_delete(int fd, int family, const uint32_t words[10], const char **step);

/*
 * Deletes every entry of a family with (mark & mark_mask) == mark, filtered in the kernel. The
 * caller makes sure that the kernel knows the filter: one that does not deletes everything. Old
 * kernels delete the entries of both families.
 */
int ks_conntrack_delete_marked(int fd, int family, uint32_t mark, uint32_t mark_mask,
                               const char **step);

/* One message: 1 and the record, or 0 when it is none of an entry. For the fuzzer too. */
int ks_conntrack_parse(const uint8_t *message, size_t length, uint32_t words[KS_CONNTRACK_WORDS]);

#endif
