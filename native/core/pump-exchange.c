/*
 * Records to the holder and its verdicts back. Both are lists of connections, each in one at most
 * once, so neither can overflow.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pump-state.h"
#include "wait.h"

/*
 * What needs no verdict is told with the next that does, or after this. The order is kept, so a pick
 * always knows of all that ended before its connection came.
 */
enum { LAZY_MS = 5 };

static struct ks_connection *at_slot(const struct ks_pump *pump, uint32_t slot) {
  return &pump->chunks[slot / KS_PUMP_CHUNK][slot % KS_PUMP_CHUNK];
}

static void grow(struct ks_pump *pump) {
  if (pump->slots + KS_PUMP_CHUNK > pump->options.max_connections)
    return;
  struct ks_connection *chunk = calloc(KS_PUMP_CHUNK, sizeof(*chunk));
  if (chunk == NULL)
    return;
  pump->chunks[pump->slots / KS_PUMP_CHUNK] = chunk;
  for (uint32_t i = KS_PUMP_CHUNK; i-- > 0;) {
    chunk[i].slot = pump->slots + i;
    chunk[i].next_event = pump->first_free;
    pump->first_free = &chunk[i];
  }
  pump->slots += KS_PUMP_CHUNK;
}

struct ks_connection *ks_pump_take_slot(struct ks_pump *pump) {
  pthread_mutex_lock(&pump->lock);
  if (pump->first_free == NULL)
    grow(pump);
  struct ks_connection *connection = pump->first_free;
  if (connection != NULL) {
    pump->first_free = connection->next_event;
    connection->next_event = NULL;
  }
  pthread_mutex_unlock(&pump->lock);
  return connection;
}

/* Under the lock. */
static void release(struct ks_pump *pump, struct ks_connection *connection) {
  connection->is_released = false;
  connection->next_event = pump->first_free;
  pump->first_free = connection;
}

void ks_pump_publish(struct ks_pump *pump, struct ks_connection *connection,
                     enum ks_pump_event event, bool must_wake) {
  pthread_mutex_lock(&pump->lock);
  if (connection->events == 0) {
    connection->next_event = NULL;
    if (pump->first_event == NULL)
      pump->first_event = connection;
    else
      pump->last_event->next_event = connection;
    pump->last_event = connection;
  }
  connection->events |= event;
  pthread_mutex_unlock(&pump->lock);
  if (must_wake)
    pump->must_tell = true;
  else if (pump->tell_at_ms == 0)
    pump->tell_at_ms = pump->now_ms + LAZY_MS;
}

void ks_pump_tell(struct ks_pump *pump) {
  if (!pump->must_tell && (pump->tell_at_ms == 0 || pump->tell_at_ms > pump->now_ms))
    return;
  pump->must_tell = false;
  pump->tell_at_ms = 0;
  pthread_mutex_lock(&pump->lock);
  const bool must_call = pump->first_event != NULL && !pump->is_told;
  pump->is_told |= must_call;
  pthread_mutex_unlock(&pump->lock);
  if (!must_call)
    return;
  ks_pump_add(pump, KS_PUMP_HAND_OVERS, 1);
  pump->options.on_events(pump->options.user);
}

static void put_address(uint32_t *words, const struct ks_address *address) {
  memcpy(words, address->address, sizeof(address->address));
}

static void write_record(const struct ks_connection *connection, uint32_t *record) {
  memset(record, 0, KS_PUMP_RECORD_WORDS * sizeof(*record));
  record[KS_PUMP_SLOT] = connection->slot;
  record[KS_PUMP_EVENTS] = connection->events;
  record[KS_PUMP_LISTENER] = connection->listener;
  record[KS_PUMP_FAMILY] = connection->client.family;
  put_address(&record[KS_PUMP_CLIENT], &connection->client);
  record[KS_PUMP_CLIENT_PORT] = connection->client.port;
  record[KS_PUMP_IS_PICKED] = connection->is_picked;
  record[KS_PUMP_HAS_DESTINATION] = connection->has_destination;
  if (connection->has_destination) {
    put_address(&record[KS_PUMP_DESTINATION], &connection->destination);
    record[KS_PUMP_DESTINATION_PORT] = connection->destination.port;
  }
  if (connection->events & KS_PUMP_FAILED)
    record[KS_PUMP_ERRNO] = (uint32_t)connection->error;
  if (connection->events & KS_PUMP_CONNECTED)
    record[KS_PUMP_CONNECT_MICROS] = connection->connect_us;
  /* Only now: while it is open they change. */
  if (connection->events & KS_PUMP_CLOSED) {
    record[KS_PUMP_END] = connection->end;
    for (int i = 0; i < 2; i++) {
      record[KS_PUMP_BYTES_UP + 2 * i] = (uint32_t)connection->flows[i].bytes;
      record[KS_PUMP_BYTES_UP + 2 * i + 1] = (uint32_t)(connection->flows[i].bytes >> 32);
    }
  }
}

