#include "wheel.h"

#include <stddef.h>

static struct ks_timer *bucket_of(struct ks_wheel *wheel, int64_t tick) {
  return &wheel->buckets[(uint64_t)tick % KS_WHEEL_BUCKETS];
}

void ks_wheel_init(struct ks_wheel *wheel, int64_t step_ms, int64_t now_ms) {
  wheel->step_ms = step_ms;
  wheel->tick = now_ms / step_ms;
  wheel->soonest = wheel->tick;
  wheel->count = 0;
  for (int i = 0; i < KS_WHEEL_BUCKETS; i++) {
    struct ks_timer *head = &wheel->buckets[i];
    head->next = head->previous = head;
  }
}

bool ks_timer_is_set(const struct ks_timer *timer) {
  return timer->next != NULL;
}

void ks_wheel_cancel(struct ks_wheel *wheel, struct ks_timer *timer) {
  if (timer->next == NULL)
    return;
  timer->next->previous = timer->previous;
  timer->previous->next = timer->next;
  timer->next = timer->previous = NULL;
  wheel->count--;
}

/* One further ahead than the wheel reaches waits in the last bucket, and is put again from there. */
static void place(struct ks_wheel *wheel, struct ks_timer *timer, int64_t first) {
  int64_t tick = timer->due_ms / wheel->step_ms + 1;
  const int64_t last = wheel->tick + KS_WHEEL_BUCKETS - 1;
  if (tick < first)
    tick = first;
  if (tick > last)
    tick = last;
  struct ks_timer *head = bucket_of(wheel, tick);
  timer->next = head;
  timer->previous = head->previous;
  head->previous->next = timer;
  head->previous = timer;
  wheel->count++;
  if (tick < wheel->soonest)
    wheel->soonest = tick;
}

void ks_wheel_set(struct ks_wheel *wheel, struct ks_timer *timer, int64_t due_ms) {
  ks_wheel_cancel(wheel, timer);
  timer->due_ms = due_ms;
  place(wheel, timer, wheel->tick);
}

int64_t ks_wheel_wait(struct ks_wheel *wheel, int64_t now_ms) {
  if (wheel->count == 0)
    return -1;
  while (bucket_of(wheel, wheel->soonest)->next == bucket_of(wheel, wheel->soonest))
    wheel->soonest++;
  const int64_t wait = wheel->soonest * wheel->step_ms - now_ms;
  return wait > 0 ? wait : 0;
}

struct ks_timer *ks_wheel_expired(struct ks_wheel *wheel, int64_t now_ms) {
  const int64_t now = now_ms / wheel->step_ms;
  if (wheel->count == 0) {
    /* Nothing can be missed: go there at once, however long nobody looked. */
    wheel->tick = wheel->soonest = now > wheel->tick ? now : wheel->tick;
    return NULL;
  }
  while (wheel->tick <= now) {
    struct ks_timer *head = bucket_of(wheel, wheel->tick);
    while (head->next != head) {
      struct ks_timer *timer = head->next;
      ks_wheel_cancel(wheel, timer);
      if (timer->due_ms <= now_ms)
        return timer;
      /* Due later: its place is in a bucket ahead, never in this one. */
      place(wheel, timer, wheel->tick + 1);
    }
    wheel->tick++;
    if (wheel->soonest < wheel->tick)
      wheel->soonest = wheel->tick;
  }
  return NULL;
}
