#include "pump.h"

#include <errno.h>
#include <stdlib.h>

#include "../core/pump.h"
#include "value.h"

/*
 * What JavaScript holds. The thread calls through `wake`; an environment that ends (a worker, the
 * process) stops the thread by its cleanup hook, whoever holds what.
 */
struct handle {
  struct ks_pump *pump; /* NULL once it is closed */
  napi_threadsafe_function wake;
};

static const napi_type_tag PUMP_TAG = {0x6b75626573c10002u, 0x70756d70746370u};

/* By the pump's thread. A full queue of calls would mean that one is under way already. */
static void on_events(void *user) {
  struct handle *handle = user;
  napi_call_threadsafe_function(handle->wake, NULL, napi_tsfn_nonblocking);
}

static void stop(struct handle *handle) {
  if (handle->pump == NULL)
    return;
  ks_pump_close(handle->pump);
  handle->pump = NULL;
  napi_release_threadsafe_function(handle->wake, napi_tsfn_abort);
}

static void stop_at_exit(void *data) {
  stop(data);
}

static void finalize(napi_env env, void *data, void *hint) {
  struct handle *handle = data;
  (void)hint;
  napi_remove_env_cleanup_hook(env, stop_at_exit, handle);
  stop(handle);
  free(handle);
}

static bool read_handle(napi_env env, napi_value value, struct handle **handle) {
  bool is_pump = false;
  void *data = NULL;
  if (napi_check_object_type_tag(env, value, &PUMP_TAG, &is_pump) != napi_ok || !is_pump ||
      napi_get_value_external(env, value, &data) != napi_ok)
    return ks_throw_argument(env, "not a pump");
  *handle = data;
  return true;
}

static bool read_pump(napi_env env, napi_value value, struct ks_pump **pump) {
  struct handle *handle;
  if (!read_handle(env, value, &handle))
    return false;
  if (handle->pump == NULL)
    return ks_throw_argument(env, "the pump is closed");
  *pump = handle->pump;
  return true;
}

static bool read_options(napi_env env, napi_value object, struct ks_pump_options *options) {
  *options = (struct ks_pump_options){.uses_splice = true};
  return ks_read_bool_property(env, object, "splice", &options->uses_splice) &&
         ks_read_uint32_property(env, object, "maxPipes", &options->max_pipes) &&
         ks_read_uint32_property(env, object, "maxConnections", &options->max_connections) &&
         ks_read_uint32_property(env, object, "maxWaiting", &options->max_waiting);
}

static napi_status create_wake(napi_env env, napi_value callback, napi_threadsafe_function *wake) {
  napi_value name;
  napi_status status = napi_create_string_utf8(env, "pump", NAPI_AUTO_LENGTH, &name);
  /* One call in the queue is enough: it has everything fetched. */
  return status != napi_ok ? status
                           : napi_create_threadsafe_function(env, callback, NULL, name, 1, 1, NULL,
                                                             NULL, NULL, NULL, wake);
}

/* openPump(options, onEvents) - starts the thread. */
static napi_value open_pump(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  struct ks_pump_options options;
  const char *step = "";
  if (!ks_read_arguments(env, info, 2, arguments) || !read_options(env, arguments[0], &options))
    return NULL;
  struct handle *handle = calloc(1, sizeof(*handle));
  if (handle == NULL) {
    ks_throw_errno(env, -ENOMEM, "malloc");
    return NULL;
  }
  if (create_wake(env, arguments[1], &handle->wake) != napi_ok) {
    free(handle);
    ks_throw_argument(env, "onEvents must be a function");
    return NULL;
  }
  options.on_events = on_events;
  options.user = handle;
  int error = ks_pump_open(&options, &handle->pump, &step);
  if (error) {
    napi_release_threadsafe_function(handle->wake, napi_tsfn_abort);
    free(handle);
    ks_throw_errno(env, error, step);
    return NULL;
  }
  napi_add_env_cleanup_hook(env, stop_at_exit, handle);
  if (napi_create_external(env, handle, finalize, NULL, &result) != napi_ok) {
    finalize(env, handle, NULL);
    return NULL;
  }
  return napi_type_tag_object(env, result, &PUMP_TAG) == napi_ok ? result : NULL;
}

