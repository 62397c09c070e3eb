#define _GNU_SOURCE
#include "wait.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int fail(const char **step, const char *name) {
  *step = name;
  return -errno;
}

int ks_wait_readable(const int32_t *fds, uint32_t count, int timeout_ms, const char **step) {
  struct pollfd polled[KS_WAIT_MAX];
  if (count > KS_WAIT_MAX) {
    *step = "poll";
    return -EINVAL;
  }
  for (uint32_t i = 0; i < count; i++)
    polled[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
  if (poll(polled, count, timeout_ms) < 0)
    return errno == EINTR ? 0 : fail(step, "poll");
  int ready = 0;
  for (uint32_t i = 0; i < count; i++)
    if (polled[i].revents != 0)
      ready |= 1 << i;
  return ready;
}

int ks_event_open(const char **step) {
  int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  return fd < 0 ? fail(step, "eventfd") : fd;
}

int ks_event_signal(int fd, const char **step) {
  return eventfd_write(fd, 1) < 0 && errno != EAGAIN ? fail(step, "write") : 0;
}

int ks_event_clear(int fd, const char **step) {
  eventfd_t value;
  return eventfd_read(fd, &value) < 0 && errno != EAGAIN ? fail(step, "read") : 0;
}
