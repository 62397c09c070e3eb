/*
 * Sends datagrams of 64 bytes that are to come back, from many clients (a socket each), and prints what
 * came of them, as JSON.
 *
 *   udp-requests ADDRESS PORT closed CLIENTS SECONDS WINDOW   each client has WINDOW requests under way
 *   udp-requests ADDRESS PORT open CLIENTS SECONDS RATE       RATE requests a second, whatever becomes of them
 *   udp-requests ADDRESS PORT fresh CLIENTS SECONDS 1         closed, each request from a port of its own
 *
 * The time of a request runs from when it was due (open) or sent to when it is back, so that in an open
 * loop a stall is charged to all that would have come meanwhile. Of a client that hears nothing for
 * SILENCE_NS what is under way is lost, and it begins anew. What has not come back DRAIN_NS after the
 * end is lost too.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CLIENTS = 16384, MAX_WINDOW = 64, BYTES = 64, EVENTS = 256, MAX_TIMES = 1 << 23 };
#define NS_PER_SECOND UINT64_C(1000000000)
#define SILENCE_NS (NS_PER_SECOND / 4)
#define DRAIN_NS (NS_PER_SECOND / 2)

struct client {
  int fd;
  uint32_t under_way;
  uint64_t heard_ns;
};

struct request {
  uint64_t due_ns;
  char rest[BYTES - sizeof(uint64_t)];
};

static struct client clients[MAX_CLIENTS];
static struct request requests[MAX_WINDOW];
static struct iovec parts[MAX_WINDOW];
static struct mmsghdr messages[MAX_WINDOW];
static uint32_t *times_us;
static uint64_t sent, received;
static int epoll_fd;
static struct sockaddr_in to = {.sin_family = AF_INET};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "udp-requests: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void open_client(struct client *client) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
  client->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  client->under_way = 0;
  if (client->fd < 0 || connect(client->fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
      epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
    die("client");
}

static void send_requests(struct client *client, uint32_t count, uint64_t due_ns) {
  for (uint32_t i = 0; i < count; i++) requests[i].due_ns = due_ns;
  sent += count;
  client->under_way += count;
  /* What the kernel does not take is lost. */
  if (count == 1)
    send(client->fd, &requests[0], BYTES, 0);
  else
    sendmmsg(client->fd, messages, count, 0);
}

/* Returns how many came back. */
static uint32_t receive(struct client *client, uint32_t most, uint64_t now) {
  const int count = recvmmsg(client->fd, messages, most, 0, NULL);
  for (int i = 0; i < count; i++) {
    const uint64_t ns = now - requests[i].due_ns;
    if (received < MAX_TIMES) times_us[received] = (uint32_t)(ns / 1000);
    received++;
  }
  if (count > 0) {
    client->under_way -= (uint32_t)count < client->under_way ? (uint32_t)count : client->under_way;
    client->heard_ns = now;
  }
  return count > 0 ? (uint32_t)count : 0;
}

static int by_value(const void *a, const void *b) {
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static void report(double seconds) {
  const uint64_t known = received < MAX_TIMES ? received : MAX_TIMES;
  qsort(times_us, known, sizeof(*times_us), by_value);
  const uint32_t p50 = known == 0 ? 0 : times_us[known / 2];
  const uint32_t p99 = known == 0 ? 0 : times_us[known * 99 / 100];
  printf("{\"sent\":%llu,\"received\":%llu,\"perSecond\":%.0f,\"p50Us\":%u,\"p99Us\":%u}\n",
         (unsigned long long)sent, (unsigned long long)received, (double)received / seconds, p50,
         p99);
}

int main(int argc, char **argv) {
  if (argc != 7) {
    fprintf(stderr, "udp-requests ADDRESS PORT closed|open|fresh CLIENTS SECONDS WINDOW|RATE\n");
    return 2;
  }
  const int is_open = strcmp(argv[3], "open") == 0, is_fresh = strcmp(argv[3], "fresh") == 0;
  const uint32_t count = (uint32_t)atoi(argv[4]), last = (uint32_t)atoi(argv[6]);
  const double seconds = atof(argv[5]);
  const uint32_t window = is_open ? MAX_WINDOW : last;
  to.sin_port = htons((uint16_t)atoi(argv[2]));
  times_us = malloc(MAX_TIMES * sizeof(*times_us));
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (count < 1 || count > MAX_CLIENTS || window < 1 || window > MAX_WINDOW || times_us == NULL ||
      inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
    die("arguments");
  for (int i = 0; i < MAX_WINDOW; i++) {
    parts[i] = (struct iovec){&requests[i], BYTES};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
  }
  for (uint32_t i = 0; i < count; i++) open_client(&clients[i]);

  const uint64_t start = now_ns(), end = start + (uint64_t)(seconds * NS_PER_SECOND);
  uint64_t now = start, swept = start, due_count = 0;
  if (!is_open)
    for (uint32_t i = 0; i < count; i++) {
      clients[i].heard_ns = now;
      send_requests(&clients[i], window, now_ns());
    }
  while (now < end + DRAIN_NS) {
    const int is_sending = now < end;
    uint64_t wait_ns = NS_PER_SECOND / 50;
    for (; is_open && is_sending; due_count++) {
      const uint64_t due = start + due_count * NS_PER_SECOND / last;
      if (due > now) wait_ns = due - now < wait_ns ? due - now : wait_ns;
      if (due > now || due >= end) break;
      send_requests(&clients[due_count % count], 1, due);
    }
    struct epoll_event events[EVENTS];
    const struct timespec wait = {.tv_nsec = (long)wait_ns};
    const int ready = epoll_pwait2(epoll_fd, events, EVENTS, &wait, NULL);
    now = now_ns();
    for (int i = 0; i < ready; i++) {
      struct client *client = events[i].data.ptr;
      const uint32_t back = receive(client, window, now);
      if (back == 0 || is_open || now >= end) continue;
      if (is_fresh) {
        close(client->fd);
        open_client(client);
      }
      send_requests(client, back, now_ns());
    }
    if (is_open || now >= end || now - swept < SILENCE_NS / 5) continue;
    swept = now;
    for (uint32_t i = 0; i < count; i++) {
      if (now - clients[i].heard_ns < SILENCE_NS) continue;
      clients[i].under_way = 0;
      clients[i].heard_ns = now;
      send_requests(&clients[i], window, now);
    }
  }
  report(seconds);
  return 0;
}
