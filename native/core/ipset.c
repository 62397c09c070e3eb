#define _GNU_SOURCE
#include "ipset.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

enum {
  /* Spoken by every kernel since 2.6.39. */
  PROTOCOL_VERSION = 6,
  /* Entries are one attribute, whose length is 16 bit; one is 52 bytes at most. */
  ENTRIES_BYTES = 32000,
  ENTRY_MAX = 64,
  HEAD_BYTES = 256
};

static void put_entry(struct nlmsghdr *message, const uint8_t *entry, int family, uint32_t line) {
  size_t address_length = family == 6 ? 16 : 4;
  struct nlattr *data = mnl_attr_nest_start(message, IPSET_ATTR_DATA);
  struct nlattr *ip = mnl_attr_nest_start(message, IPSET_ATTR_IP);
  mnl_attr_put(message,
               (family == 6 ? IPSET_ATTR_IPADDR_IPV6 : IPSET_ATTR_IPADDR_IPV4) |
                   NLA_F_NET_BYTEORDER,
               address_length, entry);
  mnl_attr_nest_end(message, ip);
  mnl_attr_put(message, IPSET_ATTR_PORT | NLA_F_NET_BYTEORDER, 2, entry + address_length + 2);
  mnl_attr_put_u8(message, IPSET_ATTR_PROTO, entry[address_length]);
  mnl_attr_put_u32(message, IPSET_ATTR_LINENO | NLA_F_NET_BYTEORDER, htonl(line));
  mnl_attr_nest_end(message, data);
}

int ks_ipset_change(int fd, const char *set, int family, bool is_add, const uint8_t *entries,
                    uint32_t count, struct ks_netlink_error *error, const char **step) {
  uint8_t buffer[HEAD_BYTES + ENTRIES_BYTES + ENTRY_MAX];
  size_t entry_bytes = (family == 6 ? 16u : 4u) + 4u;
  uint16_t type = (uint16_t)(NFNL_SUBSYS_IPSET << 8 | (is_add ? IPSET_CMD_ADD : IPSET_CMD_DEL));
  *step = "ipset";
  if (strnlen(set, IPSET_MAXNAMELEN) >= IPSET_MAXNAMELEN)
    return -EINVAL;
  for (uint32_t index = 0; index < count;) {
    struct nlmsghdr *message =
        ks_netlink_message(buffer, type, NLM_F_ACK, family == 6 ? AF_INET6 : AF_INET);
    mnl_attr_put_u8(message, IPSET_ATTR_PROTOCOL, PROTOCOL_VERSION);
    mnl_attr_put_strz(message, IPSET_ATTR_SETNAME, set);
    mnl_attr_put_u32(message, IPSET_ATTR_LINENO, 0);
    struct nlattr *list = mnl_attr_nest_start(message, IPSET_ATTR_ADT);
    uint32_t start = message->nlmsg_len;
    while (index < count && message->nlmsg_len - start < ENTRIES_BYTES) {
      put_entry(message, entries + (size_t)index * entry_bytes, family, index);
      index++;
    }
    mnl_attr_nest_end(message, list);
    int code = ks_netlink_transact(fd, message, message->nlmsg_len, 1, error, step);
    if (code)
      return code;
  }
  return 0;
}
