/*
 * Timers of many connections: set and cancelled in constant time, exact to one step. A timer is
 * part of what it times; nothing is allocated. One thread.
 */
#ifndef KS_WHEEL_H
#define KS_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

enum { KS_WHEEL_BUCKETS = 256 };

/* All zero: not set. */
struct ks_timer {
  struct ks_timer *next, *previous; /* in its bucket; NULL when it is not set */
  int64_t due_ms;
};

struct ks_wheel {
  int64_t step_ms;
  int64_t tick;    /* all before it have been looked at */
  int64_t soonest; /* no timer stands in a bucket before it */
  uint32_t count;
  struct ks_timer buckets[KS_WHEEL_BUCKETS]; /* each the head of a ring */
};

void ks_wheel_init(struct ks_wheel *wheel, int64_t step_ms, int64_t now_ms);

/* Sets a timer, or sets it anew. */
void ks_wheel_set(struct ks_wheel *wheel, struct ks_timer *timer, int64_t due_ms);

/* One that is not set is fine. */
void ks_wheel_cancel(struct ks_wheel *wheel, struct ks_timer *timer);

bool ks_timer_is_set(const struct ks_timer *timer);

/* When to come back, in ms from `now_ms`; -1 when no timer is set. Never later than the first is due. */
int64_t ks_wheel_wait(struct ks_wheel *wheel, int64_t now_ms);

/* Takes out one timer that is due, at most a step after it was; NULL when there is none left. */
struct ks_timer *ks_wheel_expired(struct ks_wheel *wheel, int64_t now_ms);

#endif
