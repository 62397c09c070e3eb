/* Unit test of core/wheel.c. */
#include "../core/wheel.h"

#include "check.h"

static void a_timer_expires_once_at_most_a_step_late(void) {
  struct ks_wheel wheel;
  struct ks_timer timer = {0};
  ks_wheel_init(&wheel, 4, 1000);
  CHECK(ks_wheel_wait(&wheel, 1000) == -1);
  CHECK(!ks_timer_is_set(&timer));
  ks_wheel_set(&wheel, &timer, 1010);
  CHECK(ks_timer_is_set(&timer));
  for (int64_t now = 1000; now <= 1010; now++)
    CHECK(ks_wheel_expired(&wheel, now) == NULL);
  const int64_t wait = ks_wheel_wait(&wheel, 1010);
  CHECK(wait >= 0 && wait <= 4);
  CHECK(ks_wheel_expired(&wheel, 1014) == &timer);
  CHECK(!ks_timer_is_set(&timer));
  CHECK(ks_wheel_expired(&wheel, 5000) == NULL);
  CHECK(ks_wheel_wait(&wheel, 5000) == -1);
}

static void one_beyond_the_reach_of_the_wheel_is_put_again(void) {
  struct ks_wheel wheel;
  struct ks_timer timer = {0};
  const int64_t due = 1000 + 10 * 4 * KS_WHEEL_BUCKETS + 3;
  ks_wheel_init(&wheel, 4, 1000);
  ks_wheel_set(&wheel, &timer, due);
  int64_t now = 1000;
  struct ks_timer *expired = NULL;
  for (int looks = 0; expired == NULL && looks < 100; looks++) {
    const int64_t wait = ks_wheel_wait(&wheel, now);
    CHECK(wait >= 0);
    now += wait > 0 ? wait : 1;
    expired = ks_wheel_expired(&wheel, now);
  }
  CHECK(expired == &timer);
  CHECK(now >= due && now <= due + 8);
}

static void a_timer_is_set_anew_and_cancelled(void) {
  struct ks_wheel wheel;
  struct ks_timer timer = {0};
  ks_wheel_init(&wheel, 4, 0);
  ks_wheel_set(&wheel, &timer, 100);
  ks_wheel_set(&wheel, &timer, 200);
  CHECK(wheel.count == 1);
  CHECK(ks_wheel_expired(&wheel, 199) == NULL);
  CHECK(ks_wheel_expired(&wheel, 208) == &timer);
  ks_wheel_set(&wheel, &timer, 300);
  ks_wheel_cancel(&wheel, &timer);
  ks_wheel_cancel(&wheel, &timer);
  CHECK(ks_wheel_expired(&wheel, 1000) == NULL);
  /* Due in the past: at once. */
  ks_wheel_set(&wheel, &timer, 5);
  CHECK(ks_wheel_wait(&wheel, 1004) == 0);
  CHECK(ks_wheel_expired(&wheel, 1004) == &timer);
}

/* Many timers at random times, looked at irregularly: each comes once, in its step, none is early. */
static void none_is_lost_or_early(void) {
  enum { TIMERS = 2000 };
  static struct ks_timer timers[TIMERS];
  struct ks_wheel wheel;
  uint32_t seed = 7;
  int64_t now = 123456, looked = now;
  int left = TIMERS;
  ks_wheel_init(&wheel, 16, now);
  for (int i = 0; i < TIMERS; i++) {
    seed = seed * 1664525u + 1013904223u;
    ks_wheel_set(&wheel, &timers[i], now + (int64_t)(seed >> 8) % 20000);
  }
  for (int look = 0; left > 0 && look < 5000; look++) {
    struct ks_timer *timer;
    seed = seed * 1664525u + 1013904223u;
    now += (int64_t)(seed >> 8) % 200;
    while ((timer = ks_wheel_expired(&wheel, now)) != NULL) {
      CHECK(timer->due_ms <= now);
      CHECK(timer->due_ms > looked - 32);
      left--;
    }
    looked = now;
  }
  CHECK(left == 0 && wheel.count == 0);
}

int main(void) {
  a_timer_expires_once_at_most_a_step_late();
  one_beyond_the_reach_of_the_wheel_is_put_again();
  a_timer_is_set_anew_and_cancelled();
  none_is_lost_or_early();
  return 0;
}
