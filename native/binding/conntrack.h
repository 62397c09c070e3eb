#ifndef KS_BINDING_CONNTRACK_H
#define KS_BINDING_CONNTRACK_H

#include <node_api.h>

/* Defines the calls on the table of connections. */
napi_status ks_binding_conntrack(napi_env env, napi_value exports);

#endif
