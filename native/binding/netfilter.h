#ifndef KS_BINDING_NETFILTER_H
#define KS_BINDING_NETFILTER_H

#include <node_api.h>

/* Defines openNetfilter, changeElements, dumpElements and changeIpset. */
napi_status ks_binding_netfilter(napi_env env, napi_value exports);

#endif
