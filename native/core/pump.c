/* The pump's thread: waits, sees to what epoll names, to verdicts and to timers. See pump.h. */
#define _GNU_SOURCE
#include "pump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "pump-state.h"
#include "thread.h"
#include "wait.h"

enum { EVENTS = 256 };

/* Exactness of the time of a connect, of the limits of idle connections, and of a first byte. */
enum { CONNECT_STEP_MS = 4, IDLE_STEP_MS = 250, FIRST_BYTE_STEP_MS = 16 };

static int64_t clock_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t sooner(int64_t a, int64_t b) {
  if (a < 0 || b < 0)
    return a < 0 ? b : a;
  return a < b ? a : b;
}

/* How long the thread may sleep, in ms; -1: for ever. */
static int64_t sleep_ms(struct ks_pump *pump) {
  if (pump->first_again != NULL)
    return 0;
  int64_t wait = sooner(ks_wheel_wait(&pump->connects, pump->now_ms),
                        ks_wheel_wait(&pump->idles, pump->now_ms));
  wait = sooner(wait, ks_wheel_wait(&pump->first_bytes, pump->now_ms));
  if (pump->tell_at_ms != 0)
    wait = sooner(wait, pump->tell_at_ms > pump->now_ms ? pump->tell_at_ms - pump->now_ms : 0);
  if (pump->is_paused && pump->resume_ms != INT64_MAX)
    wait = sooner(wait, pump->resume_ms > pump->now_ms ? pump->resume_ms - pump->now_ms : 0);
  return wait < INT32_MAX ? wait : INT32_MAX;
}

static void relay_event(struct ks_pump *pump, struct ks_connection *connection, int side,
                        uint32_t events) {
  struct ks_side *it = &connection->sides[side];
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
    it->has_hung_up = true;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
    it->can_read = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
    it->can_write = true;
  ks_pump_relay(pump, connection);
}

static void connection_event(struct ks_pump *pump, uint64_t key, uint32_t events) {
  const uint32_t slot = (uint32_t)key >> 1;
  const int side = (int)(key & 1);
  struct ks_connection *connection = &pump->chunks[slot / KS_PUMP_CHUNK][slot % KS_PUMP_CHUNK];
  /* One that was closed earlier in this very turn, and whose slot may have a new owner. */
  if (ks_pump_event_key(connection, side) != key || connection->sides[side].fd < 0)
    return;
  if (connection->state == KS_CONNECTION_JOINED)
    relay_event(pump, connection, side, events);
  else if (connection->state == KS_CONNECTION_CONNECTING && side == 1)
    ks_pump_connect_event(pump, connection, events);
  else if (connection->state == KS_CONNECTION_SILENT && side == 1)
    connection->late_events |= events;
}

static void see_to_events(struct ks_pump *pump, const struct epoll_event *events, int count) {
  for (int i = 0; i < count; i++) {
    const uint64_t key = events[i].data.u64;
    const char *step;
    if (key == KS_PUMP_KEY_EVENT)
      ks_event_clear(pump->event_fd, &step);
    else if (key & KS_PUMP_KEY_LISTENER)
      ks_pump_accept(pump, (uint32_t)key);
    else
      connection_event(pump, key, events[i].events);
  }
}

static void see_to_verdicts(struct ks_pump *pump) {
  struct ks_connection *connection;
  uint32_t verdict;
  while ((connection = ks_pump_next_verdict(pump, &verdict)) != NULL) {
    if (connection->state == KS_CONNECTION_CLOSED)
      continue;
    const bool is_silent = connection->state == KS_CONNECTION_SILENT;
    if (verdict == KS_PUMP_RESET)
      ks_pump_end(pump, connection, KS_PUMP_CUT);
    else if (verdict == KS_PUMP_WAIT && is_silent)
      ks_pump_connect_wait(pump, connection);
    else if (verdict == KS_PUMP_CONNECT && (is_silent || connection->state == KS_CONNECTION_WAITING))
      ks_pump_connect(pump, connection);
  }
  if (pump->is_paused && pump->resume_ms == INT64_MAX &&
      pump->waiting <= pump->options.max_waiting / 2)
    ks_pump_set_paused(pump, false);
}

/* Those whose turn was over before they had moved all. */
static void see_to_rest(struct ks_pump *pump) {
  struct ks_connection *connection = pump->first_again;
  pump->first_again = NULL;
  while (connection != NULL) {
    struct ks_connection *next = connection->next_again;
    connection->is_again = false;
    if (connection->state == KS_CONNECTION_JOINED)
      ks_pump_relay(pump, connection);
    connection = next;
  }
}

static struct ks_connection *timed(struct ks_timer *timer) {
  return (struct ks_connection *)((char *)timer - offsetof(struct ks_connection, timer));
}

static struct ks_connection *awaited(struct ks_timer *timer) {
  return (struct ks_connection *)((char *)timer - offsetof(struct ks_connection, first_byte));
}