uint32_t ks_pump_receive(struct ks_pump *pump, uint32_t *records, uint32_t capacity) {
  uint32_t count = 0;
  pthread_mutex_lock(&pump->lock);
  while (count < capacity && pump->first_event != NULL) {
    struct ks_connection *connection = pump->first_event;
    pump->first_event = connection->next_event;
    write_record(connection, records + (size_t)count++ * KS_PUMP_RECORD_WORDS);
    const bool is_closed = (connection->events & KS_PUMP_CLOSED) != 0;
    connection->events = 0;
    if (is_closed && connection->verdict != 0)
      connection->is_released = true;
    else if (is_closed)
      release(pump, connection);
  }
  if (pump->first_event == NULL)
    pump->is_told = false;
  pthread_mutex_unlock(&pump->lock);
  return count;
}

static bool is_family(uint32_t family) {
  return family == KS_IPV4 || family == KS_IPV6;
}

bool ks_pump_is_connect(const uint32_t *words) {
  return words[KS_PUMP_VERDICT] == KS_PUMP_CONNECT && is_family(words[KS_PUMP_TO_FAMILY]) &&
         words[KS_PUMP_TO_PORT] <= UINT16_MAX;
}

static bool is_verdict(const struct ks_pump *pump, const uint32_t *words) {
  if (words[KS_PUMP_TO_SLOT] >= pump->slots)
    return false;
  if (words[KS_PUMP_VERDICT] == KS_PUMP_RESET || words[KS_PUMP_VERDICT] == KS_PUMP_WAIT)
    return true;
  return ks_pump_is_connect(words);
}

void ks_pump_read_target(const uint32_t *words, struct ks_target *target) {
  target->to.family = target->source.family =
      words[KS_PUMP_TO_FAMILY] == KS_IPV6 ? KS_IPV6 : KS_IPV4;
  memcpy(target->to.address, &words[KS_PUMP_TO], sizeof(target->to.address));
  memcpy(target->source.address, &words[KS_PUMP_SOURCE], sizeof(target->source.address));
  target->to.port = (uint16_t)words[KS_PUMP_TO_PORT];
  target->source.port = 0;
  target->has_source = words[KS_PUMP_HAS_SOURCE] != 0;
  target->timeout_ms = words[KS_PUMP_TIMEOUT_MS];
  target->patience_ms = words[KS_PUMP_PATIENCE_MS];
  target->first_byte_ms = words[KS_PUMP_FIRST_BYTE_MS];
}

static void take_verdict(struct ks_pump *pump, const uint32_t *words) {
  struct ks_connection *connection = at_slot(pump, words[KS_PUMP_TO_SLOT]);
  const bool is_first = connection->verdict == 0;
  if (connection->verdict == KS_PUMP_RESET)
    return; /* Nothing takes that back. */
  connection->verdict = words[KS_PUMP_VERDICT];
  if (connection->verdict == KS_PUMP_CONNECT)
    ks_pump_read_target(words, &connection->target);
  if (!is_first)
    return;
  connection->next_command = NULL;
  if (pump->first_command == NULL)
    pump->first_command = connection;
  else
    pump->last_command->next_command = connection;
  pump->last_command = connection;
}

int ks_pump_answer(struct ks_pump *pump, const uint32_t *verdicts, uint32_t count,
                   const char **step) {
  int error = 0;
  pthread_mutex_lock(&pump->lock);
  for (uint32_t i = 0; i < count && !error; i++)
    if (!is_verdict(pump, verdicts + (size_t)i * KS_PUMP_VERDICT_WORDS))
      error = -EINVAL;
  for (uint32_t i = 0; i < count && !error; i++)
    take_verdict(pump, verdicts + (size_t)i * KS_PUMP_VERDICT_WORDS);
  const bool must_wake = pump->is_sleeping && pump->first_command != NULL;
  if (must_wake)
    pump->is_sleeping = false;
  pthread_mutex_unlock(&pump->lock);
  *step = "answer";
  return !error && must_wake ? ks_event_signal(pump->event_fd, step) : error;
}

struct ks_connection *ks_pump_next_verdict(struct ks_pump *pump, uint32_t *verdict) {
  struct ks_connection *connection;
  pthread_mutex_lock(&pump->lock);
  while ((connection = pump->first_command) != NULL) {
    pump->first_command = connection->next_command;
    *verdict = connection->verdict;
    connection->verdict = 0;
    if (!connection->is_released)
      break;
    release(pump, connection);
  }
  pthread_mutex_unlock(&pump->lock);
  return connection;
}

bool ks_pump_falls_asleep(struct ks_pump *pump) {
  pthread_mutex_lock(&pump->lock);
  pump->is_sleeping = pump->first_command == NULL;
  const bool is_sleeping = pump->is_sleeping;
  pthread_mutex_unlock(&pump->lock);
  return is_sleeping;
}

void ks_pump_wakes_up(struct ks_pump *pump) {
  pthread_mutex_lock(&pump->lock);
  pump->is_sleeping = false;
  pthread_mutex_unlock(&pump->lock);
}
