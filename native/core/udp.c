/* The thread of the datagram relay: waits, sees to what epoll names, to verdicts and to timers. */
#define _GNU_SOURCE
#include "udp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "udp-state.h"
#include "thread.h"
#include "wait.h"

enum { EVENTS = 256, FIRST_BUCKETS = 1024 };

/* Exactness of the limits of idle sessions. */
enum { IDLE_STEP_MS = 250 };

/* Slots of sessions that are closed and not received yet, beside those of open ones. */
enum { SPARE_SLOTS = 4096 };

static void look_at_clock(struct ks_udp *udp) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  udp->now_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
  udp->now_ms = udp->now_us / 1000;
}

/* How long the thread may sleep, in ms; -1: for ever. */
static int64_t sleep_ms(struct ks_udp *udp) {
  int64_t wait = ks_wheel_wait(&udp->idles, udp->now_ms);
  if (udp->tell_at_ms != 0) {
    const int64_t tell = udp->tell_at_ms > udp->now_ms ? udp->tell_at_ms - udp->now_ms : 0;
    wait = wait < 0 || tell < wait ? tell : wait;
  }
  return wait < INT32_MAX ? wait : INT32_MAX;
}

/* Answers first: they are what clients wait for. */
static void see_to_events(struct ks_udp *udp, const struct epoll_event *events, int count) {
  const char *step;
  for (int i = 0; i < count; i++) {
    const uint64_t key = events[i].data.u64;
    if (key == KS_UDP_KEY_EVENT) {
      ks_event_clear(udp->event_fd, &step);
    } else if ((key & KS_UDP_KEY_LISTENER) == 0) {
      struct ks_session *session = ks_udp_at_slot(udp, (uint32_t)key);
      /* Not one that was closed earlier in this very turn. */
      if (session->state == KS_SESSION_CONNECTED)
        ks_udp_from_endpoint(udp, session);
    }
  }
  ks_udp_flush(udp);
  for (int i = 0; i < count; i++)
    if (events[i].data.u64 & KS_UDP_KEY_LISTENER)
      ks_udp_from_clients(udp, udp->listeners[(uint32_t)events[i].data.u64]);
}

static void see_to_verdicts(struct ks_udp *udp) {
  struct ks_session *session;
  struct ks_udp_order order;
  uint32_t verdict;
  while ((session = ks_udp_next_verdict(udp, &verdict, &order)) != NULL) {
    if (session->state == KS_SESSION_CLOSED)
      continue;
    if (verdict == KS_UDP_STOP)
      ks_udp_end(udp, session, KS_UDP_ENDED);
    else
      ks_udp_connect(udp, session, &order);
  }
}

static void see_to_timers(struct ks_udp *udp) {
  struct ks_timer *timer;
  if (atomic_exchange(&udp->must_rearm, false))
    ks_udp_rearm(udp);
  while ((timer = ks_wheel_expired(&udp->idles, udp->now_ms)) != NULL)
    ks_udp_idle_timeout(
        udp, (struct ks_session *)((char *)timer - offsetof(struct ks_session, timer)));
}

static void *run(void *argument) {
  struct ks_udp *udp = argument;
  struct epoll_event events[EVENTS];
  while (!atomic_load(&udp->must_stop)) {
    int64_t wait = sleep_ms(udp);
    if (wait != 0 && !ks_udp_falls_asleep(udp))
      wait = 0;
    const int count = epoll_wait(udp->epoll_fd, events, EVENTS, (int)wait);
    if (wait != 0)
      ks_udp_wakes_up(udp);
    look_at_clock(udp);
    see_to_events(udp, events, count);
    see_to_verdicts(udp);
    ks_udp_see_to_closing(udp);
    see_to_timers(udp);
    ks_udp_tell(udp);
  }
  return NULL;
}