/* closePump(pump) - stops the thread, resets what is open; twice is fine. */
static napi_value close_pump(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct handle *handle;
  if (ks_read_arguments(env, info, 1, &argument) && read_handle(env, argument, &handle))
    stop(handle);
  return NULL;
}

/* pumpListen(pump, fd, { family, backlog, redirected }): number - the listener. */
static napi_value pump_listen(napi_env env, napi_callback_info info) {
  napi_value arguments[3], family_value, result = NULL;
  struct ks_pump *pump = NULL;
  enum ks_family family;
  bool is_redirected = false;
  uint32_t backlog = 128;
  const char *step = "";
  int fd;
  if (!ks_read_arguments(env, info, 3, arguments) || !read_pump(env, arguments[0], &pump) ||
      !ks_read_fd(env, arguments[1], &fd) ||
      !ks_read_property(env, arguments[2], "family", &family_value) ||
      !ks_read_bool_property(env, arguments[2], "redirected", &is_redirected) ||
      !ks_read_uint32_property(env, arguments[2], "backlog", &backlog))
    return NULL;
  if (family_value == NULL || backlog > INT32_MAX) {
    ks_throw_argument(env, "family and a backlog below 2^31 are needed");
    return NULL;
  }
  if (!ks_read_family(env, family_value, &family))
    return NULL;
  int listener = ks_pump_listen(pump, fd, family, (int)backlog, is_redirected, &step);
  if (listener < 0)
    ks_throw_errno(env, listener, step);
  else
    napi_create_int32(env, listener, &result);
  return result;
}

