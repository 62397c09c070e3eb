#include "udp.h"

#include <errno.h>
#include <stdlib.h>

#include "../core/udp.h"
#include "value.h"

/*
 * What JavaScript holds. The thread calls through `wake`; an environment that ends (a worker, the
 * process) stops the thread by its cleanup hook, whoever holds what.
 */
struct handle {
  struct ks_udp *udp; /* NULL once it is closed */
  napi_threadsafe_function wake;
};

static const napi_type_tag UDP_TAG = {0x6b75626573c10003u, 0x72656c6179756470u};

/* By the thread. A full queue of calls would mean that one is under way already. */
static void on_events(void *user) {
  struct handle *handle = user;
  napi_call_threadsafe_function(handle->wake, NULL, napi_tsfn_nonblocking);
}

static void stop(struct handle *handle) {
  if (handle->udp == NULL)
    return;
  ks_udp_close(handle->udp);
  handle->udp = NULL;
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
  bool is_relay = false;
  void *data = NULL;
  if (napi_check_object_type_tag(env, value, &UDP_TAG, &is_relay) != napi_ok || !is_relay ||
      napi_get_value_external(env, value, &data) != napi_ok)
    return ks_throw_argument(env, "not a datagram relay");
  *handle = data;
  return true;
}

static bool read_udp(napi_env env, napi_value value, struct ks_udp **udp) {
  struct handle *handle;
  if (!read_handle(env, value, &handle))
    return false;
  if (handle->udp == NULL)
    return ks_throw_argument(env, "the datagram relay is closed");
  *udp = handle->udp;
  return true;
}

static napi_status create_wake(napi_env env, napi_value callback, napi_threadsafe_function *wake) {
  napi_value name;
  napi_status status = napi_create_string_utf8(env, "udp", NAPI_AUTO_LENGTH, &name);
  /* One call in the queue is enough: it has everything fetched. */
  return status != napi_ok ? status
                           : napi_create_threadsafe_function(env, callback, NULL, name, 1, 1, NULL,
                                                             NULL, NULL, NULL, wake);
}

/* openDatagramRelay(maxSessions, onEvents) - starts the thread. */
static napi_value open_relay(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  struct ks_udp_options options = {0};
  const char *step = "";
  if (!ks_read_arguments(env, info, 2, arguments))
    return NULL;
  if (napi_get_value_uint32(env, arguments[0], &options.max_sessions) != napi_ok) {
    ks_throw_argument(env, "maxSessions must be a number");
    return NULL;
  }
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
  int error = ks_udp_open(&options, &handle->udp, &step);
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
  return napi_type_tag_object(env, result, &UDP_TAG) == napi_ok ? result : NULL;
}

/* closeDatagramRelay(relay) - stops the thread, ends what is open; twice is fine. */
static napi_value close_relay(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct handle *handle;
  if (ks_read_arguments(env, info, 1, &argument) && read_handle(env, argument, &handle))
    stop(handle);
  return NULL;
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
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *records = NULL;
  if (!ks_read_arguments(env, info, 2, arguments) || !read_udp(env, arguments[0], &udp))
    return NULL;
  if (napi_get_typedarray_info(env, arguments[1], &type, &length, &records, NULL, NULL) !=
          napi_ok ||
      type != napi_uint32_array || length > UINT32_MAX) {
    ks_throw_argument(env, "records must be a Uint32Array");
    return NULL;
  }
  const uint32_t capacity = (uint32_t)(length / KS_UDP_RECORD_WORDS);
  napi_create_uint32(env, ks_udp_receive(udp, records, capacity), &result);
  return result;
}

/* relayAnswer(relay, verdicts, count) */
static napi_value relay_answer(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  struct ks_udp *udp = NULL;
  void *verdicts = NULL;
  uint32_t count = 0;
  const char *step = "";
  if (!ks_read_arguments(env, info, 3, arguments) || !read_udp(env, arguments[0], &udp))
    return NULL;
  if (napi_get_value_uint32(env, arguments[2], &count) != napi_ok) {
    ks_throw_argument(env, "count must be a number");
    return NULL;
  }
  if (!ks_read_array(env, arguments[1], napi_uint32_array, (size_t)count * KS_UDP_VERDICT_WORDS,
                     &verdicts))
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
  void *data = NULL;
  uint64_t counters[KS_UDP_COUNTERS];
  if (!ks_read_arguments(env, info, 2, arguments) || !read_udp(env, arguments[0], &udp) ||
      !ks_read_array(env, arguments[1], napi_float64_array, KS_UDP_COUNTERS, &data))
    return NULL;
  ks_udp_count(udp, counters);
  for (int i = 0; i < KS_UDP_COUNTERS; i++)
    ((double *)data)[i] = (double)counters[i];
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