static void free_udp(struct ks_udp *udp) {
  for (uint32_t i = 0; udp->chunks != NULL && i < udp->slots / KS_UDP_CHUNK; i++)
    free(udp->chunks[i]);
  for (uint32_t i = 0; i < udp->listener_count; i++)
    free(udp->listeners[i]);
  ks_udp_close_batches(udp);
  if (udp->event_fd >= 0)
    close(udp->event_fd);
  if (udp->epoll_fd >= 0)
    close(udp->epoll_fd);
  pthread_mutex_destroy(&udp->lock);
  pthread_cond_destroy(&udp->has_closed);
  free(udp->listeners);
  free(udp->chunks);
  free(udp->buckets);
  free(udp);
}

/* What is large takes no memory before it is used. */
static int open_tables(struct ks_udp *udp, const char **step) {
  const uint32_t chunks = (udp->options.max_sessions + SPARE_SLOTS) / KS_UDP_CHUNK + 1;
  *step = "getrandom";
  if (getrandom(udp->seeds, sizeof(udp->seeds), 0) != sizeof(udp->seeds))
    return errno != 0 ? -errno : -EIO;
  *step = "malloc";
  udp->max_slots = chunks * KS_UDP_CHUNK;
  udp->chunks = calloc(chunks, sizeof(struct ks_session *));
  udp->listeners = calloc(KS_UDP_MAX_LISTENERS, sizeof(struct ks_udp_listener *));
  udp->bucket_count = FIRST_BUCKETS;
  udp->buckets = calloc(FIRST_BUCKETS, sizeof(struct ks_session *));
  if (udp->chunks == NULL || udp->listeners == NULL || udp->buckets == NULL ||
      !ks_udp_open_batches(udp))
    return -ENOMEM;
  return 0;
}

int ks_udp_open(const struct ks_udp_options *options, struct ks_udp **result, const char **step) {
  struct ks_udp *udp = calloc(1, sizeof(*udp));
  *step = "malloc";
  if (udp == NULL)
    return -ENOMEM;
  udp->options = *options;
  if (udp->options.max_sessions < 1 || udp->options.max_sessions > INT32_MAX / 2)
    udp->options.max_sessions = udp->options.max_sessions < 1 ? 1 : INT32_MAX / 2;
  udp->epoll_fd = udp->event_fd = -1;
  pthread_mutex_init(&udp->lock, NULL);
  pthread_cond_init(&udp->has_closed, NULL);
  look_at_clock(udp);
  ks_wheel_init(&udp->idles, IDLE_STEP_MS, udp->now_ms);
  atomic_store(&udp->idle_ms, INT32_MAX);
  atomic_store(&udp->stream_ms, INT32_MAX);
  int error = open_tables(udp, step);
  if (!error)
    error = ks_thread_descriptors(KS_UDP_KEY_EVENT, &udp->epoll_fd, &udp->event_fd, step);
  if (!error)
    error = ks_thread_start(&udp->thread, run, udp, "udp", step);
  if (error) {
    free_udp(udp);
    return error;
  }
  *result = udp;
  return 0;
}

void ks_udp_close(struct ks_udp *udp) {
  const char *step;
  atomic_store(&udp->must_stop, true);
  ks_event_signal(udp->event_fd, &step);
  pthread_join(udp->thread, NULL);
  while (udp->oldest != NULL)
    ks_udp_end(udp, udp->oldest, KS_UDP_ENDED);
  for (uint32_t i = 0; i < udp->listener_count; i++)
    if (udp->listeners[i]->fd >= 0)
      close(udp->listeners[i]->fd);
  free_udp(udp);
}

void ks_udp_set_timeouts(struct ks_udp *udp, const struct ks_udp_timeouts *timeouts) {
  const char *step;
  atomic_store(&udp->idle_ms, timeouts->idle_ms);
  atomic_store(&udp->stream_ms, timeouts->stream_ms);
  atomic_store(&udp->retry_within_ms, timeouts->retry_within_ms);
  atomic_store(&udp->must_rearm, true);
  ks_event_signal(udp->event_fd, &step);
}

void ks_udp_count(struct ks_udp *udp, uint64_t counters[KS_UDP_COUNTERS]) {
  for (int i = 0; i < KS_UDP_COUNTERS; i++)
    counters[i] = atomic_load_explicit(&udp->counters[i], memory_order_relaxed);
}
