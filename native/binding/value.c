#define _GNU_SOURCE
#include "value.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

bool ks_throw_argument(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return false;
}

bool ks_read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) != napi_ok || given < count)
    return ks_throw_argument(env, "too few arguments");
  return true;
}

bool ks_read_fd(napi_env env, napi_value value, int *fd) {
  int32_t number = -1;
  if (napi_get_value_int32(env, value, &number) != napi_ok || number < 0)
    return ks_throw_argument(env, "fd must be a descriptor number");
  *fd = number;
  return true;
}

bool ks_read_text(napi_env env, napi_value value, char *text, size_t capacity) {
  size_t length = 0;
  /* Asked for the length first: a text that does not fit would be cut without a word. */
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length >= capacity)
    return ks_throw_argument(env, "a text is missing or too long");
  if (napi_get_value_string_utf8(env, value, text, capacity, &length) != napi_ok)
    return ks_throw_argument(env, "a text is missing");
  return true;
}

bool ks_read_family(napi_env env, napi_value value, enum ks_family *family) {
  char text[8];
  if (!ks_read_text(env, value, text, sizeof(text)))
    return false;
  if (strcmp(text, "IPv4") == 0)
    *family = KS_IPV4;
  else if (strcmp(text, "IPv6") == 0)
    *family = KS_IPV6;
  else
    return ks_throw_argument(env, "family must be IPv4 or IPv6");
  return true;
}

bool ks_read_filter(napi_env env, napi_value value, const struct sock_filter **filter,
                    uint16_t *length) {
  bool is_typed_array = false;
  napi_typedarray_type type = napi_int8_array;
  size_t bytes = 0;
  void *data = NULL;
  if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array ||
      napi_get_typedarray_info(env, value, &type, &bytes, &data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array)
    return ks_throw_argument(env, "filter must be a Uint8Array");
  if (bytes % sizeof(struct sock_filter) != 0 || bytes / sizeof(struct sock_filter) > BPF_MAXINSNS)
    return ks_throw_argument(env, "filter must be whole instructions, at most 4096");
  *filter = data;
  *length = (uint16_t)(bytes / sizeof(struct sock_filter));
  return true;
}

bool ks_read_property(napi_env env, napi_value object, const char *name, napi_value *value) {
  napi_valuetype type = napi_undefined;
  *value = NULL;
  /* A getter may throw: then the exception is already pending. */
  if (napi_get_named_property(env, object, name, value) != napi_ok ||
      napi_typeof(env, *value, &type) != napi_ok)
    return ks_throw_argument(env, "options must be an object");
  if (type == napi_undefined)
    *value = NULL;
  return true;
}

bool ks_read_bool_property(napi_env env, napi_value object, const char *name, bool *out) {
  napi_value value;
  if (!ks_read_property(env, object, name, &value))
    return false;
  if (value != NULL && napi_get_value_bool(env, value, out) != napi_ok)
    return ks_throw_argument(env, "an option that is true or false is something else");
  return true;
}

bool ks_read_uint32_property(napi_env env, napi_value object, const char *name, uint32_t *out) {
  napi_value value;
  if (!ks_read_property(env, object, name, &value))
    return false;
  if (value != NULL && napi_get_value_uint32(env, value, out) != napi_ok)
    return ks_throw_argument(env, "an option that is a number is something else");
  return true;
}

bool ks_read_address(napi_env env, napi_value value, enum ks_family family,
                     struct ks_address *address) {
  napi_value text_value;
  char text[INET6_ADDRSTRLEN];
  uint32_t port = UINT32_MAX;
  if (!ks_read_property(env, value, "address", &text_value) ||
      !ks_read_uint32_property(env, value, "port", &port))
    return false;
  if (text_value == NULL)
    return ks_throw_argument(env, "an address is missing");
  if (!ks_read_text(env, text_value, text, sizeof(text)))
    return false;
  memset(address, 0, sizeof(*address));
  address->family = family;
  if (inet_pton(family == KS_IPV6 ? AF_INET6 : AF_INET, text, address->address) != 1)
    return ks_throw_argument(env, "address is not one of the socket's family");
  if (port > UINT16_MAX)
    return ks_throw_argument(env, "port must be 0 to 65535");
  address->port = (uint16_t)port;
  return true;
}

void ks_throw_kernel(napi_env env, int negative_errno, const char *syscall, const char *text) {
  const char *name = strerrorname_np(-negative_errno);
  char number[16];
  char message[320];
  if (name == NULL) {
    snprintf(number, sizeof(number), "E%d", -negative_errno);
    name = number;
  }
  const char *description = strerrordesc_np(-negative_errno);
  bool has_text = text != NULL && text[0] != '\0';
  snprintf(message, sizeof(message), "%s%s%s", has_text ? text : "", has_text ? ": " : "",
           description ? description : "unknown error");
  napi_value code, message_value, error, errno_value, syscall_value;
  if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code) == napi_ok &&
      napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &message_value) == napi_ok &&
      napi_create_error(env, code, message_value, &error) == napi_ok &&
      napi_create_int32(env, negative_errno, &errno_value) == napi_ok &&
      napi_set_named_property(env, error, "errno", errno_value) == napi_ok &&
      napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &syscall_value) == napi_ok &&
      napi_set_named_property(env, error, "syscall", syscall_value) == napi_ok)
    napi_throw(env, error);
}

void ks_throw_errno(napi_env env, int negative_errno, const char *syscall) {
  ks_throw_kernel(env, negative_errno, syscall, NULL);
}

bool ks_read_array(napi_env env, napi_value value, napi_typedarray_type type, size_t length,
                   void **data) {
  napi_typedarray_type given = napi_int8_array;
  size_t given_length = 0;
  if (napi_get_typedarray_info(env, value, &given, &given_length, data, NULL, NULL) != napi_ok ||
      given != type || given_length < length)
    return ks_throw_argument(env, "a typed array is missing, of another type, or too short");
  return true;
}
