#ifndef KS_BINDING_QUEUE_H
#define KS_BINDING_QUEUE_H

#include <node_api.h>

/* Defines openQueue and the calls on what it returns. */
napi_status ks_binding_queue(napi_env env, napi_value exports);

#endif
