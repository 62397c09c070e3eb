#define _GNU_SOURCE
#include "sock.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* From linux/in.h, linux/in6.h and linux/netfilter_ipv4.h, which clash with netinet/in.h. */
#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif
#ifndef SO_ORIGINAL_DST
#define SO_ORIGINAL_DST 80
#endif
#ifndef IP6T_SO_ORIGINAL_DST
#define IP6T_SO_ORIGINAL_DST 80
#endif

static int fail(const char **step, const char *name) {
  *step = name;
  return -errno;
}

static int set_option(int fd, int level, int option, int value, const char **step) {
  if (setsockopt(fd, level, option, &value, sizeof(value)) < 0)
    return fail(step, "setsockopt");
  return 0;
}

socklen_t ks_sock_address(const struct ks_address *from, struct sockaddr_storage *to) {
  memset(to, 0, sizeof(*to));
  if (from->family == KS_IPV4) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    v4->sin_family = AF_INET;
    v4->sin_port = htons(from->port);
    memcpy(&v4->sin_addr, from->address, 4);
    return sizeof(*v4);
  }
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(from->port);
  memcpy(&v6->sin6_addr, from->address, 16);
  return sizeof(*v6);
}

void ks_sock_from_sockaddr(const struct sockaddr_storage *from, struct ks_address *to) {
  memset(to, 0, sizeof(*to));
  if (from->ss_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
    to->family = KS_IPV6;
    memcpy(to->address, &v6->sin6_addr, 16);
    to->port = ntohs(v6->sin6_port);
    return;
  }
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
  to->family = KS_IPV4;
  memcpy(to->address, &v4->sin_addr, 4);
  to->port = ntohs(v4->sin_port);
}

int ks_sock_keep_alive(int fd, const char **step) {
  enum { IDLE_SECONDS = 120 };
  int error = set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1, step);
  if (!error)
    error = set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1, step);
  return error ? error : set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, IDLE_SECONDS, step);
}

static int apply_options(int fd, const struct ks_sock_options *options, const char **step) {
  bool is_v6 = options->family == KS_IPV6;
  int level = is_v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  int error = 0;

  if (is_v6)
    error = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, step);
  if (!error && options->reuse_address)
    error = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1, step);
  if (!error && options->is_transparent)
    error = set_option(fd, level, is_v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1, step);
  if (!error && options->is_freebind)
    error = set_option(fd, level, is_v6 ? IPV6_FREEBIND : IP_FREEBIND, 1, step);
  /* IP level for both families: IPv6 has no option of its own (ip(7), IP_BIND_ADDRESS_NO_PORT). */
  if (!error && options->bind_no_port)
    error = set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1, step);
  if (!error && options->mark != 0)
    error = set_option(fd, SOL_SOCKET, SO_MARK, (int)options->mark, step);
  if (!error && options->filter_length > 0)
    error = ks_sock_set_filter(fd, options->filter, options->filter_length, step);
  return error;
}

int ks_sock_open(const struct ks_sock_options *options, const char **step) {
  if (options->has_bind && options->bind.family != options->family) {
    *step = "bind";
    return -EAFNOSUPPORT;
  }
  int domain = options->family == KS_IPV6 ? AF_INET6 : AF_INET;
  int type = options->is_udp ? SOCK_DGRAM : SOCK_STREAM;
  int fd = socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return fail(step, "socket");

  int error = apply_options(fd, options, step);
  if (!error && options->has_bind) {
    struct sockaddr_storage address;
    socklen_t length = ks_sock_address(&options->bind, &address);
    if (bind(fd, (struct sockaddr *)&address, length) < 0)
      error = fail(step, "bind");
  }
  if (error) {
    close(fd);
    return error;
  }
  return fd;
}

int ks_sock_close(int fd, const char **step) {
  if (close(fd) < 0 && errno != EINTR)
    return fail(step, "close");
  return 0;
}

int ks_sock_set_filter(int fd, const struct sock_filter *filter, uint16_t length,
                       const char **step) {
  if (length == 0) {
    int error = set_option(fd, SOL_SOCKET, SO_DETACH_FILTER, 0, step);
    return error == -ENOENT ? 0 : error;
  }
  /* The kernel copies the program; sock_fprog only lacks the const. */
  struct sock_fprog program = {.len = length, .filter = (struct sock_filter *)filter};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
    return fail(step, "setsockopt");
  return 0;
}

int ks_sock_bound_port(int fd, uint16_t *port, const char **step) {
  struct sockaddr_storage name;
  struct ks_address address;
  socklen_t length = sizeof(name);
  if (getsockname(fd, (struct sockaddr *)&name, &length) < 0)
    return fail(step, "getsockname");
  ks_sock_from_sockaddr(&name, &address);
  *port = address.port;
  return 0;
}

int ks_sock_original_destination(int fd, enum ks_family family, struct ks_address *destination,
                                 const char **step) {
  memset(destination, 0, sizeof(*destination));
  destination->family = family;
  if (family == KS_IPV4) {
    struct sockaddr_in v4 = {0};
    socklen_t length = sizeof(v4);
    if (getsockopt(fd, SOL_IP, SO_ORIGINAL_DST, &v4, &length) < 0)
      return fail(step, "getsockopt");
    memcpy(destination->address, &v4.sin_addr, 4);
    destination->port = ntohs(v4.sin_port);
    return 0;
  }
  struct sockaddr_in6 v6 = {0};
  socklen_t length = sizeof(v6);
  if (getsockopt(fd, SOL_IPV6, IP6T_SO_ORIGINAL_DST, &v6, &length) < 0)
    return fail(step, "getsockopt");
  memcpy(destination->address, &v6.sin6_addr, 16);
  destination->port = ntohs(v6.sin6_port);
  return 0;
}

int ks_file_limit_raise(uint64_t wanted, uint64_t *now, const char **step) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
    return fail(step, "getrlimit");
  if (limit.rlim_cur < wanted) {
    struct rlimit more = {.rlim_cur = wanted,
                          .rlim_max = limit.rlim_max > wanted ? limit.rlim_max : wanted};
    if (setrlimit(RLIMIT_NOFILE, &more) < 0) {
      /* Not allowed above the hard limit (or fs.nr_open): take all that is. */
      more.rlim_cur = more.rlim_max = limit.rlim_max;
      if (setrlimit(RLIMIT_NOFILE, &more) < 0)
        return fail(step, "setrlimit");
    }
    limit = more;
  }
  *now = limit.rlim_cur;
  return 0;
}
