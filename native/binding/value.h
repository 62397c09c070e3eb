/*
 * Reading arguments and raising errors, for the files of this folder. A reader returns false when
 * an exception is pending; the caller then returns NULL at once. Only memory safety is checked
 * here: src/kernel validates meaning and names the mistake.
 */
#ifndef KS_VALUE_H
#define KS_VALUE_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>

#include "../core/sock.h"

/* Reads exactly `count` arguments into `arguments`; throws TypeError when there are fewer. */
bool ks_read_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *arguments);

/* A descriptor: 0..INT32_MAX. */
bool ks_read_fd(napi_env env, napi_value value, int *fd);

bool ks_read_family(napi_env env, napi_value value, enum ks_family *family);

/* A Uint8Array of whole sock_filter instructions, at most BPF_MAXINSNS of them. */
bool ks_read_filter(napi_env env, napi_value value, const struct sock_filter **filter,
                    uint16_t *length);

/* `{ address, port }` of the given family. */
bool ks_read_address(napi_env env, napi_value value, enum ks_family family,
                     struct ks_address *address);

/* A property; *value is NULL when it is absent or undefined. */
bool ks_read_property(napi_env env, napi_value object, const char *name, napi_value *value);

/* A property that may be absent: *out keeps its value then. */
bool ks_read_bool_property(napi_env env, napi_value object, const char *name, bool *out);
bool ks_read_uint32_property(napi_env env, napi_value object, const char *name, uint32_t *out);

/* Text of at most capacity-1 bytes. */
bool ks_read_text(napi_env env, napi_value value, char *text, size_t capacity);

/* Throws TypeError with `message` and code ERR_INVALID_ARG_TYPE. Returns false, for `return`. */
bool ks_throw_argument(napi_env env, const char *message);

/* Throws Error with .code (errno name), .errno (negative, as Node has it) and .syscall. */
void ks_throw_errno(napi_env env, int negative_errno, const char *syscall);

/* The same, with the kernel's own words in front of the description when it had any. */
void ks_throw_kernel(napi_env env, int negative_errno, const char *syscall, const char *text);

/* Bytes of a typed array of that type with at least `length` elements; not kept. */
bool ks_read_array(napi_env env, napi_value value, napi_typedarray_type type, size_t length,
                   void **data);

#endif
