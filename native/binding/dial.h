/* The calls of src/kernel/addon-types.ts for many short connections. */
#ifndef KS_BINDING_DIAL_H
#define KS_BINDING_DIAL_H

#include <node_api.h>

/* Adds the calls to `exports`. */
napi_status ks_binding_dial(napi_env env, napi_value exports);

#endif
