/* The bytes of the datagram relay: from listeners to endpoints and back. See udp.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "udp-state.h"

/* Received from one listener, and from one endpoint, before the others have their turn. */
enum { LISTENER_BATCHES = 2, FROM_ENDPOINT = 8 };

/* How often a session that has answers tells so. */
enum { ANSWERED_MS = 1000 };

static bool open_batch(struct ks_udp_batch *batch) {
  batch->bytes = mmap(NULL, (size_t)KS_UDP_BATCH * KS_UDP_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (batch->bytes == MAP_FAILED) {
    batch->bytes = NULL;
    return false;
  }
  for (int i = 0; i < KS_UDP_BATCH; i++)
    batch->messages[i].msg_hdr = (struct msghdr){.msg_iov = &batch->parts[i], .msg_iovlen = 1};
  return true;
}

static void close_batch(struct ks_udp_batch *batch) {
  if (batch->bytes != NULL)
    munmap(batch->bytes, (size_t)KS_UDP_BATCH * KS_UDP_BYTES);
}

bool ks_udp_open_batches(struct ks_udp *udp) {
  return open_batch(&udp->up) && open_batch(&udp->down);
}

void ks_udp_close_batches(struct ks_udp *udp) {
  close_batch(&udp->up);
  close_batch(&udp->down);
}

/* Places from `first` on are ready for `count` datagrams. */
static void make_ready(struct ks_udp_batch *batch, uint32_t first, uint32_t count,
                       bool with_names) {
  for (uint32_t i = first; i < first + count; i++) {
    struct msghdr *message = &batch->messages[i].msg_hdr;
    batch->parts[i] = (struct iovec){batch->bytes + (size_t)i * KS_UDP_BYTES, KS_UDP_BYTES};
    message->msg_name = with_names ? &batch->names[i] : NULL;
    message->msg_namelen = with_names ? sizeof(batch->names[i]) : 0;
    message->msg_flags = 0;
  }
}

static bool is_full(int error) {
  return error == EAGAIN || error == ENOBUFS || error == ENOMEM;
}

static void count_unsent(struct ks_udp *udp, int error) {
  ks_udp_add(udp, is_full(error) ? KS_UDP_DROPPED_FULL : KS_UDP_DROPPED_ERROR, 1);
}

/*
 * A message that is not sent is lost, as on any full link. False: the endpoint has refused an earlier
 * one, and what is left was not sent.
 */
static bool send_up(struct ks_udp *udp, int fd, struct mmsghdr *messages, uint32_t count) {
  uint32_t done = 0;
  while (done < count) {
    const int sent =
        count == 1
            ? (sendmsg(fd, &messages->msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1)
            : sendmmsg(fd, messages + done, count - done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      done += (uint32_t)sent;
      ks_udp_add(udp, KS_UDP_SENT_UP, (uint64_t)sent);
    } else if (sent < 0 && errno == ECONNREFUSED) {
      return false;
    } else if (sent == 0 || errno != EINTR) {
      count_unsent(udp, errno);
      done++;
    }
  }
  return true;
}

void ks_udp_send_kept(struct ks_udp *udp, struct ks_session *session) {
  for (struct ks_udp_kept *kept = session->first_kept; kept != NULL; kept = kept->next) {
    struct iovec part = {kept->bytes, kept->length};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};
    if (!send_up(udp, session->fd, &message, 1)) {
      ks_udp_refused(udp, session);
      return;
    }
  }
}

/* Whether its client goes on though nothing has been answered for a while, and nobody was told lately. */
static bool is_silent(const struct ks_udp *udp, const struct ks_session *session) {
  return session->state == KS_SESSION_CONNECTED && session->first_kept != NULL &&
         udp->now_us - session->first_kept->sent_us >= KS_UDP_SILENT_MS * 1000 &&
         udp->now_ms - session->asked_ms >= KS_UDP_SILENT_MS;
}

/* Datagrams `first` to `first + count` of `up`, all of one client. */
static void from_client(struct ks_udp *udp, struct ks_udp_listener *listener, uint32_t first,
                        uint32_t count) {
  struct mmsghdr *messages = &udp->up.messages[first];
  struct ks_session *session = ks_udp_session_of(udp, listener, &udp->up.names[first]);
  if (session == NULL) {
    ks_udp_add(udp, KS_UDP_DROPPED_NO_SESSION, count);
    return;
  }
  const bool asks = is_silent(udp, session);
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t length = messages[i].msg_len;
    udp->up.parts[first + i].iov_len = length;
    messages[i].msg_hdr.msg_name = NULL;
    messages[i].msg_hdr.msg_namelen = 0;
    session->bytes_up += length;
    if (!ks_udp_keep(udp, session, udp->up.parts[first + i].iov_base, length) &&
        session->state != KS_SESSION_CONNECTED)
      ks_udp_add(udp, KS_UDP_DROPPED_FULL, 1);
  }
  if (session->state != KS_SESSION_CONNECTED)
    return;
  if (!send_up(udp, session->fd, messages, count)) {
    ks_udp_refused(udp, session);
  } else if (asks) {
    session->asked_ms = udp->now_ms;
    ks_udp_publish(udp, session, KS_UDP_SILENT, KS_UDP_NOW);
  }
}

