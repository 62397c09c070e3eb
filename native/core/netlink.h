/*
 * A netfilter netlink socket: requests that are acknowledged, batches of them, dumps.
 * -errno on failure; `*step` names what failed. One thread at a time.
 */
#ifndef KS_NETLINK_H
#define KS_NETLINK_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KS_NETLINK_TEXT = 160, KS_NETLINK_TIMEOUT_MS = 30000 };

/* What the kernel said of a request that it refused. */
struct ks_netlink_error {
  uint32_t sequence;          /* of the message */
  char text[KS_NETLINK_TEXT]; /* the kernel's own words, "" when it had none */
};

/* Lengths of messages and attributes are padded to 4. */
static inline size_t ks_netlink_align(size_t length) {
  return (length + 3) & ~(size_t)3;
}

/* Non-blocking, close-on-exec, bound, with extended acknowledgements. Returns the descriptor. */
int ks_netlink_open(const char **step);

/* Sets a buffer's size (SO_SNDBUF or SO_RCVBUF), beyond the limit where allowed; returns what is in force. */
int ks_netlink_buffer(int fd, int option, uint32_t bytes, const char **step);

/* A message of a netfilter subsystem at `buffer`: header and nfgenmsg. Attributes may follow. */
struct nlmsghdr *ks_netlink_message(void *buffer, uint16_t type, uint16_t flags, uint8_t family);

/*
 * Sends a buffer of one or more messages and takes in `acks` acknowledgements; the first refusal is
 * returned and, when `error` is not NULL, described. Waits KS_NETLINK_TIMEOUT_MS at most.
 */
int ks_netlink_transact(int fd, const void *buffer, size_t length, uint32_t acks,
                        struct ks_netlink_error *error, const char **step);

/*
 * The payload of an attribute when it has at least `bytes`, else NULL. `table` is what
 * ks_netlink_index filled.
 */
const void *ks_netlink_payload(const struct nlattr *attribute, size_t bytes);

/*
 * Sorts the attributes between `at` and `end` by type into `table` (entries 0..max, which are
 * cleared first). Of two of one type the last counts; types above max are passed over. False: a
 * length does not fit.
 */
bool ks_netlink_index(const uint8_t *at, const uint8_t *end, const struct nlattr **table,
                      uint16_t max);

/* The same for the attributes inside of one. */
bool ks_netlink_index_nested(const struct nlattr *attribute, const struct nlattr **table,
                             uint16_t max);

/*
 * Whether a message is a refusal or an acknowledgement (NLMSG_ERROR) that is whole: *code is 0 or
 * -errno then, and `error` is filled when it is not NULL.
 */
bool ks_netlink_is_answer(const struct nlmsghdr *message, size_t length, int *code,
                          struct ks_netlink_error *error);

/*
 * How a dump has ended that NLMSG_DONE is the end of: 0, or -errno when it broke off, e.g. -ENOENT
 * because what it lists was deleted meanwhile.
 */
int ks_netlink_done_code(const struct nlmsghdr *done);

/* Takes in one message of a dump; 0, or -errno, which ends it. */
typedef int (*ks_netlink_each)(const uint8_t *message, size_t length, void *context);

/*
 * Sends the request for a dump and takes in every message of it. 1: complete, 2: complete but for
 * what changed meanwhile, or -errno. Waits KS_NETLINK_TIMEOUT_MS at most for each datagram.
 */
int ks_netlink_dump(int fd, const struct nlmsghdr *request, ks_netlink_each each, void *context,
                    struct ks_netlink_error *error, const char **step);

#endif
