#include "wait.h"

#include <time.h>

#include "../core/wait.h"
#include "value.h"

/* waitReadable(fds, timeoutMs): number - a bit for each descriptor that can be read; blocks. */
static napi_value wait_readable(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *fds = NULL;
  int32_t timeout_ms;
  const char *step = "";
  if (!ks_read_arguments(env, info, 2, arguments))
    return NULL;
  if (napi_get_typedarray_info(env, arguments[0], &type, &length, &fds, NULL, NULL) != napi_ok ||
      type != napi_int32_array || length > KS_WAIT_MAX ||
      napi_get_value_int32(env, arguments[1], &timeout_ms) != napi_ok) {
    ks_throw_argument(env, "fds must be an Int32Array of at most 16, timeoutMs a number");
    return NULL;
  }
  int ready = ks_wait_readable(fds, (uint32_t)length, timeout_ms, &step);
  if (ready < 0)
    ks_throw_errno(env, ready, step);
  else
    napi_create_int32(env, ready, &result);
  return result;
}

/* readClock(into) - the time of CLOCK_MONOTONIC, in milliseconds, into the first place. */
static napi_value read_clock(napi_env env, napi_callback_info info) {
  napi_value argument;
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *into = NULL;
  struct timespec now;
  if (!ks_read_arguments(env, info, 1, &argument))
    return NULL;
  if (napi_get_typedarray_info(env, argument, &type, &length, &into, NULL, NULL) != napi_ok ||
      type != napi_float64_array || length == 0) {
    ks_throw_argument(env, "into must be a Float64Array with a place");
    return NULL;
  }
  clock_gettime(CLOCK_MONOTONIC, &now);
  *(double *)into = (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
  return NULL;
}

/* openEvent(): number - a descriptor that signalEvent makes readable and clearEvent unreadable. */
static napi_value open_event(napi_env env, napi_callback_info info) {
  napi_value result = NULL;
  const char *step = "";
  (void)info;
  int fd = ks_event_open(&step);
  if (fd < 0)
    ks_throw_errno(env, fd, step);
  else
    napi_create_int32(env, fd, &result);
  return result;
}

static napi_value on_event(napi_env env, napi_callback_info info,
                           int (*action)(int, const char **)) {
  napi_value argument;
  const char *step = "";
  int fd;
  if (!ks_read_arguments(env, info, 1, &argument) || !ks_read_fd(env, argument, &fd))
    return NULL;
  int error = action(fd, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

/* signalEvent(fd) */
static napi_value signal_event(napi_env env, napi_callback_info info) {
  return on_event(env, info, ks_event_signal);
}

/* clearEvent(fd) */
static napi_value clear_event(napi_env env, napi_callback_info info) {
  return on_event(env, info, ks_event_clear);
}

napi_status ks_binding_wait(napi_env env, napi_value exports) {
  const napi_property_attributes attributes = napi_enumerable;
  const napi_property_descriptor calls[] = {
      {"waitReadable", NULL, wait_readable, NULL, NULL, NULL, attributes, NULL},
      {"readClock", NULL, read_clock, NULL, NULL, NULL, attributes, NULL},
      {"openEvent", NULL, open_event, NULL, NULL, NULL, attributes, NULL},
      {"signalEvent", NULL, signal_event, NULL, NULL, NULL, attributes, NULL},
      {"clearEvent", NULL, clear_event, NULL, NULL, NULL, attributes, NULL},
  };
  return napi_define_properties(env, exports, sizeof(calls) / sizeof(calls[0]), calls);
}
