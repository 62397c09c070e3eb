#include "dial.h"

#include "../core/dial.h"
#include "value.h"

static napi_value number_value(napi_env env, int number) {
  napi_value result = NULL;
  napi_create_int32(env, number, &result);
  return result;
}

/* dial(family, { address, port }, resets): number - a descriptor, or -errno. */
static napi_value dial(napi_env env, napi_callback_info info) {
  napi_value arguments[3];
  struct ks_address to;
  enum ks_family family;
  bool resets;
  if (!ks_read_arguments(env, info, 3, arguments) ||
      !ks_read_family(env, arguments[0], &family) ||
      !ks_read_address(env, arguments[1], family, &to))
    return NULL;
  if (napi_get_value_bool(env, arguments[2], &resets) != napi_ok) {
    ks_throw_argument(env, "resets must be a boolean");
    return NULL;
  }
  return number_value(env, ks_dial(&to, resets));
}

/* dialPoll(fds, wants, results, count): number - how many results are not 0. */
static napi_value dial_poll(napi_env env, napi_callback_info info) {
  napi_value arguments[4];
  void *fds, *wants, *results;
  uint32_t count;
  if (!ks_read_arguments(env, info, 4, arguments))
    return NULL;
  if (napi_get_value_uint32(env, arguments[3], &count) != napi_ok) {
    ks_throw_argument(env, "count must be a number");
    return NULL;
  }
  if (!ks_read_array(env, arguments[0], napi_int32_array, count, &fds) ||
      !ks_read_array(env, arguments[1], napi_uint8_array, count, &wants) ||
      !ks_read_array(env, arguments[2], napi_int32_array, count, &results))
    return NULL;
  return number_value(env, ks_dial_poll(fds, wants, results, count));
}

static bool read_bytes(napi_env env, napi_callback_info info, int *fd, void **bytes,
                       size_t *length) {
  napi_value arguments[2];
  napi_typedarray_type type;
  if (!ks_read_arguments(env, info, 2, arguments) || !ks_read_fd(env, arguments[0], fd) ||
      !ks_read_array(env, arguments[1], napi_uint8_array, 0, bytes))
    return false;
  return napi_get_typedarray_info(env, arguments[1], &type, length, bytes, NULL, NULL) == napi_ok;
}

/* dialSend(fd, bytes): number - bytes that went out, or -errno. */
static napi_value dial_send(napi_env env, napi_callback_info info) {
  void *bytes;
  size_t length;
  int fd;
  if (!read_bytes(env, info, &fd, &bytes, &length))
    return NULL;
  return number_value(env, ks_dial_send(fd, bytes, length));
}

/* dialReceive(fd, bytes): number - bytes that came in, 0 at the end, or -errno. */
static napi_value dial_receive(napi_env env, napi_callback_info info) {
  void *bytes;
  size_t length;
  int fd;
  if (!read_bytes(env, info, &fd, &bytes, &length))
    return NULL;
  return number_value(env, ks_dial_receive(fd, bytes, length));
}

napi_status ks_binding_dial(napi_env env, napi_value exports) {
  const napi_property_attributes attributes = napi_enumerable;
  const napi_property_descriptor calls[] = {
      {"dial", NULL, dial, NULL, NULL, NULL, attributes, NULL},
      {"dialPoll", NULL, dial_poll, NULL, NULL, NULL, attributes, NULL},
      {"dialSend", NULL, dial_send, NULL, NULL, NULL, attributes, NULL},
      {"dialReceive", NULL, dial_receive, NULL, NULL, NULL, attributes, NULL},
  };
  return napi_define_properties(env, exports, sizeof(calls) / sizeof(calls[0]), calls);
}
