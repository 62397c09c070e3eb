#include "memory.h"

#include "../core/memory.h"

/* releaseMemory(): boolean - free pages of malloc's go back to the system; whether there were any. */
static napi_value release_memory(napi_env env, napi_callback_info info) {
  napi_value result = NULL;
  (void)info;
  napi_get_boolean(env, ks_memory_release(), &result);
  return result;
}

napi_status ks_binding_memory(napi_env env, napi_value exports) {
  const napi_property_descriptor calls[] = {
      {"releaseMemory", NULL, release_memory, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  return napi_define_properties(env, exports, sizeof(calls) / sizeof(calls[0]), calls);
}
