/* Unit test of core/thread.c. */
#define _GNU_SOURCE
#include "../core/thread.h"

#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "../core/wait.h"
#include "check.h"

static void the_event_wakes_its_epoll_under_its_key(void) {
  const char *step = NULL;
  int epoll_fd, event_fd;
  struct epoll_event event;
  CHECK(ks_thread_descriptors(UINT64_C(1) << 63, &epoll_fd, &event_fd, &step) == 0);
  CHECK(epoll_wait(epoll_fd, &event, 1, 0) == 0);
  CHECK(ks_event_signal(event_fd, &step) == 0);
  CHECK(epoll_wait(epoll_fd, &event, 1, 1000) == 1);
  CHECK(event.data.u64 == UINT64_C(1) << 63);
  close(event_fd);
  close(epoll_fd);
}

struct seen {
  sigset_t blocked;
};

static void *look(void *data) {
  struct seen *seen = data;
  pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
  return NULL;
}

static void a_thread_leaves_signals_to_the_process(void) {
  const char *step = NULL;
  struct seen seen;
  sigset_t before, after;
  pthread_t thread;
  sigemptyset(&seen.blocked);
  pthread_sigmask(SIG_SETMASK, NULL, &before);
  CHECK(ks_thread_start(&thread, look, &seen, "of the test", &step) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(sigismember(&seen.blocked, SIGTERM) == 1 && sigismember(&seen.blocked, SIGCHLD) == 1);
  pthread_sigmask(SIG_SETMASK, NULL, &after);
  CHECK(sigismember(&after, SIGTERM) == sigismember(&before, SIGTERM));
}

int main(void) {
  the_event_wakes_its_epoll_under_its_key();
  a_thread_leaves_signals_to_the_process();
  return 0;
}
