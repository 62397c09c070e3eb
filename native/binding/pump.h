#ifndef KS_BINDING_PUMP_H
#define KS_BINDING_PUMP_H

#include <node_api.h>

/* Defines the calls that relay TCP connections. */
napi_status ks_binding_pump(napi_env env, napi_value exports);

#endif
