#define _GNU_SOURCE
#include "dial.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* By one call of poll(2), on the stack. */
#define CHUNK 256u

int ks_dial(const struct ks_address *to, bool resets) {
  const struct linger linger = {.l_onoff = 1, .l_linger = 0};
  struct sockaddr_storage address;
  socklen_t length = ks_sock_address(to, &address);
  int domain = to->family == KS_IPV6 ? AF_INET6 : AF_INET;
  int fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  if ((!resets || setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0) &&
      (connect(fd, (struct sockaddr *)&address, length) == 0 || errno == EINPROGRESS))
    return fd;
  int error = -errno;
  close(fd);
  return error;
}

static int32_t result_of(const struct pollfd *one, uint8_t wants) {
  int error = 0;
  socklen_t length = sizeof(error);
  if (one->fd < 0 || one->revents == 0)
    return 0;
  if (one->revents & POLLNVAL)
    return -EBADF;
  if (wants != KS_DIAL_CONNECT)
    return 1;
  if (getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
    return -errno;
  return error == 0 ? 1 : -error;
}

int ks_dial_poll(const int32_t *fds, const uint8_t *wants, int32_t *results, uint32_t count) {
  struct pollfd polled[CHUNK];
  int found = 0;
  for (uint32_t at = 0; at < count; at += CHUNK) {
    uint32_t size = count - at < CHUNK ? count - at : CHUNK;
    for (uint32_t i = 0; i < size; i++) {
      polled[i].fd = fds[at + i];
      polled[i].events = wants[at + i] == KS_DIAL_CONNECT ? POLLOUT : POLLIN;
      polled[i].revents = 0;
    }
    if (poll(polled, size, 0) < 0 && errno != EINTR)
      return -errno;
    for (uint32_t i = 0; i < size; i++) {
      results[at + i] = result_of(&polled[i], wants[at + i]);
      found += results[at + i] != 0;
    }
  }
  return found;
}

int ks_dial_send(int fd, const void *bytes, size_t length) {
  ssize_t sent = send(fd, bytes, length > INT_MAX ? INT_MAX : length, MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent < 0 ? -errno : (int)sent;
}

int ks_dial_receive(int fd, void *bytes, size_t length) {
  ssize_t received = recv(fd, bytes, length > INT_MAX ? INT_MAX : length, MSG_DONTWAIT);
  return received < 0 ? -errno : (int)received;
}
