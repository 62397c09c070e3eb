/*
 * Moves the bytes of a joined connection. Short messages are received and sent, a stream of bulk is
 * spliced through a pipe and never enters this process.
 *
 * - Half-close: the end of one flow is passed on (FIN) once all of it is delivered; the other flow
 *   goes on.
 * - Back-pressure: a flow holds at most one pipe, or the rest of one recv, and reads nothing more
 *   until that is delivered.
 * - A reset on one side is a reset on the other; but an endpoint that resets before a byte went
 *   either way gives the client back, untouched.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pump-state.h"

/* Of one flow in one turn, so that one connection does not hold up the others. */
enum { TURN_BYTES = 1024 * 1024 };

/* A stream that comes in pieces smaller than this is an exchange of messages again. */
enum { BULK_BYTES = 4096 };

enum result {
  MOVED_ALL, /* until one of the sides has more to give or to take */
  HAS_MORE,  /* the turn is over */
  SOURCE_FAILED,
  TARGET_FAILED,
};

static bool is_busy(int error) {
  return error == EAGAIN || error == EINTR;
}

static void give_pipe(struct ks_pump *pump, struct ks_flow *flow) {
  if (flow->pipe != NULL)
    ks_pump_give_pipe(pump, flow->pipe, flow->held == 0);
  flow->pipe = NULL;
}

/*
 * Of the endpoint's socket, when they begin to matter: without TCP_NODELAY a second small segment waits
 * for the answer to the first (the client's inherits it from its listener). Most short connections have
 * ended by then, with three system calls less. That keep-alive counts from the last segment, whenever it
 * is set, is the kernel's rule. Failure: it works without them.
 */
static void set_options(struct ks_connection *connection) {
  const char *step;
  if (connection->has_options)
    return;
  connection->has_options = true;
  ks_sock_keep_alive(connection->sides[1].fd, &step);
}

/* What the target did not take is kept until it does. */
static bool keep_rest(struct ks_pump *pump, struct ks_flow *flow, size_t length, size_t sent) {
  flow->rest = malloc(length - sent);
  if (flow->rest == NULL)
    return false;
  memcpy(flow->rest, pump->buffer + sent, length - sent);
  flow->rest_at = 0;
  flow->held = (uint32_t)(length - sent);
  return true;
}

/* One recv and one send. Returns the bytes received. */
static size_t copy(struct ks_pump *pump, struct ks_connection *connection, int from,
                   enum result *result) {
  struct ks_side *source = &connection->sides[from], *target = &connection->sides[1 - from];
  struct ks_flow *flow = &connection->flows[from];
  const ssize_t length = recv(source->fd, pump->buffer, KS_PUMP_COPY_BYTES, MSG_DONTWAIT);
  if (length < 0 && !is_busy(errno))
    *result = SOURCE_FAILED;
  if (length <= 0) {
    source->can_read = length < 0 && errno == EINTR;
    flow->has_ended = length == 0;
    return 0;
  }
  const size_t received = (size_t)length;
  /* A short read is the last one, unless the end is behind it (epoll(7), question 9). */
  if (received < KS_PUMP_COPY_BYTES)
    source->can_read = source->has_hung_up;
  else
    flow->is_bulk = pump->options.uses_splice;
  if (from == 0 && flow->bytes > 0)
    set_options(connection);
  flow->bytes += received;
  ks_pump_add(pump, KS_PUMP_BYTES_COPIED, length);
  ssize_t sent = send(target->fd, pump->buffer, received, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && !is_busy(errno)) {
    *result = TARGET_FAILED;
    return received;
  }
  if (sent < length) {
    target->can_write = sent < 0 && errno == EINTR;
    if (!keep_rest(pump, flow, received, sent < 0 ? 0 : (size_t)sent))
      *result = TARGET_FAILED;
  }
  return received;
}

