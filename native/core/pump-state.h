/* What the parts of the pump share; nobody else includes this. See pump.h. */
#ifndef KS_PUMP_STATE_H
#define KS_PUMP_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "pump.h"
#include "wheel.h"

/*
 * One recv takes this much. A read that fills it tells a stream of bulk from an exchange of short
 * messages: the stream is spliced from then on.
 */
enum { KS_PUMP_COPY_BYTES = 16 * 1024 };

/* What epoll gives back: a connection's is generation << 32 | slot << 1 | side. */
#define KS_PUMP_KEY_LISTENER (UINT64_C(1) << 62) /* | index */
#define KS_PUMP_KEY_EVENT (UINT64_C(1) << 63)
#define KS_PUMP_GENERATIONS 0x3fffffffu

enum ks_connection_state {
  KS_CONNECTION_CLOSED,  /* or there was none yet */
  KS_CONNECTION_WAITING, /* for a verdict */
  KS_CONNECTION_CONNECTING,
  KS_CONNECTION_SILENT, /* still connecting, for a verdict */
  KS_CONNECTION_JOINED,
};

struct ks_pipe {
  struct ks_pipe *next; /* in the pool */
  int read_fd, write_fd;
  size_t capacity;
};

/* Of a connection: sides[0] is the client, sides[1] the endpoint. */
struct ks_side {
  int fd; /* -1: none */
  /* As far as is known: epoll is edge-triggered. */
  bool can_read, can_write;
  bool has_hung_up; /* FIN or RST came: read on to the end */
};

/* flows[0]: from client to endpoint. */
struct ks_flow {
  struct ks_pipe *pipe; /* while it holds something */
  uint8_t *rest;        /* what a send did not take, copied */
  uint32_t rest_at;
  uint32_t held; /* bytes in the pipe, or from rest_at on */
  uint64_t bytes;
  bool is_bulk;
  bool has_ended; /* its FIN was read */
  bool is_passed; /* and sent on */
};

/* Where a connection is to go, as the holder has said. */
struct ks_target {
  struct ks_address to, source;
  bool has_source;
  uint32_t timeout_ms, patience_ms, first_byte_ms;
};

struct ks_connection {
  uint32_t slot;
  /* The pump's thread: */
  enum ks_connection_state state;
  uint32_t generation; /* of its descriptors; tells events of earlier ones apart */
  struct ks_side sides[2];
  struct ks_flow flows[2];
  struct ks_timer timer; /* `connects` while it connects, `idles` once it is joined */
  int64_t active_ms;
  int64_t started_us; /* of the connect */
  int64_t connect_due_ms;
  bool was_silent;
  bool has_options; /* the endpoint's socket: without delay, kept alive */
  uint32_t late_events; /* of epoll, while it is silent */
  /* Joined, and the endpoint has said nothing yet: the timer runs from the client's first byte on. */
  bool awaits_byte, is_mute;
  struct ks_timer first_byte;
  struct ks_connection *next_again;
  bool is_again;
  /* Under the lock: */
  struct ks_connection *next_event, *next_command; /* next_event: also of the free ones */
  uint32_t events;
  uint32_t verdict; /* 0: none waits */
  uint32_t listener;
  uint32_t connect_us;
  int error;
  enum ks_pump_end end;
  bool is_released; /* CLOSED was received, a verdict is still in the list */
  bool has_destination, is_picked;
  struct ks_address client, destination; /* set before ACCEPTED */
  struct ks_target target;               /* of the verdict */
};

struct ks_listener {
  int fd; /* -1: free */
  struct ks_target *picks; /* from first_pick on; NULL: there were none yet */
  uint32_t first_pick, pick_count;
  uint32_t low_picks; /* so many left are few */
  enum ks_family family;
  bool is_redirected;
  uint32_t generation; /* of its place in the table */
};

enum { KS_PUMP_CHUNK = 256 };

struct ks_pump {
  struct ks_pump_options options;
  int epoll_fd, event_fd;
  pthread_t thread;
  atomic_bool must_stop;
  atomic_int_fast64_t idle_ms, half_closed_ms;
  atomic_uint_fast64_t counters[KS_PUMP_COUNTERS];

  pthread_mutex_t lock;
  struct ks_connection *first_event, *last_event;
  struct ks_connection *first_command, *last_command;
  struct ks_connection *first_free;
  struct ks_connection **chunks; /* written by the pump's thread */
  uint32_t slots;
  bool is_sleeping; /* the pump's thread, in epoll_wait */
  bool is_told;     /* on_events was called for what waits */

