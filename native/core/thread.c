#define _GNU_SOURCE
#include "thread.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>

#include "wait.h"

int ks_thread_descriptors(uint64_t event_key, int *epoll_fd, int *event_fd, const char **step) {
  *epoll_fd = -1;
  *event_fd = ks_event_open(step);
  if (*event_fd < 0) {
    const int error = *event_fd;
    *event_fd = -1;
    return error;
  }
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = event_key};
  *step = "epoll_create";
  *epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (*epoll_fd < 0)
    return -errno;
  *step = "epoll_ctl";
  return epoll_ctl(*epoll_fd, EPOLL_CTL_ADD, *event_fd, &event) < 0 ? -errno : 0;
}

int ks_thread_start(pthread_t *thread, void *(*run)(void *), void *argument, const char *name,
                    const char **step) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(thread, NULL, run, argument);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  *step = "pthread_create";
  if (!error)
    pthread_setname_np(*thread, name);
  return -error;
}
