#ifndef KS_BINDING_UDP_H
#define KS_BINDING_UDP_H

#include <node_api.h>

/* Defines the calls that relay datagrams. */
napi_status ks_binding_udp(napi_env env, napi_value exports);

#endif
