/* The module: puts together the calls of each binding file. It has no state of its own, so it may
 * be loaded by several worker threads and several times in one process. */
#include <node_api.h>

#include "conntrack.h"
#include "dial.h"
#include "memory.h"
#include "netfilter.h"
#include "pump.h"
#include "queue.h"
#include "socket.h"
#include "udp.h"
#include "wait.h"

NAPI_MODULE_INIT() {
  if (ks_binding_socket(env, exports) != napi_ok || ks_binding_queue(env, exports) != napi_ok ||
      ks_binding_wait(env, exports) != napi_ok || ks_binding_netfilter(env, exports) != napi_ok ||
      ks_binding_conntrack(env, exports) != napi_ok || ks_binding_dial(env, exports) != napi_ok ||
      ks_binding_pump(env, exports) != napi_ok || ks_binding_memory(env, exports) != napi_ok ||
      ks_binding_udp(env, exports) != napi_ok)
    napi_throw_error(env, "ERR_ADDON", "the addon's calls could not be defined");
  return exports;
}
