#define _GNU_SOURCE
#include "xtables.h"

#include <errno.h>
/* Before the kernel's own, which then leave out what it has. */
#include <netinet/in.h>

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <string.h>
#include <unistd.h>

/* Both families have the same structure and number. */
_Static_assert(IPT_SO_GET_INFO == IP6T_SO_GET_INFO, "one number");
_Static_assert(sizeof(struct ipt_getinfo) == sizeof(struct ip6t_getinfo), "one structure");

static int fail(const char **step, const char *name) {
  *step = name;
  return -errno;
}

int ks_xtables_size(enum ks_family family, const char *table, struct ks_xtables_size *size,
                    const char **step) {
  struct ipt_getinfo info = {0};
  socklen_t length = sizeof(info);
  *step = "getsockopt";
  if (strlen(table) >= sizeof(info.name))
    return -EINVAL;
  memcpy(info.name, table, strlen(table));
  int fd = socket(family == KS_IPV6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return fail(step, "socket");
  int result = 0;
  if (getsockopt(fd, family == KS_IPV6 ? IPPROTO_IPV6 : IPPROTO_IP, IPT_SO_GET_INFO, &info, &length) < 0)
    result = fail(step, "getsockopt");
  close(fd);
  size->entries = info.num_entries;
  size->bytes = info.size;
  return result;
}
