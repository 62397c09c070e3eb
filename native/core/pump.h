/*
 * The pump: a thread that relays TCP connections. It accepts, asks for a verdict, connects, and
 * moves the bytes; who goes where is decided by whoever holds it.
 *
 *   holder                         pump's thread
 *   ks_pump_listen  ------------>  accept4
 *   ks_pump_receive <------------  accepted
 *   ks_pump_answer  ------------>  connect    -> connected | failed
 *                                  splice, recv and send -> returned | closed
 *
 * A connection is a slot, a small number. What happened to it since the holder last looked is one
 * record with a bit for each event, so no more than one record a connection ever waits. The slot
 * belongs to the connection until the holder has received its KS_PUMP_CLOSED.
 *
 * All calls but ks_pump_close may be made while the thread runs, by one thread at a time. They
 * return 0 (or what they say) and -errno; `*step` names the system call that failed.
 */
#ifndef KS_PUMP_H
#define KS_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sock.h"

struct ks_pump;

struct ks_pump_options {
  bool uses_splice;         /* else recv and send only */
  uint32_t max_pipes;       /* of two descriptors each; beyond them bytes are copied */
  uint32_t max_connections; /* slots; beyond them what is accepted is reset */
  uint32_t max_waiting;     /* connections without a verdict; beyond them nothing is accepted */
  /* Records wait: called by the pump's thread, once until they are received. */
  void (*on_events)(void *user);
  void *user;
};

enum ks_pump_event {
  KS_PUMP_ACCEPTED = 1,  /* needs a verdict */
  KS_PUMP_CONNECTED = 2, /* to the endpoint; bytes move */
  KS_PUMP_FAILED = 4,    /* the connect did: needs a verdict */
  /* The endpoint reset it before a byte went either way; the client is as it was: needs a verdict. */
  KS_PUMP_RETURNED = 8,
  KS_PUMP_CLOSED = 16, /* both sides; the slot is free */
  /*
   * The connect takes longer than the patience for it: needs a verdict, KS_PUMP_WAIT or another
   * KS_PUMP_CONNECT, and what comes of it meanwhile is not acted on.
   */
  KS_PUMP_SILENT = 32,
  /* Only where a first byte is waited for (KS_PUMP_FIRST_BYTE_MS); neither needs a verdict. */
  KS_PUMP_SPOKE = 64, /* the first byte of the endpoint has come */
  KS_PUMP_MUTE = 128, /* it has not, for that long since the client last sent something; once */
};

/* Words of a record. Addresses are bytes in network order, ports and numbers in host order. */
enum ks_pump_word {
  KS_PUMP_SLOT,
  KS_PUMP_EVENTS,
  KS_PUMP_LISTENER,
  KS_PUMP_FAMILY, /* 4 or 6 */
  KS_PUMP_CLIENT,
  KS_PUMP_CLIENT_PORT = KS_PUMP_CLIENT + 4,
  KS_PUMP_HAS_DESTINATION, /* only of a listener of redirected connections */
  KS_PUMP_DESTINATION,
  KS_PUMP_DESTINATION_PORT = KS_PUMP_DESTINATION + 4,
  KS_PUMP_ERRNO,          /* of FAILED */
  KS_PUMP_CONNECT_MICROS, /* of CONNECTED */
  KS_PUMP_END,            /* of CLOSED */
  KS_PUMP_BYTES_UP,       /* of CLOSED, from the client; low word, high word */
  KS_PUMP_BYTES_DOWN = KS_PUMP_BYTES_UP + 2,
  KS_PUMP_IS_PICKED = KS_PUMP_BYTES_DOWN + 2, /* connected by a verdict given ahead */
  KS_PUMP_RECORD_WORDS
};

enum ks_pump_end {
  KS_PUMP_ENDED,     /* each side with a FIN */
  KS_PUMP_CUT,       /* by a reset of one side, or by verdict */
  KS_PUMP_TIMED_OUT, /* no byte for too long */
};

enum ks_pump_verdict {
  KS_PUMP_CONNECT = 1,
  KS_PUMP_RESET = 2, /* also of a connection that is open */
  KS_PUMP_WAIT = 3,  /* for the connect that is silent, as long as it may take */
};

