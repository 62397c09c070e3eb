/* Sessions of the datagram relay: found by their client, oldest and newest, kept datagrams, ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "udp-state.h"

static uint64_t mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
  return hash ^ hash >> 32;
}

/* With seeds that nobody knows: clients choose their ports, and could fill one bucket. */
static uint64_t hash_of(const struct ks_udp *udp, const struct ks_udp_listener *listener,
                        const union ks_udp_name *client) {
  uint64_t hash = mix(udp->seeds[0], listener->number);
  if (client->any.sa_family == AF_INET) {
    hash = mix(hash, (uint64_t)client->v4.sin_port << 32 | client->v4.sin_addr.s_addr);
  } else {
    uint64_t words[2];
    memcpy(words, &client->v6.sin6_addr, sizeof(words));
    hash = mix(mix(mix(hash, words[0]), words[1]), client->v6.sin6_port);
  }
  return mix(hash, udp->seeds[1]);
}

bool ks_udp_is_same(const union ks_udp_name *a, const union ks_udp_name *b) {
  if (a->any.sa_family != b->any.sa_family)
    return false;
  if (a->any.sa_family == AF_INET)
    return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
  return a->v6.sin6_port == b->v6.sin6_port && a->v6.sin6_scope_id == b->v6.sin6_scope_id &&
         memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof(a->v6.sin6_addr)) == 0;
}

static struct ks_session **bucket_of(const struct ks_udp *udp, uint64_t hash) {
  return &udp->buckets[hash & (udp->bucket_count - 1)];
}

/* Twice as many buckets. Without memory for them chains get longer. */
static void grow_buckets(struct ks_udp *udp) {
  struct ks_session **before = udp->buckets;
  const uint32_t count = udp->bucket_count;
  struct ks_session **buckets = calloc((size_t)count * 2, sizeof(struct ks_session *));
  if (buckets == NULL)
    return;
  udp->buckets = buckets;
  udp->bucket_count = count * 2;
  for (uint32_t i = 0; i < count; i++)
    for (struct ks_session *session = before[i], *next; session != NULL; session = next) {
      struct ks_session **bucket = bucket_of(udp, session->hash);
      next = session->next_in_bucket;
      session->next_in_bucket = *bucket;
      *bucket = session;
    }
  free(before);
}

static void take_from_bucket(struct ks_udp *udp, struct ks_session *session) {
  struct ks_session **place = bucket_of(udp, session->hash);
  while (*place != session)
    place = &(*place)->next_in_bucket;
  *place = session->next_in_bucket;
}

static void take_from_order(struct ks_udp *udp, struct ks_session *session) {
  *(session->older != NULL ? &session->older->newer : &udp->oldest) = session->newer;
  *(session->newer != NULL ? &session->newer->older : &udp->newest) = session->older;
}

static void put_newest(struct ks_udp *udp, struct ks_session *session) {
  session->newer = NULL;
  session->older = udp->newest;
  *(udp->newest != NULL ? &udp->newest->newer : &udp->oldest) = session;
  udp->newest = session;
}

static int64_t limit_ms(struct ks_udp *udp, const struct ks_session *session) {
  return atomic_load_explicit(session->has_reply ? &udp->stream_ms : &udp->idle_ms,
                              memory_order_relaxed);
}

static struct ks_session *begin(struct ks_udp *udp, struct ks_udp_listener *listener,
                                const union ks_udp_name *client, uint64_t hash) {
  if (udp->sessions >= udp->options.max_sessions) {
    ks_udp_add(udp, KS_UDP_EVICTIONS, 1);
    ks_udp_end(udp, udp->oldest, KS_UDP_EVICTED);
  }
  struct ks_session *session = ks_udp_take_slot(udp);
  if (session == NULL)
    return NULL;
  if (udp->sessions >= udp->bucket_count)
    grow_buckets(udp);
  struct ks_session **bucket = bucket_of(udp, hash);
  session->state = KS_SESSION_WAITING;
  session->fd = -1;
  session->listener = listener;
  session->client = *client;
  session->hash = hash;
  session->next_in_bucket = *bucket;
  *bucket = session;
  session->told_ms = session->asked_ms = 0;
  session->has_reply = false;
  session->bytes_up = session->bytes_down = 0;
  session->used_ms = udp->now_ms;
  put_newest(udp, session);
  ks_wheel_set(&udp->idles, &session->timer, udp->now_ms + limit_ms(udp, session));
  udp->sessions++;
  listener->sessions++;
  ks_udp_add(udp, KS_UDP_SESSIONS, 1);
  ks_udp_publish(udp, session, KS_UDP_NEW, KS_UDP_NOW);
  return session;
}

struct ks_session *ks_udp_session_of(struct ks_udp *udp, struct ks_udp_listener *listener,
                                     const union ks_udp_name *client) {
  const uint64_t hash = hash_of(udp, listener, client);
  struct ks_session *session = *bucket_of(udp, hash);
  while (session != NULL &&
         (session->hash != hash || session->listener != listener ||
          !ks_udp_is_same(&session->client, client)))
    session = session->next_in_bucket;
  if (session == NULL)
    return begin(udp, listener, client, hash);
  session->used_ms = udp->now_ms;
  if (udp->newest != session) {
    take_from_order(udp, session);
    put_newest(udp, session);
  }
  return session;
}

