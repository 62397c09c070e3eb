#include "pump.h"

#include "../core/pump.h"
#include "thread.h"

static void close_thread(void *thread) {
  ks_pump_close(thread);
}

static const struct ks_thread_kind PUMP = {
    .tag = {0x6b75626573c10002u, 0x70756d70746370u},
    .name = "pump",
    .stranger = "not a pump",
    .closed = "the pump is closed",
    .close = close_thread,
};

static bool read_pump(napi_env env, napi_value value, struct ks_pump **pump) {
  *pump = ks_read_thread(env, value, &PUMP);
  return *pump != NULL;
}

static bool read_options(napi_env env, napi_value object, struct ks_pump_options *options) {
  *options = (struct ks_pump_options){.uses_splice = true};
  return ks_read_bool_property(env, object, "splice", &options->uses_splice) &&
         ks_read_uint32_property(env, object, "maxPipes", &options->max_pipes) &&
         ks_read_uint32_property(env, object, "maxConnections", &options->max_connections) &&
         ks_read_uint32_property(env, object, "maxWaiting", &options->max_waiting);
}

/* openPump(options, onEvents) - starts the thread. */
static napi_value open_pump(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct ks_pump *pump = NULL;
  struct ks_pump_options options;
  const char *step = "";
  if (!ks_read_arguments(env, info, 2, arguments) || !read_options(env, arguments[0], &options))
    return NULL;
  struct ks_thread_handle *handle = ks_thread_prepare(env, &PUMP, arguments[1]);
  if (handle == NULL)
    return NULL;
  options.on_events = ks_thread_wake;
  options.user = handle;
  int error = ks_pump_open(&options, &pump, &step);
  return ks_thread_opened(env, handle, pump, error, step);
}

/* closePump(pump) - stops the thread, resets what is open; twice is fine. */
static napi_value close_pump(napi_env env, napi_callback_info info) {
  return ks_thread_close(env, info, &PUMP);
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
  uint32_t *records, capacity;
  if (!ks_read_arguments(env, info, 2, arguments) || !read_pump(env, arguments[0], &pump) ||
      !ks_read_records(env, arguments[1], KS_PUMP_RECORD_WORDS, &records, &capacity))
    return NULL;
  napi_create_uint32(env, ks_pump_receive(pump, records, capacity), &result);
  return result;
}

/* pumpAnswer(pump, verdicts, count) */
static napi_value pump_answer(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  struct ks_pump *pump = NULL;
  const uint32_t *verdicts;
  uint32_t count;
  const char *step = "";
  if (!ks_read_arguments(env, info, 3, arguments) || !read_pump(env, arguments[0], &pump) ||
      !ks_read_verdicts(env, arguments[1], arguments[2], KS_PUMP_VERDICT_WORDS, &verdicts, &count))
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
  const uint32_t *verdicts;
  uint32_t listener, count;
  const char *step = "";
  if (!ks_read_arguments(env, info, 4, arguments) || !read_pump(env, arguments[0], &pump))
    return NULL;
  if (napi_get_value_uint32(env, arguments[1], &listener) != napi_ok) {
    ks_throw_argument(env, "listener must be a number");
    return NULL;
  }
  if (!ks_read_verdicts(env, arguments[2], arguments[3], KS_PUMP_VERDICT_WORDS, &verdicts, &count))
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
  uint64_t counters[KS_PUMP_COUNTERS];
  if (!ks_read_arguments(env, info, 2, arguments) || !read_pump(env, arguments[0], &pump))
    return NULL;
  ks_pump_count(pump, counters);
  ks_write_counters(env, arguments[1], counters, KS_PUMP_COUNTERS);
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