/* From the source into the pipe, which is empty. Returns the bytes moved. */
static size_t splice_in(struct ks_pump *pump, struct ks_connection *connection, int from,
                        enum result *result) {
  struct ks_side *source = &connection->sides[from];
  struct ks_flow *flow = &connection->flows[from];
  const ssize_t length = splice(source->fd, NULL, flow->pipe->write_fd, NULL, flow->pipe->capacity,
                                SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (length > 0) {
    set_options(connection);
    flow->held = (uint32_t)length;
    flow->bytes += (uint64_t)length;
    flow->is_bulk = length >= BULK_BYTES;
    ks_pump_add(pump, KS_PUMP_BYTES_SPLICED, length);
    return (size_t)length;
  }
  if (length == 0) {
    flow->has_ended = true;
    source->can_read = false;
  } else if (errno == EINVAL) {
    /* This kind of socket cannot: copied from here on. */
    pump->options.uses_splice = flow->is_bulk = false;
  } else if (!is_busy(errno)) {
    *result = SOURCE_FAILED;
  } else {
    source->can_read = errno == EINTR;
  }
  return 0;
}

static size_t fetch(struct ks_pump *pump, struct ks_connection *connection, int from,
                    enum result *result) {
  struct ks_flow *flow = &connection->flows[from];
  if (flow->is_bulk && flow->pipe == NULL)
    flow->pipe = ks_pump_take_pipe(pump);
  if (flow->is_bulk && flow->pipe != NULL)
    return splice_in(pump, connection, from, result);
  return copy(pump, connection, from, result);
}

/* Sends what the flow holds. */
static enum result deliver(struct ks_connection *connection, int from) {
  struct ks_side *target = &connection->sides[1 - from];
  struct ks_flow *flow = &connection->flows[from];
  const ssize_t sent = flow->rest != NULL
                           ? send(target->fd, flow->rest + flow->rest_at, flow->held,
                                  MSG_DONTWAIT | MSG_NOSIGNAL)
                           : splice(flow->pipe->read_fd, NULL, target->fd, NULL, flow->held,
                                    SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (sent <= 0) {
    /* The pipe is not empty, so EAGAIN speaks of the target; 0 bytes are no progress either. */
    if (sent < 0 && errno == EINTR)
      return MOVED_ALL;
    target->can_write = false;
    return sent < 0 && errno != EAGAIN ? TARGET_FAILED : MOVED_ALL;
  }
  flow->held -= (uint32_t)sent;
  flow->rest_at += (uint32_t)sent;
  if (flow->held == 0) {
    free(flow->rest);
    flow->rest = NULL;
  }
  return MOVED_ALL;
}

/* All was delivered and no more comes. The last of two ends is passed on by close. */
static enum result pass_end(struct ks_pump *pump, struct ks_connection *connection, int from) {
  struct ks_flow *flow = &connection->flows[from];
  if (flow->is_passed)
    return MOVED_ALL;
  flow->is_passed = true;
  if (connection->flows[1 - from].is_passed)
    return MOVED_ALL;
  if (shutdown(connection->sides[1 - from].fd, SHUT_WR) < 0)
    return TARGET_FAILED;
  connection->active_ms = pump->now_ms;
  ks_wheel_set(&pump->idles, &connection->timer, pump->now_ms + pump->half_closed_ms);
  return MOVED_ALL;
}

static enum result move(struct ks_pump *pump, struct ks_connection *connection, int from) {
  struct ks_side *source = &connection->sides[from], *target = &connection->sides[1 - from];
  struct ks_flow *flow = &connection->flows[from];
  const uint64_t before = flow->bytes;
  enum result result = MOVED_ALL;
  while (result == MOVED_ALL) {
    if (flow->held > 0) {
      if (!target->can_write)
        break;
      result = deliver(connection, from);
    } else if (flow->has_ended) {
      result = pass_end(pump, connection, from);
      break;
    } else if (!source->can_read) {
      break;
    } else if (flow->bytes - before >= TURN_BYTES) {
      result = HAS_MORE;
    } else {
      fetch(pump, connection, from, &result);
    }
  }
  if (flow->held == 0)
    give_pipe(pump, flow);
  if (flow->bytes != before)
    connection->active_ms = pump->now_ms;
  return result;
}

/* Whether the endpoint answers, for who wants to know: without it this is one look at a flag. */
static void watch_first_byte(struct ks_pump *pump, struct ks_connection *connection) {
  if (!connection->awaits_byte)
    return;
  if (connection->flows[1].bytes > 0) {
    connection->awaits_byte = false;
    ks_wheel_cancel(&pump->first_bytes, &connection->first_byte);
    ks_pump_publish(pump, connection, KS_PUMP_SPOKE, false);
  } else if (connection->flows[0].bytes > 0 && !connection->is_mute &&
             !ks_timer_is_set(&connection->first_byte)) {
    ks_wheel_set(&pump->first_bytes, &connection->first_byte,
                 pump->now_ms + connection->target.first_byte_ms);
  }
}

void ks_pump_first_byte_timeout(struct ks_pump *pump, struct ks_connection *connection) {
  /* A client that is still sending has no answer to expect: what came last counts. */
  const int64_t due_ms = connection->active_ms + connection->target.first_byte_ms;
  if (due_ms > pump->now_ms) {
    ks_wheel_set(&pump->first_bytes, &connection->first_byte, due_ms);
    return;
  }
  connection->is_mute = true;
  ks_pump_publish(pump, connection, KS_PUMP_MUTE, false);
}

/* The endpoint is gone and the client has seen nothing of it. */
static void give_back(struct ks_pump *pump, struct ks_connection *connection) {
  ks_wheel_cancel(&pump->idles, &connection->timer);
  epoll_ctl(pump->epoll_fd, EPOLL_CTL_DEL, connection->sides[0].fd, NULL);
  close(connection->sides[1].fd);
  connection->sides[1].fd = -1;
  connection->state = KS_CONNECTION_WAITING;
  pump->waiting++;
  ks_pump_publish(pump, connection, KS_PUMP_RETURNED, true);
}

static void fail(struct ks_pump *pump, struct ks_connection *connection, int side) {
  const struct ks_flow *flows = connection->flows;
  const bool is_untouched = flows[0].bytes == 0 && flows[1].bytes == 0 && !flows[0].has_ended;
  if (side == 1 && is_untouched && !flows[1].is_passed) {
    give_back(pump, connection);
    return;
  }
  ks_pump_end(pump, connection, KS_PUMP_CUT);
}

static void again(struct ks_pump *pump, struct ks_connection *connection) {
  if (connection->is_again)
    return;
  connection->is_again = true;
  connection->next_again = pump->first_again;
  pump->first_again = connection;
}

void ks_pump_relay(struct ks_pump *pump, struct ks_connection *connection) {
  for (int from = 0; from < 2; from++) {
    const enum result result = move(pump, connection, from);
    if (result == SOURCE_FAILED) {
      fail(pump, connection, from);
      return;
    }
    if (result == TARGET_FAILED) {
      /* What it had sent before it went away is the other's to have. */
      connection->sides[1 - from].can_read = true;
      move(pump, connection, 1 - from);
      fail(pump, connection, 1 - from);
      return;
    }
    if (result == HAS_MORE)
      again(pump, connection);
  }
  watch_first_byte(pump, connection);
  if (connection->flows[0].is_passed && connection->flows[1].is_passed)
    ks_pump_end(pump, connection, KS_PUMP_ENDED);
}

void ks_pump_idle_timeout(struct ks_pump *pump, struct ks_connection *connection) {
  const struct ks_flow *flows = connection->flows;
  const bool is_half_closed = flows[0].is_passed || flows[1].is_passed;
  const int64_t limit_ms = is_half_closed ? pump->half_closed_ms : pump->idle_ms;
  const int64_t due_ms = connection->active_ms + limit_ms;
  set_options(connection);
  if (due_ms > pump->now_ms)
    ks_wheel_set(&pump->idles, &connection->timer, due_ms);
  else
    ks_pump_end(pump, connection, KS_PUMP_TIMED_OUT);
}

static void close_side(struct ks_side *side, bool is_reset) {
  /* No lingering: what is not sent yet is thrown away and an RST goes out (socket(7)). */
  const struct linger now = {.l_onoff = 1, .l_linger = 0};
  if (side->fd < 0)
    return;
  if (is_reset)
    setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  close(side->fd);
  side->fd = -1;
}

void ks_pump_end(struct ks_pump *pump, struct ks_connection *connection, enum ks_pump_end end) {
  const enum ks_connection_state state = connection->state;
  ks_wheel_cancel(state == KS_CONNECTION_JOINED ? &pump->idles : &pump->connects,
                  &connection->timer);
  ks_wheel_cancel(&pump->first_bytes, &connection->first_byte);
  if (state == KS_CONNECTION_WAITING || state == KS_CONNECTION_SILENT)
    pump->waiting--;
  for (int i = 0; i < 2; i++) {
    close_side(&connection->sides[i], end == KS_PUMP_CUT);
    give_pipe(pump, &connection->flows[i]);
    free(connection->flows[i].rest);
    connection->flows[i].rest = NULL;
    connection->flows[i].held = 0;
  }
  connection->state = KS_CONNECTION_CLOSED;
  connection->end = end;
  ks_pump_add(pump, KS_PUMP_OPEN, -1);
  ks_pump_publish(pump, connection, KS_PUMP_CLOSED, false);
}