static void see_to_timers(struct ks_pump *pump) {
  struct ks_timer *timer;
  while ((timer = ks_wheel_expired(&pump->connects, pump->now_ms)) != NULL)
    ks_pump_connect_timeout(pump, timed(timer));
  while ((timer = ks_wheel_expired(&pump->idles, pump->now_ms)) != NULL)
    ks_pump_idle_timeout(pump, timed(timer));
  while ((timer = ks_wheel_expired(&pump->first_bytes, pump->now_ms)) != NULL)
    ks_pump_first_byte_timeout(pump, awaited(timer));
  if (pump->is_paused && pump->resume_ms <= pump->now_ms)
    ks_pump_set_paused(pump, false);
}

static void *run(void *argument) {
  struct ks_pump *pump = argument;
  struct epoll_event events[EVENTS];
  while (!atomic_load(&pump->must_stop)) {
    int64_t wait = sleep_ms(pump);
    if (wait != 0 && !ks_pump_falls_asleep(pump))
      wait = 0;
    const int count = epoll_wait(pump->epoll_fd, events, EVENTS, (int)wait);
    if (wait != 0)
      ks_pump_wakes_up(pump);
    pump->now_ms = clock_ms();
    see_to_rest(pump);
    see_to_events(pump, events, count);
    see_to_verdicts(pump);
    /* A full batch: there may be more, and among them the answer of one whose time is over. */
    if (count < EVENTS)
      see_to_timers(pump);
    ks_pump_tell(pump);
  }
  return NULL;
}

static void free_pump(struct ks_pump *pump) {
  for (uint32_t i = 0; i < pump->slots / KS_PUMP_CHUNK; i++)
    free(pump->chunks[i]);
  ks_pump_close_pipes(pump);
  if (pump->event_fd >= 0)
    close(pump->event_fd);
  if (pump->epoll_fd >= 0)
    close(pump->epoll_fd);
  pthread_mutex_destroy(&pump->lock);
  pthread_mutex_destroy(&pump->listener_lock);
  for (uint32_t i = 0; i < pump->listener_count; i++)
    ks_pump_drop_picks(&pump->listeners[i]);
  free(pump->listeners);
  free(pump->chunks);
  free(pump->buffer);
  free(pump);
}

int ks_pump_open(const struct ks_pump_options *options, struct ks_pump **result,
                 const char **step) {
  struct ks_pump *pump = calloc(1, sizeof(*pump));
  *step = "malloc";
  if (pump == NULL)
    return -ENOMEM;
  pump->options = *options;
  /* Whole chunks; a slot and the bit of a side fit in 32 bits. */
  uint32_t chunks = options->max_connections / KS_PUMP_CHUNK + 1;
  if (chunks > INT32_MAX / KS_PUMP_CHUNK)
    chunks = INT32_MAX / KS_PUMP_CHUNK;
  pump->options.max_connections = chunks * KS_PUMP_CHUNK;
  pump->epoll_fd = pump->event_fd = -1;
  pthread_mutex_init(&pump->lock, NULL);
  pthread_mutex_init(&pump->listener_lock, NULL);
  pump->now_ms = clock_ms();
  ks_wheel_init(&pump->connects, CONNECT_STEP_MS, pump->now_ms);
  ks_wheel_init(&pump->idles, IDLE_STEP_MS, pump->now_ms);
  ks_wheel_init(&pump->first_bytes, FIRST_BYTE_STEP_MS, pump->now_ms);
  ks_pump_set_timeouts(pump, INT32_MAX, INT32_MAX);
  pump->chunks = calloc(chunks, sizeof(struct ks_connection *));
  pump->buffer = malloc(KS_PUMP_COPY_BYTES);
  int error = pump->chunks == NULL || pump->buffer == NULL ? -ENOMEM : 0;
  if (!error)
    error = ks_thread_descriptors(KS_PUMP_KEY_EVENT, &pump->epoll_fd, &pump->event_fd, step);
  if (!error)
    error = ks_thread_start(&pump->thread, run, pump, "pump", step);
  if (error) {
    free_pump(pump);
    return error;
  }
  *result = pump;
  return 0;
}

void ks_pump_close(struct ks_pump *pump) {
  const char *step;
  atomic_store(&pump->must_stop, true);
  ks_event_signal(pump->event_fd, &step);
  pthread_join(pump->thread, NULL);
  for (uint32_t i = 0; i < pump->listener_count; i++)
    if (pump->listeners[i].fd >= 0)
      close(pump->listeners[i].fd);
  for (uint32_t slot = 0; slot < pump->slots; slot++) {
    struct ks_connection *connection = &pump->chunks[slot / KS_PUMP_CHUNK][slot % KS_PUMP_CHUNK];
    if (connection->state != KS_CONNECTION_CLOSED)
      ks_pump_end(pump, connection, KS_PUMP_CUT);
  }
  free_pump(pump);
}

void ks_pump_set_timeouts(struct ks_pump *pump, uint32_t idle_ms, uint32_t half_closed_ms) {
  atomic_store(&pump->idle_ms, idle_ms);
  atomic_store(&pump->half_closed_ms, half_closed_ms);
}

void ks_pump_count(struct ks_pump *pump, uint64_t counters[KS_PUMP_COUNTERS]) {
  for (int i = 0; i < KS_PUMP_COUNTERS; i++)
    counters[i] = atomic_load_explicit(&pump->counters[i], memory_order_relaxed);
}
