/*
 * Records to the holder of the datagram relay and its verdicts back. Both are lists of sessions, each in
 * one at most once, so neither can overflow. See udp.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "udp-state.h"
#include "wait.h"

/*
 * What needs no verdict is told with the next that does, or after this: what changes who is picked,
 * and that an endpoint goes on answering.
 */
enum { SOON_MS = 5, SOME_TIME_MS = 250 };

static void grow(struct ks_udp *udp) {
  if (udp->slots + KS_UDP_CHUNK > udp->max_slots)
    return;
  struct ks_session *chunk = calloc(KS_UDP_CHUNK, sizeof(*chunk));
  if (chunk == NULL)
    return;
  udp->chunks[udp->slots / KS_UDP_CHUNK] = chunk;
  for (uint32_t i = KS_UDP_CHUNK; i-- > 0;) {
    chunk[i].slot = udp->slots + i;
    chunk[i].fd = -1;
    chunk[i].next_event = udp->first_free;
    udp->first_free = &chunk[i];
  }
  udp->slots += KS_UDP_CHUNK;
}

struct ks_session *ks_udp_take_slot(struct ks_udp *udp) {
  pthread_mutex_lock(&udp->lock);
  if (udp->first_free == NULL)
    grow(udp);
  struct ks_session *session = udp->first_free;
  if (session != NULL) {
    udp->first_free = session->next_event;
    session->attempt = session->refused_attempt = session->latency_us = 0;
    session->error = 0;
  }
  pthread_mutex_unlock(&udp->lock);
  return session;
}

/* Under the lock. */
static void release(struct ks_udp *udp, struct ks_session *session) {
  session->is_released = false;
  session->next_event = udp->first_free;
  udp->first_free = session;
}

/* Under the lock. */
static void add_events(struct ks_udp *udp, struct ks_session *session, uint32_t events) {
  if (session->events == 0) {
    session->next_event = NULL;
    if (udp->first_event == NULL)
      udp->first_event = session;
    else
      udp->last_event->next_event = session;
    udp->last_event = session;
  }
  session->events |= events;
}

static void tell_within(struct ks_udp *udp, int64_t ms) {
  if (udp->tell_at_ms == 0 || udp->tell_at_ms > udp->now_ms + ms)
    udp->tell_at_ms = udp->now_ms + ms;
}

void ks_udp_publish(struct ks_udp *udp, struct ks_session *session, uint32_t events,
                    enum ks_udp_urgency urgency) {
  pthread_mutex_lock(&udp->lock);
  add_events(udp, session, events);
  pthread_mutex_unlock(&udp->lock);
  if (urgency == KS_UDP_NOW)
    udp->must_tell = true;
  else
    tell_within(udp, urgency == KS_UDP_SOON ? SOON_MS : SOME_TIME_MS);
}

void ks_udp_publish_connected(struct ks_udp *udp, struct ks_session *session, uint32_t attempt) {
  pthread_mutex_lock(&udp->lock);
  add_events(udp, session, KS_UDP_CONNECTED);
  session->events &= ~(uint32_t)(KS_UDP_ANSWERED | KS_UDP_SILENT);
  session->attempt = attempt;
  session->latency_us = 0;
  pthread_mutex_unlock(&udp->lock);
  tell_within(udp, SOON_MS);
}

void ks_udp_tell(struct ks_udp *udp) {
  if (!udp->must_tell && (udp->tell_at_ms == 0 || udp->tell_at_ms > udp->now_ms))
    return;
  udp->must_tell = false;
  udp->tell_at_ms = 0;
  pthread_mutex_lock(&udp->lock);
  const bool must_call = udp->first_event != NULL && !udp->is_told;
  udp->is_told |= must_call;
  pthread_mutex_unlock(&udp->lock);
  if (must_call)
    udp->options.on_events(udp->options.user);
}

static void put_client(uint32_t *record, const union ks_udp_name *client) {
  if (client->any.sa_family == AF_INET) {
    record[KS_UDP_FAMILY] = KS_IPV4;
    memcpy(&record[KS_UDP_CLIENT], &client->v4.sin_addr, sizeof(client->v4.sin_addr));
    record[KS_UDP_CLIENT_PORT] = ntohs(client->v4.sin_port);
  } else {
    record[KS_UDP_FAMILY] = KS_IPV6;
    memcpy(&record[KS_UDP_CLIENT], &client->v6.sin6_addr, sizeof(client->v6.sin6_addr));
    record[KS_UDP_CLIENT_PORT] = ntohs(client->v6.sin6_port);
  }
}

static void put_long(uint32_t *words, uint64_t value) {
  words[0] = (uint32_t)value;
  words[1] = (uint32_t)(value >> 32);
}

