/*
 * Answers each datagram with what it holds, 64 at a time; the pods of `perf -- udp`.
 *
 *   udp-echo PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BATCH = 64, BYTES = 2048, BUFFER_BYTES = 4 << 20 };

int main(int argc, char **argv) {
  static char bytes[BATCH][BYTES];
  static struct sockaddr_in from[BATCH];
  static struct iovec parts[BATCH];
  static struct mmsghdr messages[BATCH];
  const int size = BUFFER_BYTES;
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0))};
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
  if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
    perror("udp-echo: bind");
    return 1;
  }
  for (;;) {
    for (int i = 0; i < BATCH; i++) {
      parts[i] = (struct iovec){bytes[i], BYTES};
      messages[i].msg_hdr = (struct msghdr){
          .msg_name = &from[i], .msg_namelen = sizeof(from[i]), .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    const int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
    for (int i = 0; i < count; i++) parts[i].iov_len = messages[i].msg_len;
    for (int sent = 0; sent < count;) {
      const int more = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);
      sent += more > 0 ? more : 1; /* one that cannot be sent is lost */
    }
  }
}
