/* The socket calls of src/kernel/addon-types.ts. */
#ifndef KS_BINDING_SOCKET_H
#define KS_BINDING_SOCKET_H

#include <node_api.h>

/* Adds the calls to `exports`. */
napi_status ks_binding_socket(napi_env env, napi_value exports);

#endif
