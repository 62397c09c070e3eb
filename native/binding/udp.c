#include "udp.h"

#include "../core/udp.h"
#include "thread.h"

static void close_thread(void *thread) {
  ks_udp_close(thread);
}

static const struct ks_thread_kind RELAY = {
    .tag = {0x6b75626573c10003u, 0x72656c6179756470u},
    .name = "udp",
    .stranger = "not a datagram relay",
    .closed = "the datagram relay is closed",
    .close = close_thread,
};

static bool read_udp(napi_env env, napi_value value, struct ks_udp **udp) {
  *udp = ks_read_thread(env, value, &RELAY);
  return *udp != NULL;
}

/* openDatagramRelay(maxSessions, onEvents) - starts the thread. */
static napi_value open_relay(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct ks_udp *udp = NULL;
  struct ks_udp_options options = {0};
  const char *step = "";
  if (!ks_read_arguments(env, info, 2, arguments))
    return NULL;
  if (napi_get_value_uint32(env, arguments[0], &options.max_sessions) != napi_ok) {
    ks_throw_argument(env, "maxSessions must be a number");
    return NULL;
  }
  struct ks_thread_handle *handle = ks_thread_prepare(env, &RELAY, arguments[1]);
  if (handle == NULL)
    return NULL;
  options.on_events = ks_thread_wake;
  options.user = handle;
  int error = ks_udp_open(&options, &udp, &step);
  return ks_thread_opened(env, handle, udp, error, step);
}

/* closeDatagramRelay(relay) - stops the thread, ends what is open; twice is fine. */
static napi_value close_relay(napi_env env, napi_callback_info info) {
  return ks_thread_close(env, info, &RELAY);
}

/* relayListen(relay, fd, bufferBytes): number - the listener. */
static napi_value relay_listen(napi_env env, napi_callback_info info) {
  napi_value arguments[3], result = NULL;
  struct ks_udp *udp = NULL;
  int32_t buffer_bytes;
  const char *step = "";
  int fd;
  if (!ks_read_arguments(env, info, 3, arguments) || !read_udp(env, arguments[0], &udp) ||
      !ks_read_fd(env, arguments[1], &fd))
    return NULL;
  if (napi_get_value_int32(env, arguments[2], &buffer_bytes) != napi_ok) {
    ks_throw_argument(env, "bufferBytes must be a number");
    return NULL;
  }
  int listener = ks_udp_listen(udp, fd, buffer_bytes, &step);
  if (listener < 0)
    ks_throw_errno(env, listener, step);
  else
    napi_create_int32(env, listener, &result);
  return result;
}

/* relayUnlisten(relay, listener) - closes it and its sessions. */
static napi_value relay_unlisten(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct ks_udp *udp = NULL;
  uint32_t listener;
  const char *step = "";
  if (!ks_read_arguments(env, info, 2, arguments) || !read_udp(env, arguments[0], &udp))
    return NULL;
  if (napi_get_value_uint32(env, arguments[1], &listener) != napi_ok) {
    ks_throw_argument(env, "listener must be a number");
    return NULL;
  }
  int error = ks_udp_unlisten(udp, listener, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

/* relayReceive(relay, records): number - the records that wait, at most as many as fit. */
static napi_value relay_receive(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  struct ks_udp *udp = NULL;
  uint32_t *records, capacity;
  if (!ks_read_arguments(env, info, 2, arguments) || !read_udp(env, arguments[0], &udp) ||
      !ks_read_records(env, arguments[1], KS_UDP_RECORD_WORDS, &records, &capacity))
    return NULL;
  napi_create_uint32(env, ks_udp_receive(udp, records, capacity), &result);
  return result;
}

/* relayAnswer(relay, verdicts, count) */
static napi_value relay_answer(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  struct ks_udp *udp = NULL;
  const uint32_t *verdicts;
  uint32_t count;
  const char *step = "";
  if (!ks_read_arguments(env, info, 3, arguments) || !read_udp(env, arguments[0], &udp) ||
      !ks_read_verdicts(env, arguments[1], arguments[2], KS_UDP_VERDICT_WORDS, &verdicts, &count))
    return NULL;
  int error = ks_udp_answer(udp, verdicts, count, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

/* relayTimeouts(relay, { idleMs, streamMs, retryWithinMs }) - of all sessions, from now on. */
static napi_value relay_timeouts(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct ks_udp *udp = NULL;
  struct ks_udp_timeouts timeouts = {.idle_ms = INT32_MAX, .stream_ms = INT32_MAX};
  if (ks_read_arguments(env, info, 2, arguments) && read_udp(env, arguments[0], &udp) &&
      ks_read_uint32_property(env, arguments[1], "idleMs", &timeouts.idle_ms) &&
      ks_read_uint32_property(env, arguments[1], "streamMs", &timeouts.stream_ms) &&
      ks_read_uint32_property(env, arguments[1], "retryWithinMs", &timeouts.retry_within_ms))
    ks_udp_set_timeouts(udp, &timeouts);
  return NULL;
}

/* relayCounters(relay, counters) - fills a Float64Array. */
static napi_value relay_counters(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct ks_udp *udp = NULL;
  uint64_t counters[KS_UDP_COUNTERS];
  if (!ks_read_arguments(env, info, 2, arguments) || !read_udp(env, arguments[0], &udp))
    return NULL;
  ks_udp_count(udp, counters);
  ks_write_counters(env, arguments[1], counters, KS_UDP_COUNTERS);
  return NULL;
}

napi_status ks_binding_udp(napi_env env, napi_value exports) {
  const napi_property_attributes attributes = napi_enumerable;
  const napi_property_descriptor calls[] = {
      {"openDatagramRelay", NULL, open_relay, NULL, NULL, NULL, attributes, NULL},
      {"closeDatagramRelay", NULL, close_relay, NULL, NULL, NULL, attributes, NULL},
      {"relayListen", NULL, relay_listen, NULL, NULL, NULL, attributes, NULL},
      {"relayUnlisten", NULL, relay_unlisten, NULL, NULL, NULL, attributes, NULL},
      {"relayReceive", NULL, relay_receive, NULL, NULL, NULL, attributes, NULL},
      {"relayAnswer", NULL, relay_answer, NULL, NULL, NULL, attributes, NULL},
      {"relayTimeouts", NULL, relay_timeouts, NULL, NULL, NULL, attributes, NULL},
      {"relayCounters", NULL, relay_counters, NULL, NULL, NULL, attributes, NULL},
  };
  return napi_define_properties(env, exports, sizeof(calls) / sizeof(calls[0]), calls);
}
