/*
 * Many short TCP connections without an event for each: connects that are begun, and one poll(2) for
 * all that wait. For health checks, of which there may be thousands a second.
 *
 * Functions return what they say, or -errno; they never print, block, or abort.
 */
#ifndef KS_DIAL_H
#define KS_DIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sock.h"

enum ks_dial_wait {
  KS_DIAL_CONNECT = 0, /* for the connect to succeed or fail */
  KS_DIAL_RECEIVE = 1  /* for bytes, the end, or a reset */
};

/*
 * Begins a connect; the descriptor is non-blocking and close-on-exec. With `resets` its close sends a
 * RST and leaves nothing behind on either side.
 */
int ks_dial(const struct ks_address *to, bool resets);

/*
 * Looks at `count` descriptors, each waiting for wants[i]; a negative one is skipped. results[i]: 0
 * when it waits still, 1 when it need not wait any more, -errno of a connect that failed. Returns how
 * many are not 0.
 */
int ks_dial_poll(const int32_t *fds, const uint8_t *wants, int32_t *results, uint32_t count);

/* Bytes that went out, and that came in: 0 is the end. -EAGAIN when there are none. */
int ks_dial_send(int fd, const void *bytes, size_t length);
int ks_dial_receive(int fd, void *bytes, size_t length);

#endif
