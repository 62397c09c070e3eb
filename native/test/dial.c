/* Unit test of core/dial.c: a program that prints nothing and exits with 0 when all is well. */
#include "../core/dial.h"

#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include "check.h"

static int listener(struct ks_address *address) {
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t length = sizeof(name);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&name, length) == 0 && listen(fd, 8) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)&name, &length) == 0);
  *address = (struct ks_address){.family = KS_IPV4, .port = ntohs(name.sin_port)};
  memcpy(address->address, "\x7f\0\0\1", 4);
  return fd;
}

static int32_t wait_for(int fd, uint8_t wants) {
  int32_t result = 0;
  for (int tries = 0; tries < 1000 && ks_dial_poll(&fd, &wants, &result, 1) == 0; tries++)
    poll(NULL, 0, 1);
  return result;
}

static void connects_sends_and_receives(void) {
  struct ks_address to;
  char bytes[8];
  int server = listener(&to);
  int fd = ks_dial(&to, false);
  CHECK(fd >= 0 && wait_for(fd, KS_DIAL_CONNECT) == 1);
  int peer = accept(server, NULL, NULL);
  CHECK(ks_dial_receive(fd, bytes, sizeof(bytes)) == -EAGAIN);
  CHECK(ks_dial_send(fd, "ping", 4) == 4 && read(peer, bytes, sizeof(bytes)) == 4);
  CHECK(write(peer, "pong", 4) == 4 && wait_for(fd, KS_DIAL_RECEIVE) == 1);
  CHECK(ks_dial_receive(fd, bytes, sizeof(bytes)) == 4 && memcmp(bytes, "pong", 4) == 0);
  close(peer);
  CHECK(wait_for(fd, KS_DIAL_RECEIVE) == 1 && ks_dial_receive(fd, bytes, sizeof(bytes)) == 0);
  close(fd);
  close(server);
}

static void resets_when_asked(void) {
  struct ks_address to;
  char byte;
  int server = listener(&to);
  int fd = ks_dial(&to, true);
  CHECK(fd >= 0 && wait_for(fd, KS_DIAL_CONNECT) == 1);
  int peer = accept(server, NULL, NULL);
  close(fd);
  CHECK(read(peer, &byte, 1) == -1 && errno == ECONNRESET);
  close(peer);
  close(server);
}

static void tells_who_refuses(void) {
  struct ks_address to;
  close(listener(&to));
  int fd = ks_dial(&to, false);
  CHECK(fd == -ECONNREFUSED || wait_for(fd, KS_DIAL_CONNECT) == -ECONNREFUSED);
  CHECK(ks_dial_send(-1, "x", 1) == -EBADF);
}

/* More than one chunk; negative ones are skipped. */
static void looks_at_many(void) {
  int32_t fds[600], results[600];
  uint8_t wants[600] = {0};
  for (int i = 0; i < 600; i++)
    fds[i] = -1;
  CHECK(ks_dial_poll(fds, wants, results, 600) == 0);
  int pair[2];
  CHECK(pipe(pair) == 0);
  fds[599] = pair[0];
  wants[599] = KS_DIAL_RECEIVE;
  CHECK(write(pair[1], "x", 1) == 1);
  CHECK(ks_dial_poll(fds, wants, results, 600) == 1 && results[599] == 1 && results[0] == 0);
  close(pair[0]);
  close(pair[1]);
  CHECK(ks_dial_poll(fds, wants, results, 600) == 1 && results[599] == -EBADF);
}

int main(void) {
  connects_sends_and_receives();
  resets_when_asked();
  tells_who_refuses();
  looks_at_many();
  return 0;
}
