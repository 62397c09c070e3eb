/*
 * Entries of ipsets of the type hash:ip,port, added and deleted in batches. Sets are made elsewhere.
 *
 * Source of the protocol: linux/netfilter/ipset/ip_set.h, net/netfilter/ipset/ip_set_core.c.
 */
#ifndef KS_IPSET_H
#define KS_IPSET_H

#include <stdbool.h>
#include <stdint.h>

#include "netlink.h"

/*
 * Adds or deletes `count` entries; those that are there, or not there, already do no harm. An entry
 * is the address (4 or 16 bytes), the protocol (1 byte), 0, and the port (2 bytes, network order).
 * -ENOENT: there is no such set. Not atomic: entries before the one that was refused are in force.
 */
int ks_ipset_change(int fd, const char *set, int family, bool is_add, const uint8_t *entries,
                    uint32_t count, struct ks_netlink_error *error, const char **step);

#endif
