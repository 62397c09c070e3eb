/* Listeners of the datagram relay: opened by the holder, closed by the thread. See udp.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "udp-state.h"
#include "wait.h"

enum { GENERATIONS = 0x7ff };

/* As much as is allowed: beyond net.core.rmem_max with CAP_NET_ADMIN only. */
static void set_buffers(int fd, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

static struct ks_udp_listener *new_listener(struct ks_udp *udp) {
  struct ks_udp_listener *listener = udp->free_listener;
  if (listener != NULL) {
    udp->free_listener = listener->next_free;
    return listener;
  }
  if (udp->listener_count == KS_UDP_MAX_LISTENERS)
    return NULL;
  listener = calloc(1, sizeof(*listener));
  if (listener == NULL)
    return NULL;
  listener->number = udp->listener_count;
  udp->listeners[udp->listener_count++] = listener;
  return listener;
}

static uint32_t index_of(const struct ks_udp_listener *listener) {
  return listener->number % KS_UDP_MAX_LISTENERS;
}

/* Its number names its next life. */
static void free_listener(struct ks_udp *udp, struct ks_udp_listener *listener) {
  const uint32_t generation = (listener->number >> KS_UDP_INDEX_BITS) + 1;
  listener->number = (generation & GENERATIONS) << KS_UDP_INDEX_BITS | index_of(listener);
  listener->fd = -1;
  listener->next_free = udp->free_listener;
  udp->free_listener = listener;
}

int ks_udp_listen(struct ks_udp *udp, int fd, int buffer_bytes, const char **step) {
  struct ks_udp_listener *listener = new_listener(udp);
  *step = "malloc";
  if (listener == NULL)
    return -ENOMEM;
  set_buffers(fd, buffer_bytes);
  listener->fd = fd;
  listener->sessions = 0;
  /* The thread looks at it from here on. */
  const int number = (int)listener->number;
  struct epoll_event event = {.events = EPOLLIN,
                              .data.u64 = KS_UDP_KEY_LISTENER | index_of(listener)};
  *step = "epoll_ctl";
  if (epoll_ctl(udp->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
    const int error = -errno;
    free_listener(udp, listener);
    return error;
  }
  return number;
}

void ks_udp_see_to_closing(struct ks_udp *udp) {
  pthread_mutex_lock(&udp->lock);
  struct ks_udp_listener *listener = udp->closing;
  pthread_mutex_unlock(&udp->lock);
  if (listener == NULL)
    return;
  struct ks_session *next;
  for (struct ks_session *session = udp->oldest; session != NULL && listener->sessions > 0;
       session = next) {
    next = session->newer;
    if (session->listener == listener)
      ks_udp_end(udp, session, KS_UDP_ENDED);
  }
  close(listener->fd);
  pthread_mutex_lock(&udp->lock);
  udp->closing = NULL;
  pthread_cond_signal(&udp->has_closed);
  pthread_mutex_unlock(&udp->lock);
}

int ks_udp_unlisten(struct ks_udp *udp, uint32_t number, const char **step) {
  const uint32_t index = number % KS_UDP_MAX_LISTENERS;
  struct ks_udp_listener *listener = index < udp->listener_count ? udp->listeners[index] : NULL;
  *step = "close";
  if (listener == NULL || listener->fd < 0 || listener->number != number)
    return -EBADF;
  pthread_mutex_lock(&udp->lock);
  udp->closing = listener;
  const bool must_wake = udp->is_sleeping;
  udp->is_sleeping = false;
  pthread_mutex_unlock(&udp->lock);
  int error = must_wake ? ks_event_signal(udp->event_fd, step) : 0;
  pthread_mutex_lock(&udp->lock);
  while (udp->closing != NULL)
    pthread_cond_wait(&udp->has_closed, &udp->lock);
  pthread_mutex_unlock(&udp->lock);
  free_listener(udp, listener);
  return error;
}
