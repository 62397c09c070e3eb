/*
 * Opens TCP connections at a fixed rate, one HTTP request on each, and prints how long the answers
 * took, as JSON.
 *
 *   new-connections ADDRESS PORT PER_SECOND COUNT
 *
 * Open loop: connection i is due at start + i / PER_SECOND, whatever became of those before it, and
 * its time runs from when it was due to the first byte of the answer. So a server that stalls is
 * charged for everybody who would have come meanwhile, which a closed loop (wrk, ab) leaves out, and
 * the handshake is included, which wrk leaves out.
 * Bounds: COUNT <= 1,000,000; as many connections at once as there are descriptors, more count as
 * failed; whatever has not answered 3 s after the last was due has failed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_COUNT = 1000000, MAX_FD = 65536, EVENTS = 256, TIMER_FD_TAG = -1 };
#define NS_PER_SECOND UINT64_C(1000000000)
#define GRACE_NS (3 * NS_PER_SECOND)

struct connection {
  uint64_t due_ns;
  int is_sent;
  int is_answered;
};

static const char REQUEST[] = "GET / HTTP/1.1\r\nHost: perf\r\nConnection: close\r\n\r\n";

static struct connection connections[MAX_FD]; /* by descriptor */
static uint32_t *times_us;
static size_t completed, open_count;
static int epoll_fd;

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "new-connections: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void finish(int fd) {
  close(fd); /* which also takes it out of the epoll set */
  open_count--;
}

/* A connection that cannot even be started is one that has not answered. */
static void start(const struct sockaddr_in *to, uint64_t due_ns) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
  int is_refused = connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS;
  if (fd >= MAX_FD || is_refused || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
    close(fd);
    return;
  }
  connections[fd] = (struct connection){.due_ns = due_ns};
  open_count++;
}

static void on_event(int fd, uint32_t events) {
  struct connection *connection = &connections[fd];
  if (events & EPOLLERR) {
    finish(fd);
    return;
  }
  if ((events & EPOLLOUT) && !connection->is_sent) {
    connection->is_sent = 1;
    if (send(fd, REQUEST, sizeof REQUEST - 1, MSG_NOSIGNAL) != (ssize_t)sizeof REQUEST - 1) {
      finish(fd);
      return;
    }
  }
  if (!(events & EPOLLIN)) return;
  char answer[4096];
  ssize_t length;
  while ((length = recv(fd, answer, sizeof answer, 0)) > 0) {
    if (connection->is_answered) continue;
    connection->is_answered = 1;
    times_us[completed++] = (uint32_t)((now_ns() - connection->due_ns) / 1000);
  }
  if (length == 0 || (errno != EAGAIN && errno != EINTR)) finish(fd);
}

static int compare(const void *one, const void *other) {
  uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
  return (a > b) - (a < b);
}

/* Nearest rank; `times_us` is sorted and not empty. */
static uint32_t percentile(double percent) {
  size_t rank = (size_t)(percent / 100 * (double)completed + 0.999999);
  return times_us[rank == 0 ? 0 : rank - 1];
}

static void raise_file_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

/* A descriptor that becomes readable at `at_ns`. */
static void set_timer(int timer_fd, uint64_t at_ns) {
  struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / NS_PER_SECOND),
                                         .tv_nsec = (long)(at_ns % NS_PER_SECOND)}};
  if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0) die("timerfd_settime");
}

static void run(const struct sockaddr_in *to, double per_second, size_t count) {
  int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  struct epoll_event timer = {.events = EPOLLIN, .data.fd = TIMER_FD_TAG};
  if (timer_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &timer) < 0) die("timerfd");
  uint64_t begin_ns = now_ns();
  uint64_t end_ns = begin_ns + (uint64_t)((double)count / per_second * 1e9) + GRACE_NS;
  size_t started = 0;
  while (started < count || open_count > 0) {
    uint64_t now = now_ns();
    if (now >= end_ns) break;
    uint64_t due_ns = begin_ns;
    for (; started < count; started++) {
      due_ns = begin_ns + (uint64_t)((double)started / per_second * 1e9);
      if (due_ns > now) break;
      start(to, due_ns);
    }
    set_timer(timer_fd, started < count ? due_ns : end_ns);
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll_fd, events, EVENTS, -1);
    if (ready < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd != TIMER_FD_TAG) on_event(events[i].data.fd, events[i].events);
    }
  }
}

int main(int argc, char **argv) {
  struct sockaddr_in to = {.sin_family = AF_INET};
  double per_second = argc == 5 ? atof(argv[3]) : 0;
  long count = argc == 5 ? atol(argv[4]) : 0;
  if (argc != 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || per_second <= 0 ||
      count < 1 || count > MAX_COUNT) {
    fprintf(stderr, "usage: new-connections ADDRESS PORT PER_SECOND COUNT\n");
    return 2;
  }
  to.sin_port = htons((uint16_t)atoi(argv[2]));
  raise_file_limit();
  times_us = calloc((size_t)count, sizeof *times_us);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (times_us == NULL || epoll_fd < 0) die("start");
  run(&to, per_second, (size_t)count);
  qsort(times_us, completed, sizeof *times_us, compare);
  printf("{\"completed\":%zu,\"failed\":%zu", completed,
         (size_t)count - completed);
  if (completed > 0) {
    printf(",\"p50Us\":%u,\"p99Us\":%u,\"maxUs\":%u", percentile(50), percentile(99),
           percentile(100));
  }
  puts("}");
  return 0;
}
