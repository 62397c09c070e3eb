#include "conntrack.h"

#include <errno.h>
#include <stdlib.h>

#include "../core/conntrack.h"
#include "value.h"

/* What JavaScript holds: a subscription or a dump, NULL once it is closed. */
struct handle {
  struct ks_conntrack *conntrack;
};

static const napi_type_tag CONNTRACK_TAG = {0x6b75626573c10002u, 0x636f6e6e74726163u};

static void finalize(napi_env env, void *data, void *hint) {
  struct handle *handle = data;
  (void)env;
  (void)hint;
  if (handle->conntrack != NULL)
    ks_conntrack_close(handle->conntrack);
  free(handle);
}

static bool read_handle(napi_env env, napi_value value, struct handle **handle) {
  bool is_ours = false;
  void *data = NULL;
  if (napi_check_object_type_tag(env, value, &CONNTRACK_TAG, &is_ours) != napi_ok || !is_ours ||
      napi_get_value_external(env, value, &data) != napi_ok)
    return ks_throw_argument(env, "not a conntrack handle");
  *handle = data;
  return true;
}

static bool read_open(napi_env env, napi_value value, struct handle **handle) {
  if (!read_handle(env, value, handle))
    return false;
  return (*handle)->conntrack != NULL || ks_throw_argument(env, "the conntrack handle is closed");
}

static napi_value wrap(napi_env env, struct ks_conntrack *conntrack) {
  napi_value result;
  struct handle *handle = calloc(1, sizeof(*handle));
  if (handle == NULL) {
    ks_conntrack_close(conntrack);
    ks_throw_errno(env, -ENOMEM, "open");
    return NULL;
  }
  handle->conntrack = conntrack;
  if (napi_create_external(env, handle, finalize, NULL, &result) != napi_ok) {
    finalize(env, handle, NULL);
    return NULL;
  }
  return napi_type_tag_object(env, result, &CONNTRACK_TAG) == napi_ok ? result : NULL;
}

static bool read_numbers(napi_env env, const napi_value *values, uint32_t *numbers, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (napi_get_value_uint32(env, values[i], &numbers[i]) != napi_ok)
      return ks_throw_argument(env, "a number is missing");
  return true;
}

/* conntrackEvents(markMask, bufferBytes, answers) - subscribes; read it with conntrackReceive. */
static napi_value events(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  uint32_t numbers[2];
  bool answers;
  struct ks_conntrack *conntrack;
  const char *step = "";
  if (!ks_read_arguments(env, info, 3, arguments) || !read_numbers(env, arguments, numbers, 2))
    return NULL;
  if (napi_get_value_bool(env, arguments[2], &answers) != napi_ok) {
    ks_throw_argument(env, "a boolean is missing");
    return NULL;
  }
  int error = ks_conntrack_events(numbers[0], numbers[1], answers, &conntrack, &step);
  if (!error)
    return wrap(env, conntrack);
  ks_throw_errno(env, error, step);
  return NULL;
}