static bool is_whole(struct ks_udp *udp, const struct mmsghdr *message) {
  if ((message->msg_hdr.msg_flags & MSG_TRUNC) == 0 && message->msg_hdr.msg_namelen > 0)
    return true;
  ks_udp_add(udp, KS_UDP_DROPPED_TOO_LONG, 1);
  return false;
}

static void from_batch(struct ks_udp *udp, struct ks_udp_listener *listener, uint32_t count) {
  const struct ks_udp_batch *batch = &udp->up;
  uint32_t next;
  for (uint32_t first = 0; first < count; first = next) {
    next = first + 1;
    if (!is_whole(udp, &batch->messages[first]))
      continue;
    while (next < count && ks_udp_is_same(&batch->names[next], &batch->names[first]) &&
           is_whole(udp, &batch->messages[next]))
      next++;
    from_client(udp, listener, first, next - first);
  }
}

void ks_udp_from_clients(struct ks_udp *udp, struct ks_udp_listener *listener) {
  for (int i = 0; i < LISTENER_BATCHES; i++) {
    make_ready(&udp->up, 0, KS_UDP_BATCH, true);
    const int count = recvmmsg(listener->fd, udp->up.messages, KS_UDP_BATCH, MSG_DONTWAIT, NULL);
    if (count > 0)
      from_batch(udp, listener, (uint32_t)count);
    if (count < KS_UDP_BATCH)
      return;
  }
}

void ks_udp_flush(struct ks_udp *udp) {
  uint32_t done = 0;
  while (done < udp->down_count) {
    const int sent = sendmmsg(udp->down_by->fd, udp->down.messages + done, udp->down_count - done,
                              MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      done += (uint32_t)sent;
      ks_udp_add(udp, KS_UDP_SENT_DOWN, (uint64_t)sent);
    } else if (sent == 0 || errno != EINTR) {
      count_unsent(udp, errno);
      done++;
    }
  }
  udp->down_count = 0;
}

static void has_answered(struct ks_udp *udp, struct ks_session *session) {
  const bool is_first = !session->has_reply && session->first_kept != NULL;
  session->used_ms = udp->now_ms;
  if (is_first) {
    const int64_t us = udp->now_us - session->first_kept->sent_us;
    pthread_mutex_lock(&udp->lock);
    session->latency_us = us < UINT32_MAX - 1 ? (uint32_t)us + 1 : UINT32_MAX;
    pthread_mutex_unlock(&udp->lock);
  }
  if (session->told_ms == 0 || udp->now_ms - session->told_ms >= ANSWERED_MS) {
    ks_udp_publish(udp, session, KS_UDP_ANSWERED,
                   session->told_ms == 0 ? KS_UDP_SOON : KS_UDP_SOME_TIME);
    session->told_ms = udp->now_ms;
  }
  session->has_reply = true;
  ks_udp_forget_kept(udp, session);
}

void ks_udp_from_endpoint(struct ks_udp *udp, struct ks_session *session) {
  struct ks_udp_batch *batch = &udp->down;
  if (udp->down_by != session->listener || udp->down_count == KS_UDP_BATCH)
    ks_udp_flush(udp);
  udp->down_by = session->listener;
  const uint32_t first = udp->down_count;
  const uint32_t room = KS_UDP_BATCH - first;
  const uint32_t most = room < FROM_ENDPOINT ? room : FROM_ENDPOINT;
  make_ready(batch, first, most, false);
  const int count = recvmmsg(session->fd, batch->messages + first, most, MSG_DONTWAIT, NULL);
  if (count < 0 && errno != EAGAIN && errno != EINTR)
    ks_udp_refused(udp, session);
  if (count <= 0)
    return;
  for (uint32_t i = first; i < first + (uint32_t)count; i++) {
    const uint32_t length = batch->messages[i].msg_len;
    if (batch->messages[i].msg_hdr.msg_flags & MSG_TRUNC) {
      ks_udp_add(udp, KS_UDP_DROPPED_TOO_LONG, 1);
      continue;
    }
    const uint32_t at = udp->down_count++;
    if (at != i)
      memcpy(batch->parts[at].iov_base, batch->parts[i].iov_base, length);
    batch->parts[at].iov_len = length;
    batch->names[at] = session->client;
    batch->messages[at].msg_hdr.msg_name = &batch->names[at];
    batch->messages[at].msg_hdr.msg_namelen = session->client.any.sa_family == AF_INET
                                                  ? sizeof(session->client.v4)
                                                  : sizeof(session->client.v6);
    session->bytes_down += length;
  }
  has_answered(udp, session);
}
