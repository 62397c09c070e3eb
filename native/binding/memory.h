/* The memory call of src/kernel/addon-types.ts. */
#ifndef KS_BINDING_MEMORY_H
#define KS_BINDING_MEMORY_H

#include <node_api.h>

/* Adds the call to `exports`. */
napi_status ks_binding_memory(napi_env env, napi_value exports);

#endif