  /* Held while connections are accepted, so that a listener can be closed in between. */
  pthread_mutex_t listener_lock;
  struct ks_listener *listeners;
  uint32_t listener_count;

  /* The pump's thread: */
  int64_t now_ms;
  struct ks_wheel connects, idles, first_bytes;
  struct ks_connection *first_again;
  struct ks_pipe *first_pipe;
  uint32_t pipes; /* that exist */
  uint32_t waiting;
  bool is_paused;     /* nothing is accepted */
  int64_t resume_ms;  /* INT64_MAX: when enough have their verdict */
  bool must_tell;     /* at the end of the turn */
  int64_t tell_at_ms; /* 0: nothing waits that could be told later */
  uint8_t *buffer;    /* KS_PUMP_COPY_BYTES */
};

static inline void ks_pump_add(struct ks_pump *pump, enum ks_pump_counter counter, int64_t count) {
  atomic_fetch_add_explicit(&pump->counters[counter], (uint64_t)count, memory_order_relaxed);
}

/* pump-exchange.c: records and verdicts. */

/* A free slot; NULL when there is none. */
struct ks_connection *ks_pump_take_slot(struct ks_pump *pump);
/* Tells the holder; `must_wake`: at the end of this turn, else within some milliseconds. */
void ks_pump_publish(struct ks_pump *pump, struct ks_connection *connection,
                     enum ks_pump_event event, bool must_wake);
/* The next connection with a verdict, which is in `*verdict`; NULL when there is none left. */
struct ks_connection *ks_pump_next_verdict(struct ks_pump *pump, uint32_t *verdict);
/* True when no verdict waits: from then on one that comes writes to event_fd. */
bool ks_pump_falls_asleep(struct ks_pump *pump);
void ks_pump_wakes_up(struct ks_pump *pump);
/* Calls on_events if it is time. */
void ks_pump_tell(struct ks_pump *pump);

void ks_pump_read_target(const uint32_t *words, struct ks_target *target);
bool ks_pump_is_connect(const uint32_t *words);

/* pump-picks.c: verdicts given ahead; under the listener lock. */

/* The next one; false: there is none. `*is_low`: the holder is to be asked for more. */
bool ks_pump_take_pick(struct ks_listener *listener, struct ks_target *target, bool *is_low);
void ks_pump_drop_picks(struct ks_listener *listener);

/* pump-accept.c */

/* Under the listener lock; NULL: there is none of that number. */
struct ks_listener *ks_pump_listener(struct ks_pump *pump, uint32_t number);

/* Listens to all listeners again, or to none of them. */
void ks_pump_set_paused(struct ks_pump *pump, bool is_paused);
void ks_pump_accept(struct ks_pump *pump, uint32_t index);

/* pump-connect.c */

void ks_pump_connect(struct ks_pump *pump, struct ks_connection *connection);
/* Epoll says something about a connect, or its time is over. */
void ks_pump_connect_event(struct ks_pump *pump, struct ks_connection *connection, uint32_t events);
void ks_pump_connect_timeout(struct ks_pump *pump, struct ks_connection *connection);
/* A silent one gets the time that is left. */
void ks_pump_connect_wait(struct ks_pump *pump, struct ks_connection *connection);
uint64_t ks_pump_event_key(const struct ks_connection *connection, int side);

/* pump-relay.c */

/* Moves what can be moved. The first send to the endpoint needs no socket options: see set_options. */
void ks_pump_relay(struct ks_pump *pump, struct ks_connection *connection);
void ks_pump_idle_timeout(struct ks_pump *pump, struct ks_connection *connection);
void ks_pump_first_byte_timeout(struct ks_pump *pump, struct ks_connection *connection);
/* Ends a connection in any state. A side that is left is reset when it is KS_PUMP_CUT. */
void ks_pump_end(struct ks_pump *pump, struct ks_connection *connection, enum ks_pump_end end);

/* pump-pipes.c: the pool. */

/* NULL when the bound is reached or the kernel gives none. */
struct ks_pipe *ks_pump_take_pipe(struct ks_pump *pump);
/* An empty one goes back to the pool, one with bytes in it is closed. */
void ks_pump_give_pipe(struct ks_pump *pump, struct ks_pipe *pipe, bool is_empty);
void ks_pump_close_pipes(struct ks_pump *pump);

#endif
