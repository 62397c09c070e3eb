#include "queue.h"

#include <errno.h>
#include <stdlib.h>

#include "../core/queue.h"
#include "value.h"

/* What JavaScript holds: the queue, NULL once it is closed. */
struct handle {
  struct ks_queue *queue;
};

/* Tells our externals from others: a wrong argument must not be read as a queue. */
static const napi_type_tag QUEUE_TAG = {0x6b75626573c10001u, 0x7061636b65747175u};

static void finalize(napi_env env, void *data, void *hint) {
  struct handle *handle = data;
  (void)env;
  (void)hint;
  if (handle->queue != NULL)
    ks_queue_close(handle->queue);
  free(handle);
}

static bool read_queue(napi_env env, napi_value value, struct handle **handle) {
  bool is_queue = false;
  void *data = NULL;
  if (napi_check_object_type_tag(env, value, &QUEUE_TAG, &is_queue) != napi_ok || !is_queue ||
      napi_get_value_external(env, value, &data) != napi_ok)
    return ks_throw_argument(env, "not a queue");
  *handle = data;
  if ((*handle)->queue == NULL)
    return ks_throw_argument(env, "the queue is closed");
  return true;
}

static bool read_options(napi_env env, napi_value object, struct ks_queue_options *options) {
  uint32_t first = 0, count = 1, batch = 64, copy_range = 256;
  options->length = 1024;
  options->buffer_bytes = 1u << 20;
  if (!ks_read_uint32_property(env, object, "first", &first) ||
      !ks_read_uint32_property(env, object, "count", &count) ||
      !ks_read_uint32_property(env, object, "batch", &batch) ||
      !ks_read_uint32_property(env, object, "copyRange", &copy_range) ||
      !ks_read_uint32_property(env, object, "length", &options->length) ||
      !ks_read_uint32_property(env, object, "bufferBytes", &options->buffer_bytes) ||
      !ks_read_bool_property(env, object, "failOpen", &options->is_fail_open) ||
      !ks_read_bool_property(env, object, "gso", &options->takes_gso))
    return false;
  if (first > UINT16_MAX || count > UINT16_MAX || batch > UINT16_MAX || copy_range > UINT16_MAX)
    return ks_throw_argument(env, "first, count, batch and copyRange must be at most 65535");
  options->first = (uint16_t)first;
  options->count = (uint16_t)count;
  options->batch = (uint16_t)batch;
  options->copy_range = (uint16_t)copy_range;
  return true;
}

/* openQueue(options) - binds to the queues; the result is for the calls below. */
static napi_value open_queue(napi_env env, napi_callback_info info) {
  napi_value argument, result = NULL;
  struct ks_queue_options options = {0};
  const char *step = "";
  if (!ks_read_arguments(env, info, 1, &argument) || !read_options(env, argument, &options))
    return NULL;
  struct handle *handle = calloc(1, sizeof(*handle));
  int error = handle == NULL ? -ENOMEM : ks_queue_open(&options, &handle->queue, &step);
  if (error) {
    free(handle);
    ks_throw_errno(env, error, step);
    return NULL;
  }
  if (napi_create_external(env, handle, finalize, NULL, &result) != napi_ok) {
    finalize(env, handle, NULL);
    return NULL;
  }
  /* From here on the finalizer owns the handle. */
  return napi_type_tag_object(env, result, &QUEUE_TAG) == napi_ok ? result : NULL;
}

/* closeQueue(queue) - unbinds; twice is fine. */
static napi_value close_queue(napi_env env, napi_callback_info info) {
  napi_value argument;
  bool is_queue = false;
  void *data = NULL;
  if (!ks_read_arguments(env, info, 1, &argument))
    return NULL;
  if (napi_check_object_type_tag(env, argument, &QUEUE_TAG, &is_queue) != napi_ok || !is_queue ||
      napi_get_value_external(env, argument, &data) != napi_ok) {
    ks_throw_argument(env, "not a queue");
    return NULL;
  }
  struct handle *handle = data;
  if (handle->queue != NULL)
    ks_queue_close(handle->queue);
  handle->queue = NULL;
  return NULL;
}

