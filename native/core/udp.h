/*
 * Relays datagrams: a thread that has a session for each client (address and port) of each listener,
 * with a socket of its own that is connected to an endpoint. It asks where a new session goes; which
 * endpoint that is, is decided by whoever holds it.
 *
 *   holder                        its thread
 *   ks_udp_listen  ------------>  recvmmsg; a datagram of nobody known: a session
 *   ks_udp_receive <------------  new
 *   ks_udp_answer  ------------>  socket and connect -> connected; send
 *                                 recvmmsg, sendmmsg -> answered | refused | silent
 *                                 idle, or to make room -> closed
 *
 * What an endpoint has not answered yet is kept, KS_UDP_KEPT datagrams and KS_UDP_KEPT_BYTES of a session
 * at most: it goes out once the session has its endpoint, and once more when that refuses it and
 * another one takes its place. What cannot be sent at once is dropped and counted, as by the kernel.
 *
 * A session is a slot, a small number, and as in pump.h one record with a bit for each event; the slot
 * belongs to the session until the holder has received its KS_UDP_CLOSED.
 *
 * All calls but ks_udp_close may be made while the thread runs, by one thread at a time. They return 0
 * (or what they say) and -errno; `*step` names the system call that failed.
 */
#ifndef KS_UDP_H
#define KS_UDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sock.h"

enum {
  KS_UDP_KEPT = 8,
  KS_UDP_KEPT_BYTES = 65536,          /* one datagram of the largest size always fits */
  KS_UDP_ALL_KEPT_BYTES = 64 << 20,   /* of all sessions */
  KS_UDP_SILENT_MS = 300,             /* datagrams that come this close together are one burst */
};

struct ks_udp;

struct ks_udp_options {
  uint32_t max_sessions; /* the one that no client has used for longest makes room */
  /* Records wait: called by the thread, once until they are received. */
  void (*on_events)(void *user);
  void *user;
};

enum ks_udp_event {
  KS_UDP_NEW = 1,       /* needs a verdict */
  KS_UDP_CONNECTED = 2, /* as the verdict says */
  /* By the endpoint: the first time with KS_UDP_LATENCY_MICROS, then once a second at most. */
  KS_UDP_ANSWERED = 4,
  /* Nobody listens there: needs a verdict, unless it is closed (nothing was left unanswered). */
  KS_UDP_REFUSED = 8,
  /*
   * The client goes on though nothing has been answered for KS_UDP_SILENT_MS; told as often at most.
   * KS_UDP_CONNECT is allowed, no verdict is needed.
   */
  KS_UDP_SILENT = 16,
  KS_UDP_CLOSED = 32, /* the slot is free */
};

/* Words of a record. Addresses are bytes in network order, ports and numbers in host order. */
enum ks_udp_word {
  KS_UDP_SLOT,
  KS_UDP_EVENTS,
  KS_UDP_LISTENER,
  KS_UDP_FAMILY, /* 4 or 6 */
  KS_UDP_CLIENT,
  KS_UDP_CLIENT_PORT = KS_UDP_CLIENT + 4,
  KS_UDP_ATTEMPT,         /* that CONNECTED, ANSWERED and SILENT are of */
  KS_UDP_REFUSED_ATTEMPT, /* of REFUSED */
  KS_UDP_LATENCY_MICROS,  /* of ANSWERED, plus 1; 0: told before */
  KS_UDP_END,             /* of CLOSED, like all that follows */
  KS_UDP_ERRNO,           /* of KS_UDP_FAILED */
  KS_UDP_HAS_REPLY,
  KS_UDP_BYTES_UP, /* from the client; low word, high word */
  KS_UDP_BYTES_DOWN = KS_UDP_BYTES_UP + 2,
  KS_UDP_RECORD_WORDS = KS_UDP_BYTES_DOWN + 2
};

enum ks_udp_end {
  KS_UDP_EXPIRED, /* idle for too long */
  KS_UDP_ENDED,   /* by verdict, with its listener, or refused with nothing to send again */
  KS_UDP_EVICTED, /* made room for another one */
  KS_UDP_FAILED,  /* this host has no socket for it, or no route */
};

enum ks_udp_verdict {
  KS_UDP_CONNECT = 1, /* also of a session that has an endpoint */
  KS_UDP_STOP = 2,    /* closed; the client's next datagram begins anew */
};

/* Words of a verdict. */
enum ks_udp_verdict_word {
  KS_UDP_TO_SLOT,
  KS_UDP_VERDICT,
  KS_UDP_TO_FAMILY,
  KS_UDP_TO,
  KS_UDP_TO_PORT = KS_UDP_TO + 4,
  KS_UDP_TO_ATTEMPT, /* what records are to say of it */
  KS_UDP_HAS_SOURCE, /* 1: connect from this address (IP_TRANSPARENT), port by the kernel */
  KS_UDP_SOURCE,
  KS_UDP_VERDICT_WORDS = KS_UDP_SOURCE + 4
};

enum ks_udp_counter {
  KS_UDP_SESSIONS,           /* now */
  KS_UDP_SENT_UP,            /* datagrams that the kernel took, to endpoints */
  KS_UDP_SENT_DOWN,          /* to clients */
  KS_UDP_DROPPED_FULL,       /* a socket had no room, or too much was kept */
  KS_UDP_DROPPED_ERROR,      /* the kernel refused to send it */
  KS_UDP_DROPPED_TOO_LONG,   /* more than 65,535 bytes */
  KS_UDP_DROPPED_NO_SESSION, /* every slot is taken: the holder is behind */
  KS_UDP_EVICTIONS,
  KS_UDP_COUNTERS
};

/* Starts the thread. */
int ks_udp_open(const struct ks_udp_options *options, struct ks_udp **udp, const char **step);

/* Stops the thread, closes listeners and sessions. on_events is not called any more. */
void ks_udp_close(struct ks_udp *udp);

/*
 * Receives from a bound, non-blocking socket, whose address answers come from; the descriptor belongs to
 * the relay if this succeeds. Its buffers get `buffer_bytes` where that is allowed. Returns the
 * number of the listener for the records.
 */
int ks_udp_listen(struct ks_udp *udp, int fd, int buffer_bytes, const char **step);

/*
 * Closes a listener and its sessions; the socket is closed when this returns. It waits for the thread to
 * come to the end of its turn. -EBADF: there is no such one.
 */
int ks_udp_unlisten(struct ks_udp *udp, uint32_t listener, const char **step);

/* Takes at most `capacity` records, the oldest first; returns how many. */
uint32_t ks_udp_receive(struct ks_udp *udp, uint32_t *records, uint32_t capacity);

/*
 * Verdicts. One for a session that has closed meanwhile is passed over; -EINVAL, and none is taken,
 * when a slot or verdict is none at all.
 */
int ks_udp_answer(struct ks_udp *udp, const uint32_t *verdicts, uint32_t count, const char **step);

struct ks_udp_timeouts {
  uint32_t idle_ms;         /* of a session without a reply */
  uint32_t stream_ms;       /* of one that has had one */
  uint32_t retry_within_ms; /* older datagrams are not sent to a second endpoint */
};

/* From now on, for all sessions. */
void ks_udp_set_timeouts(struct ks_udp *udp, const struct ks_udp_timeouts *timeouts);

void ks_udp_count(struct ks_udp *udp, uint64_t counters[KS_UDP_COUNTERS]);

#endif
