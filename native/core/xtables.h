/*
 * Tables of the legacy iptables: how large they are, which tells when somebody has changed them.
 * -errno on failure; `*step` names what failed.
 */
#ifndef KS_XTABLES_H
#define KS_XTABLES_H

#include <stdint.h>

#include "sock.h"

struct ks_xtables_size {
  uint32_t entries, bytes;
};

/*
 * Of a table of this network namespace; needs CAP_NET_ADMIN. -ENOENT: no such table. The kernel
 * loads the module of a table that it is asked for, and makes the table.
 */
int ks_xtables_size(enum ks_family family, const char *table, struct ks_xtables_size *size,
                    const char **step);

#endif