/* queueState(queue): { fd, bufferBytes, copiesBytes, strays } */
static napi_value queue_state(napi_env env, napi_callback_info info) {
  napi_value argument, result;
  struct handle *handle;
  if (!ks_read_arguments(env, info, 1, &argument) || !read_queue(env, argument, &handle))
    return NULL;
  const struct {
    const char *name;
    size_t value;
  } fields[] = {
      {"fd", (size_t)ks_queue_fd(handle->queue)},
      {"bufferBytes", ks_queue_buffer_bytes(handle->queue)},
      {"copiesBytes", ks_queue_copies_bytes(handle->queue)},
      {"strays", ks_queue_strays(handle->queue)},
  };
  if (napi_create_object(env, &result) != napi_ok)
    return NULL;
  for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
    napi_value number;
    if (napi_create_double(env, (double)fields[i].value, &number) != napi_ok ||
        napi_set_named_property(env, result, fields[i].name, number) != napi_ok)
      return NULL;
  }
  return result;
}

/* The words of a Uint32Array for at least `packets` records. */
static bool read_records(napi_env env, napi_value value, size_t packets, uint32_t **records) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *data = NULL;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok ||
      type != napi_uint32_array || length < packets * KS_PACKET_WORDS)
    return ks_throw_argument(env, "records must be a Uint32Array for a whole batch");
  *records = data;
  return true;
}

static bool read_copies(napi_env env, napi_value value, size_t bytes, uint8_t **copies) {
  napi_typedarray_type type = napi_int8_array;
  size_t length = 0;
  void *data = NULL;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array || length < bytes || ((uintptr_t)data & 3) != 0)
    return ks_throw_argument(env, "copies must be an aligned Uint8Array of copiesBytes");
  *copies = data;
  return true;
}

/* queueReceive(queue, records, copies): number - packets that were waiting; does not block. */
static napi_value queue_receive(napi_env env, napi_callback_info info) {
  napi_value arguments[3], result = NULL;
  struct handle *handle;
  uint32_t *records = NULL;
  uint8_t *copies = NULL;
  const char *step = "";
  if (!ks_read_arguments(env, info, 3, arguments) || !read_queue(env, arguments[0], &handle) ||
      !read_records(env, arguments[1], ks_queue_batch(handle->queue), &records) ||
      !read_copies(env, arguments[2], ks_queue_copies_bytes(handle->queue), &copies))
    return NULL;
  int count = ks_queue_receive(handle->queue, records, copies, &step);
  if (count < 0)
    ks_throw_errno(env, count, step);
  else
    napi_create_int32(env, count, &result);
  return result;
}

/* queueAnswer(queue, records, count) - sends the verdicts of the first `count` records. */
static napi_value queue_answer(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  struct handle *handle;
  uint32_t *records = NULL, count;
  const char *step = "";
  if (!ks_read_arguments(env, info, 3, arguments) || !read_queue(env, arguments[0], &handle))
    return NULL;
  if (napi_get_value_uint32(env, arguments[2], &count) != napi_ok ||
      count > ks_queue_batch(handle->queue)) {
    ks_throw_argument(env, "count must be at most the batch");
    return NULL;
  }
  if (!read_records(env, arguments[1], count, &records))
    return NULL;
  int error = ks_queue_answer(handle->queue, records, count, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

napi_status ks_binding_queue(napi_env env, napi_value exports) {
  const napi_property_attributes attributes = napi_enumerable;
  napi_value words;
  napi_status status = napi_create_uint32(env, KS_PACKET_WORDS, &words);
  if (status == napi_ok)
    status = napi_set_named_property(env, exports, "packetWords", words);
  if (status != napi_ok)
    return status;
  const napi_property_descriptor calls[] = {
      {"openQueue", NULL, open_queue, NULL, NULL, NULL, attributes, NULL},
      {"closeQueue", NULL, close_queue, NULL, NULL, NULL, attributes, NULL},
      {"queueState", NULL, queue_state, NULL, NULL, NULL, attributes, NULL},
      {"queueReceive", NULL, queue_receive, NULL, NULL, NULL, attributes, NULL},
      {"queueAnswer", NULL, queue_answer, NULL, NULL, NULL, attributes, NULL},
  };
  return napi_define_properties(env, exports, sizeof(calls) / sizeof(calls[0]), calls);
}