/* pumpUnlisten(pump, listener) - closes it. */
static napi_value pump_unlisten(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct ks_pump *pump = NULL;
  uint32_t listener;
  const char *step = "";
  if (!ks_read_arguments(env, info, 2, arguments) || !read_pump(env, arguments[0], &pump))
    return NULL;
  if (napi_get_value_uint32(env, arguments[1], &listener) != napi_ok) {
    ks_throw_argument(env, "listener must be a number");
    return NULL;
  }
  int error = ks_pump_unlisten(pump, listener, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

/* pumpReceive(pump, records): number - the records that wait, at most as many as fit. */
static napi_value pump_receive(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  struct ks_pump *pump = NULL;
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *records = NULL;
  if (!ks_read_arguments(env, info, 2, arguments) || !read_pump(env, arguments[0], &pump))
    return NULL;
  if (napi_get_typedarray_info(env, arguments[1], &type, &length, &records, NULL, NULL) !=
          napi_ok ||
      type != napi_uint32_array || length > UINT32_MAX) {
    ks_throw_argument(env, "records must be a Uint32Array");
    return NULL;
  }
  const uint32_t capacity = (uint32_t)(length / KS_PUMP_RECORD_WORDS);
  napi_create_uint32(env, ks_pump_receive(pump, records, capacity), &result);
  return result;
}

/* pumpAnswer(pump, verdicts, count) */
static napi_value pump_answer(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  struct ks_pump *pump = NULL;
  void *verdicts = NULL;
  uint32_t count = 0;
  const char *step = "";
  if (!ks_read_arguments(env, info, 3, arguments) || !read_pump(env, arguments[0], &pump))
    return NULL;
  if (napi_get_value_uint32(env, arguments[2], &count) != napi_ok) {
    ks_throw_argument(env, "count must be a number");
    return NULL;
  }
  if (!ks_read_array(env, arguments[1], napi_uint32_array, (size_t)count * KS_PUMP_VERDICT_WORDS,
                     &verdicts))
    return NULL;
  int error = ks_pump_answer(pump, verdicts, count, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

/* pumpPick(pump, listener, verdicts, count) - for connections to come. */
static napi_value pump_pick(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  struct ks_pump *pump = NULL;
  void *verdicts = NULL;
  uint32_t listener, count;
  const char *step = "";
  if (!ks_read_arguments(env, info, 4, arguments) || !read_pump(env, arguments[0], &pump))
    return NULL;
  if (napi_get_value_uint32(env, arguments[1], &listener) != napi_ok ||
      napi_get_value_uint32(env, arguments[3], &count) != napi_ok) {
    ks_throw_argument(env, "listener and count must be numbers");
    return NULL;
  }
  if (!ks_read_array(env, arguments[2], napi_uint32_array, (size_t)count * KS_PUMP_VERDICT_WORDS,
                     &verdicts))
    return NULL;
  int error = ks_pump_pick(pump, listener, verdicts, count, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

/* pumpUnpick(pump, listener): number - how many were left. */
static napi_value pump_unpick(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  struct ks_pump *pump = NULL;
  uint32_t listener;
  if (!ks_read_arguments(env, info, 2, arguments) || !read_pump(env, arguments[0], &pump))
    return NULL;
  if (napi_get_value_uint32(env, arguments[1], &listener) != napi_ok)
    ks_throw_argument(env, "listener must be a number");
  else
    napi_create_uint32(env, ks_pump_unpick(pump, listener), &result);
  return result;
}

/* pumpTimeouts(pump, idleMs, halfClosedMs) - of all connections, from now on. */
static napi_value pump_timeouts(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  struct ks_pump *pump = NULL;
  uint32_t idle_ms, half_closed_ms;
  if (!ks_read_arguments(env, info, 3, arguments) || !read_pump(env, arguments[0], &pump))
    return NULL;
  if (napi_get_value_uint32(env, arguments[1], &idle_ms) != napi_ok ||
      napi_get_value_uint32(env, arguments[2], &half_closed_ms) != napi_ok)
    ks_throw_argument(env, "idleMs and halfClosedMs must be numbers");
  else
    ks_pump_set_timeouts(pump, idle_ms, half_closed_ms);
  return NULL;
}

/* pumpCounters(pump, counters) - fills a Float64Array. */
static napi_value pump_counters(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct ks_pump *pump = NULL;
  void *data = NULL;
  uint64_t counters[KS_PUMP_COUNTERS];
  if (!ks_read_arguments(env, info, 2, arguments) || !read_pump(env, arguments[0], &pump) ||
      !ks_read_array(env, arguments[1], napi_float64_array, KS_PUMP_COUNTERS, &data))
    return NULL;
  ks_pump_count(pump, counters);
  for (int i = 0; i < KS_PUMP_COUNTERS; i++)
    ((double *)data)[i] = (double)counters[i];
  return NULL;
}

napi_status ks_binding_pump(napi_env env, napi_value exports) {
  const napi_property_attributes attributes = napi_enumerable;
  const napi_property_descriptor calls[] = {
      {"openPump", NULL, open_pump, NULL, NULL, NULL, attributes, NULL},
      {"closePump", NULL, close_pump, NULL, NULL, NULL, attributes, NULL},
      {"pumpListen", NULL, pump_listen, NULL, NULL, NULL, attributes, NULL},
      {"pumpUnlisten", NULL, pump_unlisten, NULL, NULL, NULL, attributes, NULL},
      {"pumpReceive", NULL, pump_receive, NULL, NULL, NULL, attributes, NULL},
      {"pumpAnswer", NULL, pump_answer, NULL, NULL, NULL, attributes, NULL},
      {"pumpPick", NULL, pump_pick, NULL, NULL, NULL, attributes, NULL},
      {"pumpUnpick", NULL, pump_unpick, NULL, NULL, NULL, attributes, NULL},
      {"pumpTimeouts", NULL, pump_timeouts, NULL, NULL, NULL, attributes, NULL},
      {"pumpCounters", NULL, pump_counters, NULL, NULL, NULL, attributes, NULL},
  };
  return napi_define_properties(env, exports, sizeof(calls) / sizeof(calls[0]), calls);
}
