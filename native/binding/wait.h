#ifndef KS_BINDING_WAIT_H
#define KS_BINDING_WAIT_H

#include <node_api.h>

/* Defines waitReadable, openEvent, signalEvent and clearEvent. */
napi_status ks_binding_wait(napi_env env, napi_value exports);

#endif
