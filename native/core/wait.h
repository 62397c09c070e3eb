/*
 * Waiting for several descriptors at once, and waking a thread that waits. -errno on failure.
 */
#ifndef KS_WAIT_H
#define KS_WAIT_H

#include <stdint.h>

enum { KS_WAIT_MAX = 16 };

/*
 * poll(2) for reading. Returns a bit for each of `count` (at most KS_WAIT_MAX) descriptors that has
 * something to read or has failed; 0 after `timeout_ms` (-1: never) or a signal.
 */
int ks_wait_readable(const int32_t *fds, uint32_t count, int timeout_ms, const char **step);

/* An eventfd(2), non-blocking: readable after a signal, until it is cleared. */
int ks_event_open(const char **step);
int ks_event_signal(int fd, const char **step);
int ks_event_clear(int fd, const char **step);

#endif
