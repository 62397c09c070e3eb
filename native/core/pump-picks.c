/*
 * Verdicts given ahead: where it does not matter which client comes, the holder has said beforehand
 * where the next ones go, and no connection waits for it to be woken.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pump-state.h"

/* Below this the holder is asked for more. */
enum { LOW_SHARE = 2 };

bool ks_pump_take_pick(struct ks_listener *listener, struct ks_target *target, bool *is_low) {
  if (listener->pick_count == 0)
    return false;
  *target = listener->picks[listener->first_pick++];
  *is_low = --listener->pick_count <= listener->low_picks;
  return true;
}

void ks_pump_drop_picks(struct ks_listener *listener) {
  free(listener->picks);
  listener->picks = NULL;
  listener->pick_count = listener->first_pick = 0;
}

static bool are_picks(const uint32_t *verdicts, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!ks_pump_is_connect(verdicts + (size_t)i * KS_PUMP_VERDICT_WORDS))
      return false;
  return true;
}

/* An array as long as they are: there may be thousands of listeners. */
static int add(struct ks_listener *listener, const uint32_t *verdicts, uint32_t count) {
  const uint32_t left = listener->pick_count;
  struct ks_target *picks = malloc(((size_t)left + count) * sizeof(*picks));
  if (picks == NULL)
    return -ENOMEM;
  if (left > 0)
    memcpy(picks, listener->picks + listener->first_pick, left * sizeof(*picks));
  for (uint32_t i = 0; i < count; i++)
    ks_pump_read_target(verdicts + (size_t)i * KS_PUMP_VERDICT_WORDS, &picks[left + i]);
  ks_pump_drop_picks(listener);
  listener->picks = picks;
  listener->pick_count = left + count;
  listener->low_picks = listener->pick_count / LOW_SHARE;
  return 0;
}

int ks_pump_pick(struct ks_pump *pump, uint32_t number, const uint32_t *verdicts, uint32_t count,
                 const char **step) {
  int error = 0;
  *step = "pick";
  pthread_mutex_lock(&pump->listener_lock);
  struct ks_listener *listener = ks_pump_listener(pump, number);
  if (listener == NULL)
    error = -EBADF;
  else if (count > KS_PUMP_MAX_PICKS - listener->pick_count || !are_picks(verdicts, count))
    error = -EINVAL;
  else if (count > 0)
    error = add(listener, verdicts, count);
  pthread_mutex_unlock(&pump->listener_lock);
  return error;
}

uint32_t ks_pump_unpick(struct ks_pump *pump, uint32_t number) {
  pthread_mutex_lock(&pump->listener_lock);
  struct ks_listener *listener = ks_pump_listener(pump, number);
  const uint32_t count = listener == NULL ? 0 : listener->pick_count;
  if (listener != NULL)
    ks_pump_drop_picks(listener);
  pthread_mutex_unlock(&pump->listener_lock);
  return count;
}
