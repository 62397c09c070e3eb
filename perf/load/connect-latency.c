/*
 * How long connect() takes, target by target in turn, and prints the percentiles as JSON.
 *
 *   connect-latency COUNT PAUSE_US ADDRESS:PORT...
 *
 * One connection at a time: to the first target, a pause, to the second, and so on, COUNT times
 * around. So every target meets the same mood of the machine, its queue is idle, and the difference
 * of two targets' percentiles is what one adds. The first tenth warms up and does not count. A
 * connection is closed with a reset, which leaves no port waiting.
 * Bounds: COUNT <= 1,000,000; 64 targets; a connect that takes over 3 s ends the program.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MAX_COUNT = 1000000, MAX_TARGETS = 64 };

static void die(const char *what) {
  fprintf(stderr, "connect-latency: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void pause_us(unsigned microseconds) {
  struct timespec time = {.tv_sec = microseconds / 1000000,
                          .tv_nsec = (long)(microseconds % 1000000) * 1000};
  while (nanosleep(&time, &time) < 0 && errno == EINTR) {
  }
}

static uint32_t connect_ns(const struct sockaddr_in *to) {
  static const struct linger reset = {.l_onoff = 1, .l_linger = 0};
  static const struct timeval timeout = {.tv_sec = 3};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  uint64_t begin = now_ns();
  if (connect(fd, (const struct sockaddr *)to, sizeof *to) < 0) die("connect");
  uint64_t end = now_ns();
  close(fd);
  return (uint32_t)(end - begin);
}

static int compare(const void *one, const void *other) {
  uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
  return (a > b) - (a < b);
}

/* Nearest rank, in microseconds; `sorted` is not empty. */
static double percentile(const uint32_t *sorted, size_t count, double percent) {
  size_t rank = (size_t)(percent / 100 * (double)count + 0.999999);
  return sorted[rank == 0 ? 0 : rank - 1] / 1000.0;
}

static void parse(const char *text, struct sockaddr_in *to) {
  char address[INET_ADDRSTRLEN];
  int port;
  *to = (struct sockaddr_in){.sin_family = AF_INET};
  if (sscanf(text, "%15[0-9.]:%d", address, &port) != 2 ||
      inet_pton(AF_INET, address, &to->sin_addr) != 1) {
    fprintf(stderr, "connect-latency: not an address and port: %s\n", text);
    exit(2);
  }
  to->sin_port = htons((uint16_t)port);
}

int main(int argc, char **argv) {
  static struct sockaddr_in targets[MAX_TARGETS];
  static uint32_t *times[MAX_TARGETS];
  long count = argc > 3 ? atol(argv[1]) : 0;
  size_t target_count = argc > 3 ? (size_t)argc - 3 : 0;
  if (count < 1 || count > MAX_COUNT || target_count > MAX_TARGETS) {
    fprintf(stderr, "usage: connect-latency COUNT PAUSE_US ADDRESS:PORT...\n");
    return 2;
  }
  for (size_t i = 0; i < target_count; i++) {
    parse(argv[i + 3], &targets[i]);
    times[i] = calloc((size_t)count, sizeof **times);
    if (times[i] == NULL) die("start");
  }
  long warm_up = count / 10;
  for (long round = -warm_up; round < count; round++) {
    for (size_t i = 0; i < target_count; i++) {
      uint32_t took = connect_ns(&targets[i]);
      if (round >= 0) times[i][round] = took;
      pause_us((unsigned)atoi(argv[2]));
    }
  }
  for (size_t i = 0; i < target_count; i++) {
    qsort(times[i], (size_t)count, sizeof **times, compare);
    printf("%c{\"p50Us\":%.1f,\"p90Us\":%.1f,\"p99Us\":%.1f}", i == 0 ? '[' : ',',
           percentile(times[i], (size_t)count, 50), percentile(times[i], (size_t)count, 90),
           percentile(times[i], (size_t)count, 99));
  }
  puts("]");
  return 0;
}
