/* Accepting: listeners are level-triggered, so that what one turn leaves is there for the next. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pump-state.h"

/* From one listener in one turn. */
enum { ACCEPTS = 64 };

/* Descriptors or memory ran out: time for others to give some back. */
enum { PAUSE_MS = 50 };

/*
 * Number of a listener: its index, and above it how often that was used, so that a record of one
 * that was closed is not taken for one of its successor.
 */
enum { INDEX_BITS = 20, MAX_LISTENERS = 1 << INDEX_BITS, GENERATIONS = 0x7ff };

static uint32_t number_of(const struct ks_pump *pump, const struct ks_listener *listener) {
  return listener->generation << INDEX_BITS | (uint32_t)(listener - pump->listeners);
}

static void reset(int fd) {
  const struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(fd);
}

/* Under the listener lock. */
static int watch(struct ks_pump *pump, const struct ks_listener *listener, int operation) {
  const uint64_t index = (uint64_t)(listener - pump->listeners);
  struct epoll_event event = {.events = pump->is_paused ? 0 : EPOLLIN,
                              .data.u64 = KS_PUMP_KEY_LISTENER | index};
  return epoll_ctl(pump->epoll_fd, operation, listener->fd, &event) < 0 ? -errno : 0;
}

void ks_pump_set_paused(struct ks_pump *pump, bool is_paused) {
  pthread_mutex_lock(&pump->listener_lock);
  if (is_paused && !pump->is_paused)
    ks_pump_add(pump, KS_PUMP_ACCEPT_PAUSES, 1);
  pump->is_paused = is_paused;
  for (uint32_t i = 0; i < pump->listener_count; i++)
    if (pump->listeners[i].fd >= 0)
      watch(pump, &pump->listeners[i], EPOLL_CTL_MOD);
  pthread_mutex_unlock(&pump->listener_lock);
}

/*
 * Makes a connection of an accepted descriptor. Returns it when there was a verdict for it ahead: to be
 * connected once the lock is free.
 */
static struct ks_connection *take(struct ks_pump *pump, struct ks_listener *listener, int fd,
                                  const struct sockaddr_storage *from) {
  struct ks_connection *connection = ks_pump_take_slot(pump);
  const char *step;
  bool is_low = true;
  if (connection == NULL) {
    ks_pump_add(pump, KS_PUMP_ACCEPTS_REFUSED, 1);
    reset(fd);
    return NULL;
  }
  memset(connection->sides, 0, sizeof(connection->sides));
  memset(connection->flows, 0, sizeof(connection->flows));
  connection->state = KS_CONNECTION_WAITING;
  connection->sides[0].fd = fd;
  connection->sides[1].fd = -1;
  connection->listener = number_of(pump, listener);
  ks_sock_from_sockaddr(from, &connection->client);
  connection->has_destination =
      listener->is_redirected &&
      ks_sock_original_destination(fd, listener->family, &connection->destination, &step) == 0;
  connection->is_picked = ks_pump_take_pick(listener, &connection->target, &is_low);
  const bool is_picked = connection->is_picked;
  pump->waiting++;
  ks_pump_add(pump, KS_PUMP_ACCEPTS, 1);
  ks_pump_add(pump, KS_PUMP_OPEN, 1);
  if (is_picked)
    ks_pump_add(pump, KS_PUMP_PICKS_USED, 1);
  ks_pump_publish(pump, connection, KS_PUMP_ACCEPTED, is_low);
  return is_picked ? connection : NULL;
}

/* Whether a failed accept means that the next one fails too. */
static bool is_exhausted(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

void ks_pump_accept(struct ks_pump *pump, uint32_t index) {
  int64_t resume_ms = 0;
  struct ks_connection *picked[ACCEPTS];
  int picked_count = 0;
  pthread_mutex_lock(&pump->listener_lock);
  struct ks_listener *listener = index < pump->listener_count ? &pump->listeners[index] : NULL;
  for (int i = 0; i < ACCEPTS && listener != NULL && listener->fd >= 0; i++) {
    struct sockaddr_storage from;
    socklen_t length = sizeof(from);
    if (pump->waiting >= pump->options.max_waiting) {
      resume_ms = INT64_MAX;
      break;
    }
    const int fd =
        accept4(listener->fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      struct ks_connection *connection = take(pump, listener, fd, &from);
      if (connection != NULL)
        picked[picked_count++] = connection;
    } else if (is_exhausted(errno)) {
      resume_ms = pump->now_ms + PAUSE_MS;
      break;
    } else if (errno == EAGAIN || errno == EBADF || errno == EINVAL) {
      break;
    } /* Else this one connection failed before it was accepted (accept(2)). */
  }
  pthread_mutex_unlock(&pump->listener_lock);
  for (int i = 0; i < picked_count; i++)
    ks_pump_connect(pump, picked[i]);
  if (resume_ms != 0) {
    pump->resume_ms = resume_ms;
    ks_pump_set_paused(pump, true);
  }
}

/* Under the listener lock: a place for one more. */
static struct ks_listener *free_listener(struct ks_pump *pump) {
  for (uint32_t i = 0; i < pump->listener_count; i++)
    if (pump->listeners[i].fd < 0)
      return &pump->listeners[i];
  const uint32_t count = pump->listener_count == 0 ? 16 : pump->listener_count * 2;
  struct ks_listener *listeners =
      count > MAX_LISTENERS ? NULL : realloc(pump->listeners, count * sizeof(*listeners));
  if (listeners == NULL)
    return NULL;
  for (uint32_t i = pump->listener_count; i < count; i++)
    listeners[i] = (struct ks_listener){.fd = -1};
  struct ks_listener *first = &listeners[pump->listener_count];
  pump->listeners = listeners;
  pump->listener_count = count;
  return first;
}

int ks_pump_listen(struct ks_pump *pump, int fd, enum ks_family family, int backlog,
                   bool is_redirected, const char **step) {
  int error = ks_sock_keep_alive(fd, step); /* Inherited by what is accepted. */
  if (error)
    return error;
  if (listen(fd, backlog) < 0) {
    *step = "listen";
    return -errno;
  }
  pthread_mutex_lock(&pump->listener_lock);
  struct ks_listener *listener = free_listener(pump);
  int number = -ENOMEM;
  *step = "epoll_ctl";
  if (listener != NULL) {
    listener->fd = fd;
    listener->family = family;
    listener->is_redirected = is_redirected;
    listener->generation = (listener->generation + 1) & GENERATIONS;
    number = (int)number_of(pump, listener);
    const int failure = watch(pump, listener, EPOLL_CTL_ADD);
    if (failure) {
      number = failure;
      listener->fd = -1;
    }
  }
  pthread_mutex_unlock(&pump->listener_lock);
  return number;
}

struct ks_listener *ks_pump_listener(struct ks_pump *pump, uint32_t number) {
  const uint32_t index = number % MAX_LISTENERS;
  struct ks_listener *listener = index < pump->listener_count ? &pump->listeners[index] : NULL;
  const bool is_it =
      listener != NULL && listener->fd >= 0 && number_of(pump, listener) == number;
  return is_it ? listener : NULL;
}

int ks_pump_unlisten(struct ks_pump *pump, uint32_t number, const char **step) {
  int error = -EBADF;
  *step = "close";
  pthread_mutex_lock(&pump->listener_lock);
  struct ks_listener *listener = ks_pump_listener(pump, number);
  if (listener != NULL) {
    close(listener->fd);
    listener->fd = -1;
    ks_pump_drop_picks(listener);
    error = 0;
  }
  pthread_mutex_unlock(&pump->listener_lock);
  return error;
}