/* Words of a verdict. */
enum ks_pump_verdict_word {
  KS_PUMP_TO_SLOT,
  KS_PUMP_VERDICT,
  KS_PUMP_TO_FAMILY,
  KS_PUMP_TO,
  KS_PUMP_TO_PORT = KS_PUMP_TO + 4,
  KS_PUMP_TIMEOUT_MS,
  KS_PUMP_PATIENCE_MS, /* as long as the time-out or longer: never silent */
  KS_PUMP_HAS_SOURCE, /* 1: connect from this address (IP_TRANSPARENT), port by the kernel */
  KS_PUMP_SOURCE,
  KS_PUMP_FIRST_BYTE_MS = KS_PUMP_SOURCE + 4, /* 0: nobody waits for it */
  KS_PUMP_VERDICT_WORDS
};

enum ks_pump_counter {
  KS_PUMP_OPEN,              /* connections now, those without a verdict included */
  KS_PUMP_ACCEPTS,           /* ever */
  KS_PUMP_ACCEPTS_REFUSED,   /* reset because every slot was taken */
  KS_PUMP_ACCEPT_PAUSES,     /* because too many waited for a verdict, or descriptors ran out */
  KS_PUMP_BYTES_SPLICED,     /* moved inside the kernel */
  KS_PUMP_BYTES_COPIED,      /* by recv and send */
  KS_PUMP_PIPES,             /* that exist */
  KS_PUMP_PIPES_MISSED,      /* times that none was left, so that bytes were copied */
  KS_PUMP_HAND_OVERS,        /* times that on_events was called */
  KS_PUMP_PICKS_USED,        /* connections that a verdict given ahead was there for */
  KS_PUMP_COUNTERS
};

/* Starts the thread. */
int ks_pump_open(const struct ks_pump_options *options, struct ks_pump **pump, const char **step);

/* Stops the thread, closes the listeners, resets what is open. on_events is not called any more. */
void ks_pump_close(struct ks_pump *pump);

/*
 * Listens on a bound socket and accepts from it; the descriptor belongs to the pump if this
 * succeeds. Returns the number of the listener for the records. With `is_redirected` each record has
 * the destination from before nat.
 */
int ks_pump_listen(struct ks_pump *pump, int fd, enum ks_family family, int backlog,
                   bool is_redirected, const char **step);

/* Closes a listener: nothing is accepted from it after this returns. -EBADF: there is no such one. */
int ks_pump_unlisten(struct ks_pump *pump, uint32_t listener, const char **step);

/* Takes at most `capacity` records, the oldest first; returns how many. */
uint32_t ks_pump_receive(struct ks_pump *pump, uint32_t *records, uint32_t capacity);

/*
 * Verdicts. One for a connection that has closed meanwhile is passed over; -EINVAL, and none is
 * taken, when a slot or verdict is none at all.
 */
int ks_pump_answer(struct ks_pump *pump, const uint32_t *verdicts, uint32_t count,
                   const char **step);

/*
 * Verdicts given ahead: as long as there are some the next connections of the listener are connected
 * at once, in their order, and the holder is told some milliseconds later, or when half of them are
 * used. They are added to those that are left; KS_PUMP_TO_SLOT is not read, and each is
 * KS_PUMP_CONNECT. -EBADF: there is no such listener; -EINVAL: none was taken.
 */
enum { KS_PUMP_MAX_PICKS = 1024 };
int ks_pump_pick(struct ks_pump *pump, uint32_t listener, const uint32_t *verdicts, uint32_t count,
                 const char **step);

/* Takes back those that were not used; returns how many, the last ones that were given. */
uint32_t ks_pump_unpick(struct ks_pump *pump, uint32_t listener);

/* From now on; both sides are closed when no byte came for that long. */
void ks_pump_set_timeouts(struct ks_pump *pump, uint32_t idle_ms, uint32_t half_closed_ms);

void ks_pump_count(struct ks_pump *pump, uint64_t counters[KS_PUMP_COUNTERS]);

#endif