static void write_record(struct ks_session *session, uint32_t *record) {
  memset(record, 0, KS_UDP_RECORD_WORDS * sizeof(*record));
  record[KS_UDP_SLOT] = session->slot;
  record[KS_UDP_EVENTS] = session->events;
  record[KS_UDP_ATTEMPT] = session->attempt;
  record[KS_UDP_REFUSED_ATTEMPT] = session->refused_attempt;
  if (session->events & KS_UDP_NEW) {
    record[KS_UDP_LISTENER] = session->listener->number;
    put_client(record, &session->client);
  }
  if (session->events & KS_UDP_ANSWERED) {
    record[KS_UDP_LATENCY_MICROS] = session->latency_us;
    session->latency_us = 0;
  }
  /* Only now: while it is open they change. */
  if (session->events & KS_UDP_CLOSED) {
    record[KS_UDP_END] = session->end;
    record[KS_UDP_ERRNO] = (uint32_t)session->error;
    record[KS_UDP_HAS_REPLY] = session->has_reply;
    put_long(&record[KS_UDP_BYTES_UP], session->bytes_up);
    put_long(&record[KS_UDP_BYTES_DOWN], session->bytes_down);
  }
}

uint32_t ks_udp_receive(struct ks_udp *udp, uint32_t *records, uint32_t capacity) {
  uint32_t count = 0;
  pthread_mutex_lock(&udp->lock);
  while (count < capacity && udp->first_event != NULL) {
    struct ks_session *session = udp->first_event;
    udp->first_event = session->next_event;
    write_record(session, records + (size_t)count++ * KS_UDP_RECORD_WORDS);
    const bool is_closed = (session->events & KS_UDP_CLOSED) != 0;
    session->events = 0;
    if (is_closed && session->verdict != 0)
      session->is_released = true;
    else if (is_closed)
      release(udp, session);
  }
  if (udp->first_event == NULL)
    udp->is_told = false;
  pthread_mutex_unlock(&udp->lock);
  return count;
}

static bool is_verdict(const struct ks_udp *udp, const uint32_t *words) {
  if (words[KS_UDP_TO_SLOT] >= udp->slots)
    return false;
  if (words[KS_UDP_VERDICT] == KS_UDP_STOP)
    return true;
  const uint32_t family = words[KS_UDP_TO_FAMILY];
  return words[KS_UDP_VERDICT] == KS_UDP_CONNECT && (family == KS_IPV4 || family == KS_IPV6) &&
         words[KS_UDP_TO_PORT] <= UINT16_MAX;
}

static void take_verdict(struct ks_udp *udp, const uint32_t *words) {
  struct ks_session *session = ks_udp_at_slot(udp, words[KS_UDP_TO_SLOT]);
  const bool is_first = session->verdict == 0;
  if (session->verdict == KS_UDP_STOP)
    return; /* Nothing takes that back. */
  session->verdict = words[KS_UDP_VERDICT];
  if (session->verdict == KS_UDP_CONNECT) {
    struct ks_udp_order *order = &session->order;
    order->attempt = words[KS_UDP_TO_ATTEMPT];
    order->has_source = words[KS_UDP_HAS_SOURCE] != 0;
    order->to.family = order->source.family =
        words[KS_UDP_TO_FAMILY] == KS_IPV6 ? KS_IPV6 : KS_IPV4;
    memcpy(order->to.address, &words[KS_UDP_TO], sizeof(order->to.address));
    memcpy(order->source.address, &words[KS_UDP_SOURCE], sizeof(order->source.address));
    order->to.port = (uint16_t)words[KS_UDP_TO_PORT];
    order->source.port = 0;
  }
  if (!is_first)
    return;
  session->next_command = NULL;
  if (udp->first_command == NULL)
    udp->first_command = session;
  else
    udp->last_command->next_command = session;
  udp->last_command = session;
}

int ks_udp_answer(struct ks_udp *udp, const uint32_t *verdicts, uint32_t count,
                  const char **step) {
  int error = 0;
  pthread_mutex_lock(&udp->lock);
  for (uint32_t i = 0; i < count && !error; i++)
    if (!is_verdict(udp, verdicts + (size_t)i * KS_UDP_VERDICT_WORDS))
      error = -EINVAL;
  for (uint32_t i = 0; i < count && !error; i++)
    take_verdict(udp, verdicts + (size_t)i * KS_UDP_VERDICT_WORDS);
  const bool must_wake = udp->is_sleeping && udp->first_command != NULL;
  if (must_wake)
    udp->is_sleeping = false;
  pthread_mutex_unlock(&udp->lock);
  *step = "answer";
  return !error && must_wake ? ks_event_signal(udp->event_fd, step) : error;
}

struct ks_session *ks_udp_next_verdict(struct ks_udp *udp, uint32_t *verdict,
                                       struct ks_udp_order *order) {
  struct ks_session *session;
  pthread_mutex_lock(&udp->lock);
  while ((session = udp->first_command) != NULL) {
    udp->first_command = session->next_command;
    *verdict = session->verdict;
    *order = session->order;
    session->verdict = 0;
    if (!session->is_released)
      break;
    release(udp, session);
  }
  pthread_mutex_unlock(&udp->lock);
  return session;
}

bool ks_udp_falls_asleep(struct ks_udp *udp) {
  pthread_mutex_lock(&udp->lock);
  udp->is_sleeping = udp->first_command == NULL && udp->closing == NULL;
  const bool is_sleeping = udp->is_sleeping;
  pthread_mutex_unlock(&udp->lock);
  return is_sleeping;
}

void ks_udp_wakes_up(struct ks_udp *udp) {
  pthread_mutex_lock(&udp->lock);
  udp->is_sleeping = false;
  pthread_mutex_unlock(&udp->lock);
}
