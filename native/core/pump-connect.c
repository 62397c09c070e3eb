/* Connecting to an endpoint, within a time; when it has accepted, the connection is joined. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "pump-state.h"

/* A connection that is as old has all its socket options; far less than the time of keep-alive. */
enum { OPTIONS_MS = 10000 };

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

uint64_t ks_pump_event_key(const struct ks_connection *connection, int side) {
  return (uint64_t)(connection->generation & KS_PUMP_GENERATIONS) << 32 |
         (uint64_t)connection->slot << 1 | (uint64_t)side;
}

static int watch(struct ks_pump *pump, struct ks_connection *connection, int side) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                              .data.u64 = ks_pump_event_key(connection, side)};
  const int fd = connection->sides[side].fd;
  return epoll_ctl(pump->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void failed(struct ks_pump *pump, struct ks_connection *connection, int error) {
  ks_wheel_cancel(&pump->connects, &connection->timer);
  if (connection->sides[1].fd >= 0)
    close(connection->sides[1].fd);
  connection->sides[1].fd = -1;
  connection->state = KS_CONNECTION_WAITING;
  pump->waiting++;
  connection->error = error;
  ks_pump_publish(pump, connection, KS_PUMP_FAILED, true);
}

/* To the end of the patience, or of the time. */
static void set_timer(struct ks_pump *pump, struct ks_connection *connection) {
  const int64_t patient_ms = pump->now_ms + connection->target.patience_ms;
  connection->connect_due_ms = pump->now_ms + connection->target.timeout_ms;
  connection->was_silent = patient_ms >= connection->connect_due_ms;
  ks_wheel_set(&pump->connects, &connection->timer,
               connection->was_silent ? connection->connect_due_ms : patient_ms);
}

void ks_pump_connect(struct ks_pump *pump, struct ks_connection *connection) {
  const char *step;
  struct sockaddr_storage address;
  const struct ks_target *target = &connection->target;
  struct ks_sock_options options = {
      .family = target->to.family,
      .has_bind = target->has_source,
      .bind = target->source,
      .is_transparent = target->has_source,
      .reuse_address = target->has_source,
      .bind_no_port = target->has_source,
  };
  if (connection->sides[1].fd >= 0)
    close(connection->sides[1].fd); /* It was silent. */
  pump->waiting--;
  connection->state = KS_CONNECTION_CONNECTING;
  connection->generation++;
  connection->started_us = now_us();
  const int fd = ks_sock_open(&options, &step);
  connection->sides[1] = (struct ks_side){.fd = fd < 0 ? -1 : fd};
  connection->has_options = false;
  int error = fd < 0 ? fd : 0;
  const socklen_t length = ks_sock_address(&target->to, &address);
  if (!error && connect(fd, (struct sockaddr *)&address, length) < 0 && errno != EINPROGRESS)
    error = -errno;
  if (!error)
    error = watch(pump, connection, 1);
  if (error)
    failed(pump, connection, -error);
  else
    set_timer(pump, connection);
}

static void join(struct ks_pump *pump, struct ks_connection *connection, uint32_t events) {
  struct ks_side *sides = connection->sides;
  ks_wheel_cancel(&pump->connects, &connection->timer);
  connection->state = KS_CONNECTION_JOINED;
  connection->connect_us = (uint32_t)(now_us() - connection->started_us);
  connection->active_ms = pump->now_ms;
  connection->awaits_byte = connection->target.first_byte_ms != 0;
  connection->is_mute = false;
  const int64_t idle_ms = pump->idle_ms;
  ks_wheel_set(&pump->idles, &connection->timer,
               pump->now_ms + (idle_ms < OPTIONS_MS ? idle_ms : OPTIONS_MS));
  sides[1].can_write = true;
  sides[1].can_read = (events & (EPOLLIN | EPOLLRDHUP)) != 0;
  sides[1].has_hung_up = (events & EPOLLRDHUP) != 0;
  /* The client has waited, so its first bytes are mostly there: read before epoll says so. */
  sides[0].can_read = sides[0].can_write = true;
  sides[0].has_hung_up = false;
  ks_pump_publish(pump, connection, KS_PUMP_CONNECTED, false);
  if (watch(pump, connection, 0) < 0)
    ks_pump_end(pump, connection, KS_PUMP_CUT); /* ENOSPC, ENOMEM: it could not be served. */
  else
    ks_pump_relay(pump, connection);
}

void ks_pump_connect_event(struct ks_pump *pump, struct ks_connection *connection,
                           uint32_t events) {
  int error = 0;
  socklen_t length = sizeof(error);
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    getsockopt(connection->sides[1].fd, SOL_SOCKET, SO_ERROR, &error, &length);
    failed(pump, connection, error != 0 ? error : ECONNRESET);
  } else if ((events & EPOLLOUT) != 0) {
    join(pump, connection, events);
  }
}

void ks_pump_connect_timeout(struct ks_pump *pump, struct ks_connection *connection) {
  if (connection->was_silent) {
    failed(pump, connection, ETIMEDOUT);
    return;
  }
  connection->was_silent = true;
  connection->late_events = 0;
  connection->state = KS_CONNECTION_SILENT;
  pump->waiting++;
  ks_pump_publish(pump, connection, KS_PUMP_SILENT, true);
}

void ks_pump_connect_wait(struct ks_pump *pump, struct ks_connection *connection) {
  pump->waiting--;
  connection->state = KS_CONNECTION_CONNECTING;
  ks_wheel_set(&pump->connects, &connection->timer, connection->connect_due_ms);
  if (connection->late_events != 0)
    ks_pump_connect_event(pump, connection, connection->late_events);
}
