#include "thread.h"

#include <errno.h>
#include <stdlib.h>

struct ks_thread_handle {
  const struct ks_thread_kind *kind;
  void *thread; /* NULL once it is closed */
  napi_threadsafe_function wake;
};

/* By the thread. A full queue of calls would mean that one is under way already. */
void ks_thread_wake(void *data) {
  struct ks_thread_handle *handle = data;
  napi_call_threadsafe_function(handle->wake, NULL, napi_tsfn_nonblocking);
}

static void stop(struct ks_thread_handle *handle) {
  if (handle->thread == NULL)
    return;
  handle->kind->close(handle->thread);
  handle->thread = NULL;
  napi_release_threadsafe_function(handle->wake, napi_tsfn_abort);
}

static void stop_at_exit(void *data) {
  stop(data);
}

static void finalize(napi_env env, void *data, void *hint) {
  struct ks_thread_handle *handle = data;
  (void)hint;
  napi_remove_env_cleanup_hook(env, stop_at_exit, handle);
  stop(handle);
  free(handle);
}

static struct ks_thread_handle *read_handle(napi_env env, napi_value value,
                                            const struct ks_thread_kind *kind) {
  bool is_one = false;
  void *data = NULL;
  if (napi_check_object_type_tag(env, value, &kind->tag, &is_one) != napi_ok || !is_one ||
      napi_get_value_external(env, value, &data) != napi_ok) {
    ks_throw_argument(env, kind->stranger);
    return NULL;
  }
  return data;
}

void *ks_read_thread(napi_env env, napi_value value, const struct ks_thread_kind *kind) {
  struct ks_thread_handle *handle = read_handle(env, value, kind);
  if (handle == NULL)
    return NULL;
  if (handle->thread == NULL)
    ks_throw_argument(env, kind->closed);
  return handle->thread;
}

static napi_status create_wake(napi_env env, const char *name, napi_value callback,
                               napi_threadsafe_function *wake) {
  napi_value text;
  napi_status status = napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &text);
  /* One call in the queue is enough: it has everything fetched. */
  return status != napi_ok ? status
                           : napi_create_threadsafe_function(env, callback, NULL, text, 1, 1, NULL,
                                                             NULL, NULL, NULL, wake);
}

struct ks_thread_handle *ks_thread_prepare(napi_env env, const struct ks_thread_kind *kind,
                                           napi_value on_events) {
  struct ks_thread_handle *handle = calloc(1, sizeof(*handle));
  if (handle == NULL) {
    ks_throw_errno(env, -ENOMEM, "malloc");
    return NULL;
  }
  handle->kind = kind;
  if (create_wake(env, kind->name, on_events, &handle->wake) != napi_ok) {
    free(handle);
    ks_throw_argument(env, "onEvents must be a function");
    return NULL;
  }
  return handle;
}

napi_value ks_thread_opened(napi_env env, struct ks_thread_handle *handle, void *thread, int error,
                            const char *step) {
  napi_value result = NULL;
  if (error) {
    napi_release_threadsafe_function(handle->wake, napi_tsfn_abort);
    free(handle);
    ks_throw_errno(env, error, step);
    return NULL;
  }
  handle->thread = thread;
  napi_add_env_cleanup_hook(env, stop_at_exit, handle);
  if (napi_create_external(env, handle, finalize, NULL, &result) != napi_ok) {
    finalize(env, handle, NULL);
    return NULL;
  }
  return napi_type_tag_object(env, result, &handle->kind->tag) == napi_ok ? result : NULL;
}

napi_value ks_thread_close(napi_env env, napi_callback_info info,
                           const struct ks_thread_kind *kind) {
  napi_value argument;
  if (!ks_read_arguments(env, info, 1, &argument))
    return NULL;
  struct ks_thread_handle *handle = read_handle(env, argument, kind);
  if (handle != NULL)
    stop(handle);
  return NULL;
}

bool ks_read_records(napi_env env, napi_value value, uint32_t words, uint32_t **records,
                     uint32_t *capacity) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *data = NULL;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok ||
      type != napi_uint32_array || length > UINT32_MAX)
    return ks_throw_argument(env, "records must be a Uint32Array");
  *records = data;
  *capacity = (uint32_t)length / words;
  return true;
}

bool ks_read_verdicts(napi_env env, napi_value array, napi_value count_value, uint32_t words,
                      const uint32_t **verdicts, uint32_t *count) {
  void *data = NULL;
  if (napi_get_value_uint32(env, count_value, count) != napi_ok)
    return ks_throw_argument(env, "count must be a number");
  if (!ks_read_array(env, array, napi_uint32_array, (size_t)*count * words, &data))
    return false;
  *verdicts = data;
  return true;
}

bool ks_write_counters(napi_env env, napi_value array, const uint64_t *counters, uint32_t count) {
  void *data = NULL;
  if (!ks_read_array(env, array, napi_float64_array, count, &data))
    return false;
  for (uint32_t i = 0; i < count; i++)
    ((double *)data)[i] = (double)counters[i];
  return true;
}
