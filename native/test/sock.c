/* Unit test of core/sock.c: a program that prints nothing and exits with 0 when all is well. */
#include "../core/sock.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"

static struct ks_address loopback(enum ks_family family) {
  struct ks_address address = {.family = family};
  if (family == KS_IPV4)
    memcpy(address.address, "\x7f\0\0\1", 4);
  else
    address.address[15] = 1;
  return address;
}

static void opens_bound_nonblocking_sockets(enum ks_family family, bool is_udp) {
  const char *step = NULL;
  struct ks_sock_options options = {
      .family = family, .is_udp = is_udp, .has_bind = true, .bind = loopback(family)};
  int fd = ks_sock_open(&options, &step);
  CHECK(fd >= 0);
  CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  uint16_t port = 0;
  CHECK(ks_sock_bound_port(fd, &port, &step) == 0);
  CHECK(port != 0);

  /* In use: so that was the port. */
  options.bind.port = port;
  CHECK(is_udp || listen(fd, 1) == 0);
  CHECK(ks_sock_open(&options, &step) == -EADDRINUSE);
  CHECK(strcmp(step, "bind") == 0);
  CHECK(ks_sock_close(fd, &step) == 0);
  CHECK(ks_sock_close(fd, &step) == -EBADF);
  CHECK(strcmp(step, "close") == 0);
  CHECK(ks_sock_bound_port(fd, &port, &step) == -EBADF);
}

static void addresses_survive_the_way_to_the_kernel_and_back(enum ks_family family) {
  struct ks_address before = loopback(family), after;
  struct sockaddr_storage kernel;
  before.port = 8080;
  CHECK(ks_sock_address(&before, &kernel) > 0);
  ks_sock_from_sockaddr(&kernel, &after);
  CHECK(after.family == family && after.port == 8080);
  CHECK(memcmp(before.address, after.address, sizeof(after.address)) == 0);
}

static void probes_idle_connections(void) {
  const char *step = NULL;
  struct ks_sock_options options = {.family = KS_IPV4};
  int fd = ks_sock_open(&options, &step), value = 0;
  socklen_t length = sizeof(value);
  CHECK(ks_sock_keep_alive(fd, &step) == 0);
  CHECK(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length) == 0 && value == 1);
  CHECK(ks_sock_close(fd, &step) == 0);
  CHECK(ks_sock_keep_alive(fd, &step) == -EBADF && strcmp(step, "setsockopt") == 0);
}

static void refuses_a_bind_of_the_other_family(void) {
  const char *step = NULL;
  struct ks_sock_options options = {.family = KS_IPV4, .has_bind = true, .bind = loopback(KS_IPV6)};
  CHECK(ks_sock_open(&options, &step) == -EAFNOSUPPORT);
}

static void attaches_replaces_and_detaches_filters(void) {
  const char *step = NULL;
  struct sock_filter keep[] = {BPF_STMT(BPF_RET | BPF_K, 0xffffffff)};
  struct sock_filter endless[] = {BPF_STMT(BPF_LD | BPF_IMM, 0)};
  struct ks_sock_options options = {
      .family = KS_IPV6, .is_udp = true, .filter = keep, .filter_length = 1};
  int fd = ks_sock_open(&options, &step);
  CHECK(fd >= 0);
  CHECK(ks_sock_set_filter(fd, keep, 1, &step) == 0);
  CHECK(ks_sock_set_filter(fd, endless, 1, &step) == -EINVAL);
  CHECK(strcmp(step, "setsockopt") == 0);
  CHECK(ks_sock_set_filter(fd, NULL, 0, &step) == 0);
  CHECK(ks_sock_set_filter(fd, NULL, 0, &step) == 0);
  CHECK(ks_sock_close(fd, &step) == 0);

  options.filter = endless;
  CHECK(ks_sock_open(&options, &step) == -EINVAL);
}

static void knows_no_destination_of_an_untranslated_socket(enum ks_family family) {
  const char *step = NULL;
  struct ks_address destination;
  struct ks_sock_options options = {.family = family};
  int fd = ks_sock_open(&options, &step);
  CHECK(fd >= 0);
  int error = ks_sock_original_destination(fd, family, &destination, &step);
  /* ENOPROTOOPT where the kernel has no connection tracking. */
  CHECK(error == -ENOENT || error == -ENOTCONN || error == -ENOPROTOOPT);
  CHECK(strcmp(step, "getsockopt") == 0);
  CHECK(destination.port == 0);
  CHECK(ks_sock_close(fd, &step) == 0);
}

static void raises_the_file_limit_and_never_lowers_it(void) {
  const char *step = NULL;
  struct rlimit limit;
  uint64_t now = 0;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max > 64 ? 64 : limit.rlim_max;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(ks_file_limit_raise(32, &now, &step) == 0);
  CHECK(now == limit.rlim_cur);
  CHECK(ks_file_limit_raise(limit.rlim_max, &now, &step) == 0);
  CHECK(now == limit.rlim_max);
  CHECK(ks_file_limit_raise(UINT64_C(1) << 40, &now, &step) == 0);
  CHECK(now >= limit.rlim_max);
}

int main(void) {
  for (int is_udp = 0; is_udp <= 1; is_udp++) {
    opens_bound_nonblocking_sockets(KS_IPV4, is_udp);
    opens_bound_nonblocking_sockets(KS_IPV6, is_udp);
  }
  addresses_survive_the_way_to_the_kernel_and_back(KS_IPV4);
  addresses_survive_the_way_to_the_kernel_and_back(KS_IPV6);
  probes_idle_connections();
  refuses_a_bind_of_the_other_family();
  attaches_replaces_and_detaches_filters();
  knows_no_destination_of_an_untranslated_socket(KS_IPV4);
  knows_no_destination_of_an_untranslated_socket(KS_IPV6);
  raises_the_file_limit_and_never_lowers_it();
  return 0;
}
