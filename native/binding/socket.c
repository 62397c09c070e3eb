#include "socket.h"

#include <arpa/inet.h>
#include <string.h>

#include "value.h"

static bool read_options(napi_env env, napi_value object, struct ks_sock_options *options) {
  napi_value type_value, family_value, bind_value, filter_value;
  char type[8];
  if (!ks_read_property(env, object, "type", &type_value) ||
      !ks_read_property(env, object, "family", &family_value) ||
      !ks_read_property(env, object, "bind", &bind_value) ||
      !ks_read_property(env, object, "filter", &filter_value))
    return false;
  if (type_value == NULL || family_value == NULL)
    return ks_throw_argument(env, "type and family are needed");
  if (!ks_read_text(env, type_value, type, sizeof(type)) ||
      !ks_read_family(env, family_value, &options->family))
    return false;
  options->is_udp = strcmp(type, "udp") == 0;
  if (!options->is_udp && strcmp(type, "tcp") != 0)
    return ks_throw_argument(env, "type must be tcp or udp");
  options->reuse_address = !options->is_udp;
  if (!ks_read_bool_property(env, object, "transparent", &options->is_transparent) ||
      !ks_read_bool_property(env, object, "freebind", &options->is_freebind) ||
      !ks_read_bool_property(env, object, "reuseAddress", &options->reuse_address) ||
      !ks_read_bool_property(env, object, "bindAddressNoPort", &options->bind_no_port) ||
      !ks_read_uint32_property(env, object, "mark", &options->mark))
    return false;
  options->has_bind = bind_value != NULL;
  if (options->has_bind && !ks_read_address(env, bind_value, options->family, &options->bind))
    return false;
  /* Last: the pointer is good only as long as no JavaScript (a getter) runs. */
  return filter_value == NULL ||
         ks_read_filter(env, filter_value, &options->filter, &options->filter_length);
}

/* openSocket(options): number - a socket with the given options, not listening, not connected. */
static napi_value open_socket(napi_env env, napi_callback_info info) {
  napi_value argument, result = NULL;
  struct ks_sock_options options = {0};
  const char *step = "";
  if (!ks_read_arguments(env, info, 1, &argument) || !read_options(env, argument, &options))
    return NULL;
  int fd = ks_sock_open(&options, &step);
  if (fd < 0)
    ks_throw_errno(env, fd, step);
  else
    napi_create_int32(env, fd, &result);
  return result;
}

/* closeSocket(fd) - close(2), for a descriptor that was never handed to Node. */
static napi_value close_socket(napi_env env, napi_callback_info info) {
  napi_value argument;
  const char *step = "";
  int fd;
  if (!ks_read_arguments(env, info, 1, &argument) || !ks_read_fd(env, argument, &fd))
    return NULL;
  int error = ks_sock_close(fd, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

/* setSocketFilter(fd, filter) - replaces the filter in one step; an empty program detaches it. */
static napi_value set_socket_filter(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  const struct sock_filter *filter;
  const char *step = "";
  uint16_t length;
  int fd;
  if (!ks_read_arguments(env, info, 2, arguments) || !ks_read_fd(env, arguments[0], &fd) ||
      !ks_read_filter(env, arguments[1], &filter, &length))
    return NULL;
  int error = ks_sock_set_filter(fd, filter, length, &step);
  if (error)
    ks_throw_errno(env, error, step);
  return NULL;
}

static napi_value address_value(napi_env env, const struct ks_address *address) {
  char text[INET6_ADDRSTRLEN];
  napi_value object, text_value, port_value;
  int domain = address->family == KS_IPV6 ? AF_INET6 : AF_INET;
  if (inet_ntop(domain, address->address, text, sizeof(text)) == NULL ||
      napi_create_object(env, &object) != napi_ok ||
      napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &text_value) != napi_ok ||
      napi_create_uint32(env, address->port, &port_value) != napi_ok ||
      napi_set_named_property(env, object, "address", text_value) != napi_ok ||
      napi_set_named_property(env, object, "port", port_value) != napi_ok)
    return NULL;
  return object;
}

/* originalDestination(fd, family): { address, port } - before nat; ENOENT when not translated. */
static napi_value original_destination(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  struct ks_address destination;
  enum ks_family family;
  const char *step = "";
  int fd;
  if (!ks_read_arguments(env, info, 2, arguments) || !ks_read_fd(env, arguments[0], &fd) ||
      !ks_read_family(env, arguments[1], &family))
    return NULL;
  int error = ks_sock_original_destination(fd, family, &destination, &step);
  if (error) {
    ks_throw_errno(env, error, step);
    return NULL;
  }
  return address_value(env, &destination);
}

/* boundPort(fd): number - the local port of a socket. */
static napi_value bound_port(napi_env env, napi_callback_info info) {
  napi_value argument, result = NULL;
  const char *step = "";
  uint16_t port;
  int fd;
  if (!ks_read_arguments(env, info, 1, &argument) || !ks_read_fd(env, argument, &fd))
    return NULL;
  int error = ks_sock_bound_port(fd, &port, &step);
  if (error)
    ks_throw_errno(env, error, step);
  else
    napi_create_uint32(env, port, &result);
  return result;
}

/* raiseFileLimit(wanted): number - the soft RLIMIT_NOFILE now in force. */
static napi_value raise_file_limit(napi_env env, napi_callback_info info) {
  napi_value argument, result = NULL;
  const char *step = "";
  uint32_t wanted;
  uint64_t now;
  if (!ks_read_arguments(env, info, 1, &argument))
    return NULL;
  if (napi_get_value_uint32(env, argument, &wanted) != napi_ok) {
    ks_throw_argument(env, "wanted must be a number");
    return NULL;
  }
  int error = ks_file_limit_raise(wanted, &now, &step);
  if (error)
    ks_throw_errno(env, error, step);
  else
    napi_create_double(env, (double)now, &result);
  return result;
}

napi_status ks_binding_socket(napi_env env, napi_value exports) {
  const napi_property_attributes attributes = napi_enumerable;
  const napi_property_descriptor calls[] = {
      {"openSocket", NULL, open_socket, NULL, NULL, NULL, attributes, NULL},
      {"closeSocket", NULL, close_socket, NULL, NULL, NULL, attributes, NULL},
      {"setSocketFilter", NULL, set_socket_filter, NULL, NULL, NULL, attributes, NULL},
      {"originalDestination", NULL, original_destination, NULL, NULL, NULL, attributes, NULL},
      {"boundPort", NULL, bound_port, NULL, NULL, NULL, attributes, NULL},
      {"raiseFileLimit", NULL, raise_file_limit, NULL, NULL, NULL, attributes, NULL},
  };
  return napi_define_properties(env, exports, sizeof(calls) / sizeof(calls[0]), calls);
}
