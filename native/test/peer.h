/* The other end of a socket that core/ takes for netlink: answers each request with one datagram.
 */
#ifndef KS_TEST_PEER_H
#define KS_TEST_PEER_H

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/netlink.h"
#include "check.h"

enum { PEER_ROOM = 1 << 20 };

struct peer {
  int fd; /* for the code under test */
  int end;
  pthread_t thread;
  const uint8_t *answer; /* the same each time */
  size_t answer_length;
  uint32_t answers;  /* requests that it answers */
  uint8_t *requests; /* what it was sent, one after the other */
  size_t length;
};

static inline void *peer_run(void *data) {
  struct peer *peer = data;
  for (uint32_t i = 0; i < peer->answers; i++) {
    ssize_t length = recv(peer->end, peer->requests + peer->length, PEER_ROOM - peer->length, 0);
    CHECK(length > 0);
    peer->length += (size_t)length;
    CHECK(send(peer->end, peer->answer, peer->answer_length, 0) == (ssize_t)peer->answer_length);
  }
  return NULL;
}

/* The answer has to live as long as the peer. */
static inline struct peer *peer_open(const void *answer, size_t length, uint32_t answers) {
  struct peer *peer = calloc(1, sizeof(*peer));
  int ends[2];
  CHECK(peer != NULL && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
  *peer = (struct peer){.fd = ends[0], .end = ends[1], .answers = answers};
  peer->answer = answer;
  peer->answer_length = length;
  peer->requests = malloc(PEER_ROOM);
  CHECK(peer->requests != NULL);
  CHECK(pthread_create(&peer->thread, NULL, peer_run, peer) == 0);
  return peer;
}

/* Waits until it has answered what it was to answer: then its requests may be read. */
static inline void peer_join(struct peer *peer) {
  CHECK(pthread_join(peer->thread, NULL) == 0);
}

static inline void peer_close(struct peer *peer) {
  close(peer->fd);
  close(peer->end);
  free(peer->requests);
  free(peer);
}

/* An answer with this code to the message `sequence`; `text` NULL: without words. */
static inline struct nlmsghdr *put_answer(void *buffer, int code, uint32_t sequence,
                                          const char *text) {
  struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
  struct nlmsgerr *error = mnl_nlmsg_put_extra_header(message, sizeof(*error));
  message->nlmsg_type = NLMSG_ERROR;
  message->nlmsg_flags = NLM_F_CAPPED | (text == NULL ? 0 : NLM_F_ACK_TLVS);
  message->nlmsg_seq = sequence;
  error->error = code;
  error->msg.nlmsg_len = 4096;
  if (text != NULL)
    mnl_attr_put_strz(message, 1, text);
  return message;
}

#endif
