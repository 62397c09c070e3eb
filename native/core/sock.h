/*
 * Sockets with the options that Node does not offer: transparent, free-bound, marked, filtered.
 *
 * Every function returns 0 (or a descriptor) on success and -errno on failure, never prints and
 * never aborts. `*step` names the system call that failed; it points to a string literal.
 */
#ifndef KS_SOCK_H
#define KS_SOCK_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum ks_family { KS_IPV4 = 4, KS_IPV6 = 6 };

/* An address and port; IPv4 uses the first four bytes of `address`. `port` in host byte order. */
struct ks_address {
  enum ks_family family;
  uint8_t address[16];
  uint16_t port;
};

struct ks_sock_options {
  enum ks_family family;
  bool is_udp;
  bool is_transparent; /* IP_TRANSPARENT, needs CAP_NET_ADMIN */
  bool is_freebind;    /* IP_FREEBIND; IPV6_FREEBIND needs Linux 4.15 */
  bool reuse_address;  /* SO_REUSEADDR */
  bool bind_no_port;   /* IP_BIND_ADDRESS_NO_PORT, Linux 4.2 */
  uint32_t mark;       /* SO_MARK, 0: leave alone */
  bool has_bind;
  struct ks_address bind; /* same family as the socket */
  const struct sock_filter *filter;
  uint16_t filter_length; /* instructions, 0: none */
};

/* The kernel's form of an address; returns its length. */
socklen_t ks_sock_address(const struct ks_address *from, struct sockaddr_storage *to);
/* The other way round. */
void ks_sock_from_sockaddr(const struct sockaddr_storage *from, struct ks_address *to);

/*
 * Opens a non-blocking, close-on-exec socket; bound when asked, not listening, not connected. The
 * filter is attached before bind, so that no packet comes in unfiltered. Returns the descriptor.
 */
int ks_sock_open(const struct ks_sock_options *options, const char **step);

/* close(2). The descriptor is gone even on EINTR, which is therefore no failure. */
int ks_sock_close(int fd, const char **step);

/* Replaces the filter of a socket in one step; length 0 detaches it and is fine without one. */
int ks_sock_set_filter(int fd, const struct sock_filter *filter, uint16_t length,
                       const char **step);

/* TCP_NODELAY, and keep-alive probes after two idle minutes. */
int ks_sock_keep_alive(int fd, const char **step);

/* The port that a socket is bound to, in host byte order. */
int ks_sock_bound_port(int fd, uint16_t *port, const char **step);

/* Where an accepted TCP connection was going before nat; -ENOENT when it was not translated. */
int ks_sock_original_destination(int fd, enum ks_family family, struct ks_address *destination,
                                 const char **step);

/*
 * Raises the soft RLIMIT_NOFILE towards `wanted`, and the hard one when that is allowed; never
 * lowers either. `*now` is the soft limit in force afterwards.
 */
int ks_file_limit_raise(uint64_t wanted, uint64_t *now, const char **step);

#endif