/* conntrackAnswers(handle, markMask, answers) - of a subscription, from now on. */
static napi_value answers(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  uint32_t mark_mask;
  bool has_answers;
  struct handle *handle = NULL;
  const char *step = "";
  if (!ks_read_arguments(env, info, 3, arguments) || !read_open(env, arguments[0], &handle) ||
      !read_numbers(env, arguments + 1, &mark_mask, 1))
    return NULL;
  if (napi_get_value_bool(env, arguments[2], &has_answers) != napi_ok) {
    ks_throw_argument(env, "a boolean is missing");
    return NULL;
  }
  int error = ks_conntrack_answers(handle->conntrack, mark_mask, has_answers, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

/* conntrackDump(family, mark, markMask, protocol) - read it with conntrackReceive. */
static napi_value dump(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  uint32_t numbers[3];
  enum ks_family family;
  struct ks_conntrack *conntrack;
  const char *step = "";
  if (!ks_read_arguments(env, info, 4, arguments) ||
      !ks_read_family(env, arguments[0], &family) ||
      !read_numbers(env, arguments + 1, numbers, 3))
    return NULL;
  int error = ks_conntrack_dump((int)family, numbers[0], numbers[1], (uint8_t)numbers[2],
                                &conntrack, &step);
  if (!error)
    return wrap(env, conntrack);
  ks_throw_errno(env, error, step);
  return NULL;
}

/* conntrackReceive(handle, records): number - records written; -1: the dump is complete, -2: and
 * incomplete, because the table changed. ENOBUFS is thrown when events were lost. */
static napi_value receive(napi_env env, napi_callback_info info) {
  napi_value arguments[2], result = NULL;
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *records = NULL;
  struct handle *handle = NULL;
  const char *step = "";
  if (!ks_read_arguments(env, info, 2, arguments) || !read_open(env, arguments[0], &handle))
    return NULL;
  if (napi_get_typedarray_info(env, arguments[1], &type, &length, &records, NULL, NULL) !=
          napi_ok ||
      type != napi_uint32_array || length < KS_CONNTRACK_WORDS) {
    ks_throw_argument(env, "records must be a Uint32Array for at least one record");
    return NULL;
  }
  size_t capacity = length / KS_CONNTRACK_WORDS;
  int count = ks_conntrack_receive(handle->conntrack, records,
                                   capacity > 4096 ? 4096 : (uint32_t)capacity, &step);
  if (count == -ENODATA || count == -EINTR)
    count = count == -ENODATA ? -1 : -2;
  else if (count < 0) {
    ks_throw_errno(env, count, step);
    return NULL;
  }
  napi_create_int32(env, count, &result);
  return result;
}

/* conntrackFd(handle): number; conntrackBufferBytes(handle): number; conntrackClose(handle) */
static napi_value fd_of(napi_env env, napi_callback_info info) {
  napi_value argument, result = NULL;
  struct handle *handle = NULL;
  if (ks_read_arguments(env, info, 1, &argument) && read_open(env, argument, &handle))
    napi_create_int32(env, ks_conntrack_fd(handle->conntrack), &result);
  return result;
}

static napi_value buffer_bytes_of(napi_env env, napi_callback_info info) {
  napi_value argument, result = NULL;
  struct handle *handle = NULL;
  if (ks_read_arguments(env, info, 1, &argument) && read_open(env, argument, &handle))
    napi_create_uint32(env, ks_conntrack_buffer_bytes(handle->conntrack), &result);
  return result;
}

static napi_value close_handle(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct handle *handle = NULL;
  if (!ks_read_arguments(env, info, 1, &argument) || !read_handle(env, argument, &handle))
    return NULL;
  if (handle->conntrack != NULL)
    ks_conntrack_close(handle->conntrack);
  handle->conntrack = NULL;
  return NULL;
}

/* conntrackDelete(fd, family, tuple): boolean - whether there was such an entry. */
static napi_value delete_entry(napi_env env, napi_callback_info info) {
  napi_value arguments[3], result = NULL;
  enum ks_family family;
  void *tuple = NULL;
  const char *step = "";
  int fd;
  if (!ks_read_arguments(env, info, 3, arguments) || !ks_read_fd(env, arguments[0], &fd) ||
      !ks_read_family(env, arguments[1], &family) ||
      !ks_read_array(env, arguments[2], napi_uint32_array, 10, &tuple))
    return NULL;
  int error = ks_conntrack_delete(fd, (int)family, tuple, &step);
  if (error && error != -ENOENT)
    ks_throw_errno(env, error, step);
  else
    napi_get_boolean(env, error == 0, &result);
  return result;
}

/* conntrackDeleteMarked(fd, family, mark, markMask) */
static napi_value delete_marked(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  enum ks_family family;
  uint32_t numbers[2];
  const char *step = "";
  int fd;
  if (!ks_read_arguments(env, info, 4, arguments) || !ks_read_fd(env, arguments[0], &fd) ||
      !ks_read_family(env, arguments[1], &family) ||
      !read_numbers(env, arguments + 2, numbers, 2))
    return NULL;
  int error = ks_conntrack_delete_marked(fd, (int)family, numbers[0], numbers[1], &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

napi_status ks_binding_conntrack(napi_env env, napi_value exports) {
  const napi_property_attributes attributes = napi_enumerable;
  napi_value words;
  napi_status status = napi_create_uint32(env, KS_CONNTRACK_WORDS, &words);
  if (status == napi_ok)
    status = napi_set_named_property(env, exports, "conntrackWords", words);
  if (status != napi_ok)
    return status;
  const napi_property_descriptor calls[] = {
      {"conntrackEvents", NULL, events, NULL, NULL, NULL, attributes, NULL},
      {"conntrackAnswers", NULL, answers, NULL, NULL, NULL, attributes, NULL},
      {"conntrackDump", NULL, dump, NULL, NULL, NULL, attributes, NULL},
      {"conntrackReceive", NULL, receive, NULL, NULL, NULL, attributes, NULL},
      {"conntrackFd", NULL, fd_of, NULL, NULL, NULL, attributes, NULL},
      {"conntrackBufferBytes", NULL, buffer_bytes_of, NULL, NULL, NULL, attributes, NULL},
      {"conntrackClose", NULL, close_handle, NULL, NULL, NULL, attributes, NULL},
      {"conntrackDelete", NULL, delete_entry, NULL, NULL, NULL, attributes, NULL},
      {"conntrackDeleteMarked", NULL, delete_marked, NULL, NULL, NULL, attributes, NULL},
  };
  return napi_define_properties(env, exports, sizeof(calls) / sizeof(calls[0]), calls);
}
