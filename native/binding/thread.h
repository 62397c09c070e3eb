/*
 * Threads of the addon (../core/pump.h, ../core/udp.h) as JavaScript holds them: opened with a function
 * that is called when records wait, stopped by a call, by the garbage collector, or when the environment
 * ends (a worker, the process), whoever holds what.
 */
#ifndef KS_BINDING_THREAD_H
#define KS_BINDING_THREAD_H

#include "value.h"

struct ks_thread_kind {
  napi_type_tag tag;
  const char *name;
  const char *stranger; /* what is thrown for a value of another kind, */
  const char *closed;   /* and for one that was closed */
  void (*close)(void *thread);
};

struct ks_thread_handle;

/* Begins to open one; NULL when an exception is pending. Its thread calls ks_thread_wake(handle). */
struct ks_thread_handle *ks_thread_prepare(napi_env env, const struct ks_thread_kind *kind,
                                           napi_value on_events);
void ks_thread_wake(void *handle);

/* Ends what ks_thread_prepare began: the value to return, or NULL with `error` thrown. */
napi_value ks_thread_opened(napi_env env, struct ks_thread_handle *handle, void *thread, int error,
                            const char *step);

/* The running thread; NULL when an exception is pending. */
void *ks_read_thread(napi_env env, napi_value value, const struct ks_thread_kind *kind);

/* A call with a thread as its only argument, which it stops; twice is fine. */
napi_value ks_thread_close(napi_env env, napi_callback_info info,
                           const struct ks_thread_kind *kind);

/* A Uint32Array for whole records of `words` words: as many as fit in `*capacity`. */
bool ks_read_records(napi_env env, napi_value value, uint32_t words, uint32_t **records,
                     uint32_t *capacity);

/* `count`, and a Uint32Array that holds so many verdicts of `words` words. */
bool ks_read_verdicts(napi_env env, napi_value array, napi_value count_value, uint32_t words,
                      const uint32_t **verdicts, uint32_t *count);

/* Fills a Float64Array of `count`. */
bool ks_write_counters(napi_env env, napi_value array, const uint64_t *counters, uint32_t count);

#endif