static void forget_first(struct ks_udp *udp, struct ks_session *session) {
  struct ks_udp_kept *first = session->first_kept;
  session->first_kept = first->next;
  if (first->next == NULL)
    session->last_kept = NULL;
  session->kept--;
  session->kept_bytes -= first->length;
  udp->all_kept_bytes -= (uint32_t)sizeof(*first) + first->length;
  free(first);
}

void ks_udp_forget_kept(struct ks_udp *udp, struct ks_session *session) {
  while (session->first_kept != NULL)
    forget_first(udp, session);
}

bool ks_udp_keep(struct ks_udp *udp, struct ks_session *session, const uint8_t *bytes,
                 uint32_t length) {
  while (session->kept >= KS_UDP_KEPT ||
         (session->kept > 0 && session->kept_bytes + length > KS_UDP_KEPT_BYTES))
    forget_first(udp, session);
  if (udp->all_kept_bytes + length > KS_UDP_ALL_KEPT_BYTES)
    return false;
  struct ks_udp_kept *kept = malloc(sizeof(*kept) + length);
  if (kept == NULL)
    return false;
  kept->next = NULL;
  kept->sent_us = udp->now_us;
  kept->length = length;
  memcpy(kept->bytes, bytes, length);
  *(session->last_kept != NULL ? &session->last_kept->next : &session->first_kept) = kept;
  session->last_kept = kept;
  session->kept++;
  session->kept_bytes += length;
  udp->all_kept_bytes += (uint32_t)sizeof(*kept) + length;
  return true;
}

/* Of this session, what is too old to be sent once more. */
static void forget_old(struct ks_udp *udp, struct ks_session *session) {
  const int64_t within_us = (int64_t)atomic_load(&udp->retry_within_ms) * 1000;
  while (session->first_kept != NULL && session->first_kept->sent_us < udp->now_us - within_us)
    forget_first(udp, session);
}

static void leave_endpoint(struct ks_session *session) {
  if (session->fd >= 0)
    close(session->fd);
  session->fd = -1;
}

void ks_udp_refused(struct ks_udp *udp, struct ks_session *session) {
  leave_endpoint(session);
  session->state = KS_SESSION_WAITING;
  forget_old(udp, session);
  pthread_mutex_lock(&udp->lock);
  session->refused_attempt = session->attempt;
  pthread_mutex_unlock(&udp->lock);
  ks_udp_publish(udp, session, KS_UDP_REFUSED, KS_UDP_NOW);
  if (session->first_kept == NULL)
    ks_udp_end(udp, session, KS_UDP_ENDED);
}

static int open_socket(const struct ks_udp_order *order) {
  struct ks_sock_options options = {.family = order->to.family,
                                    .is_udp = true,
                                    .is_transparent = order->has_source,
                                    .has_bind = order->has_source,
                                    .bind = order->source};
  struct sockaddr_storage to;
  const char *step;
  const int fd = ks_sock_open(&options, &step);
  if (fd < 0)
    return fd;
  const socklen_t length = ks_sock_address(&order->to, &to);
  if (connect(fd, (struct sockaddr *)&to, length) < 0) {
    const int error = -errno;
    close(fd);
    return error;
  }
  return fd;
}

void ks_udp_connect(struct ks_udp *udp, struct ks_session *session,
                    const struct ks_udp_order *order) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = session->slot};
  if (session->state == KS_SESSION_CONNECTED)
    forget_old(udp, session);
  leave_endpoint(session);
  int fd = open_socket(order);
  if (fd >= 0 && epoll_ctl(udp->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
    const int error = -errno;
    close(fd);
    fd = error;
  }
  if (fd < 0) {
    pthread_mutex_lock(&udp->lock);
    session->error = -fd;
    pthread_mutex_unlock(&udp->lock);
    ks_udp_end(udp, session, KS_UDP_FAILED);
    return;
  }
  session->fd = fd;
  session->state = KS_SESSION_CONNECTED;
  session->told_ms = session->asked_ms = 0;
  ks_udp_publish_connected(udp, session, order->attempt);
  ks_udp_send_kept(udp, session);
}

void ks_udp_end(struct ks_udp *udp, struct ks_session *session, enum ks_udp_end end) {
  leave_endpoint(session);
  ks_udp_forget_kept(udp, session);
  take_from_bucket(udp, session);
  take_from_order(udp, session);
  ks_wheel_cancel(&udp->idles, &session->timer);
  session->state = KS_SESSION_CLOSED;
  session->listener->sessions--;
  udp->sessions--;
  ks_udp_add(udp, KS_UDP_SESSIONS, (uint64_t)-1);
  pthread_mutex_lock(&udp->lock);
  session->end = end;
  pthread_mutex_unlock(&udp->lock);
  ks_udp_publish(udp, session, KS_UDP_CLOSED, KS_UDP_SOON);
}

void ks_udp_idle_timeout(struct ks_udp *udp, struct ks_session *session) {
  const int64_t due_ms = session->used_ms + limit_ms(udp, session);
  if (due_ms <= udp->now_ms)
    ks_udp_end(udp, session, KS_UDP_EXPIRED);
  else
    ks_wheel_set(&udp->idles, &session->timer, due_ms);
}

void ks_udp_rearm(struct ks_udp *udp) {
  for (struct ks_session *session = udp->oldest; session != NULL; session = session->newer)
    ks_wheel_set(&udp->idles, &session->timer, session->used_ms + limit_ms(udp, session));
}
