/* What the parts of the datagram relay share; nobody else includes this. See udp.h. */
#ifndef KS_UDP_STATE_H
#define KS_UDP_STATE_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "udp.h"
#include "wheel.h"

/* Datagrams that one system call receives or sends, and room for the largest. */
enum { KS_UDP_BATCH = 32, KS_UDP_BYTES = 65536 };

/* What epoll gives back: a session's is its slot. */
#define KS_UDP_KEY_LISTENER (UINT64_C(1) << 62) /* | index */
#define KS_UDP_KEY_EVENT (UINT64_C(1) << 63)

/*
 * Number of a listener: its index, and above it how often that was used, so that a record of one that
 * was closed is not taken for one of its successor.
 */
enum { KS_UDP_INDEX_BITS = 20, KS_UDP_MAX_LISTENERS = 1 << KS_UDP_INDEX_BITS };

enum { KS_UDP_CHUNK = 256 };

union ks_udp_name {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

struct ks_udp_kept {
  struct ks_udp_kept *next;
  int64_t sent_us;
  uint32_t length;
  uint8_t bytes[];
};

enum ks_udp_state {
  KS_SESSION_CLOSED,  /* or there was none yet */
  KS_SESSION_WAITING, /* for a verdict */
  KS_SESSION_CONNECTED,
};

struct ks_udp_listener {
  int fd; /* -1: free */
  uint32_t number;
  uint32_t sessions;
  struct ks_udp_listener *next_free;
};

/* Where a session is to go. */
struct ks_udp_order {
  uint32_t attempt;
  bool has_source;
  struct ks_address to, source;
};

struct ks_session {
  uint32_t slot;
  /* The thread: */
  enum ks_udp_state state;
  int fd; /* -1: none */
  struct ks_udp_listener *listener;
  union ks_udp_name client;
  uint64_t hash;
  struct ks_session *next_in_bucket;
  struct ks_session *older, *newer; /* by the client's last datagram */
  struct ks_udp_kept *first_kept, *last_kept;
  uint32_t kept, kept_bytes;
  struct ks_timer timer;
  int64_t used_ms;
  int64_t told_ms;  /* when ANSWERED was, 0: never since it is connected */
  int64_t asked_ms; /* when SILENT was, 0: never */
  bool has_reply;
  uint64_t bytes_up, bytes_down;
  /* Under the lock: */
  struct ks_session *next_event, *next_command; /* next_event: also of the free ones */
  uint32_t events;
  uint32_t verdict; /* 0: none waits */
  uint32_t attempt, refused_attempt;
  uint32_t latency_us; /* plus 1 */
  int error;
  enum ks_udp_end end;
  bool is_released; /* CLOSED was received, a verdict is still in the list */
  struct ks_udp_order order; /* of the verdict */
};

/* Datagrams that were received or are to be sent by one call. */
struct ks_udp_batch {
  struct mmsghdr messages[KS_UDP_BATCH];
  struct iovec parts[KS_UDP_BATCH];
  union ks_udp_name names[KS_UDP_BATCH];
  uint8_t *bytes; /* KS_UDP_BATCH times KS_UDP_BYTES; pages that nobody touches take no memory */
};

struct ks_udp {
  struct ks_udp_options options;
  int epoll_fd, event_fd;
  pthread_t thread;
  atomic_bool must_stop, must_rearm;
  atomic_uint idle_ms, stream_ms, retry_within_ms;
  atomic_uint_fast64_t counters[KS_UDP_COUNTERS];

  pthread_mutex_t lock;
  pthread_cond_t has_closed; /* `closing` is NULL again */
  struct ks_udp_listener *closing;
  struct ks_session *first_event, *last_event;
  struct ks_session *first_command, *last_command;
  struct ks_session *first_free;
  struct ks_session **chunks; /* written by the thread */
  uint32_t slots, max_slots;
  bool is_sleeping; /* the thread, in epoll_wait */
  bool is_told;     /* on_events was called for what waits */

  /* The holder: */
  struct ks_udp_listener **listeners; /* by index; read by the thread when epoll names one */
  struct ks_udp_listener *free_listener;
  uint32_t listener_count; /* that were ever open */

  /* The thread: */
  int64_t now_us, now_ms;
  struct ks_wheel idles;
  struct ks_session **buckets;
  uint32_t bucket_count; /* a power of two */
  uint64_t seeds[2];
  struct ks_session *oldest, *newest;
  uint32_t sessions;
  uint32_t all_kept_bytes;
  bool must_tell;     /* at the end of the turn */
  int64_t tell_at_ms; /* 0: nothing waits that could be told later */
  struct ks_udp_batch up, down;
  uint32_t down_count;
  struct ks_udp_listener *down_by; /* of all in `down` */
};

/* Only the thread counts. */
static inline void ks_udp_add(struct ks_udp *udp, enum ks_udp_counter counter, uint64_t count) {
  const uint64_t before = atomic_load_explicit(&udp->counters[counter], memory_order_relaxed);
  atomic_store_explicit(&udp->counters[counter], before + count, memory_order_relaxed);
}

static inline struct ks_session *ks_udp_at_slot(const struct ks_udp *udp, uint32_t slot) {
  return &udp->chunks[slot / KS_UDP_CHUNK][slot % KS_UDP_CHUNK];
}

/* udp-exchange.c: records and verdicts. */

/* When the holder is woken for an event: at the end of this turn, within some milliseconds, or with others. */
enum ks_udp_urgency { KS_UDP_NOW, KS_UDP_SOON, KS_UDP_SOME_TIME };

/* A free slot; NULL when there is none. */
struct ks_session *ks_udp_take_slot(struct ks_udp *udp);
void ks_udp_publish(struct ks_udp *udp, struct ks_session *session, uint32_t events,
                    enum ks_udp_urgency urgency);
/* CONNECTED; what was told of an earlier attempt, and not received, is taken back. */
void ks_udp_publish_connected(struct ks_udp *udp, struct ks_session *session, uint32_t attempt);
/* The next session with a verdict, which is in `*verdict` and `*order`; NULL when there is none left. */
struct ks_session *ks_udp_next_verdict(struct ks_udp *udp, uint32_t *verdict,
                                       struct ks_udp_order *order);
/* True when neither a verdict nor a listener waits: from then on one that comes writes to event_fd. */
bool ks_udp_falls_asleep(struct ks_udp *udp);
void ks_udp_wakes_up(struct ks_udp *udp);
/* Calls on_events if it is time. */
void ks_udp_tell(struct ks_udp *udp);

/* udp-session.c */

bool ks_udp_is_same(const union ks_udp_name *a, const union ks_udp_name *b);

/* The session of a client, a new one if need be; NULL when there is no slot. It is the newest then. */
struct ks_session *ks_udp_session_of(struct ks_udp *udp, struct ks_udp_listener *listener,
                                     const union ks_udp_name *client);
/* Keeps a datagram that is unanswered; false when it cannot be kept. */
bool ks_udp_keep(struct ks_udp *udp, struct ks_session *session, const uint8_t *bytes,
                 uint32_t length);
void ks_udp_forget_kept(struct ks_udp *udp, struct ks_session *session);
/* What is kept goes out. */
void ks_udp_connect(struct ks_udp *udp, struct ks_session *session,
                    const struct ks_udp_order *order);
/* Nobody listens at its endpoint. */
void ks_udp_refused(struct ks_udp *udp, struct ks_session *session);
void ks_udp_end(struct ks_udp *udp, struct ks_session *session, enum ks_udp_end end);
void ks_udp_idle_timeout(struct ks_udp *udp, struct ks_session *session);
void ks_udp_rearm(struct ks_udp *udp);

/* udp-listener.c */

/* Closes the listener that the holder waits for, if there is one. */
void ks_udp_see_to_closing(struct ks_udp *udp);

/* udp-relay.c: the bytes. */

bool ks_udp_open_batches(struct ks_udp *udp);
void ks_udp_close_batches(struct ks_udp *udp);
void ks_udp_from_clients(struct ks_udp *udp, struct ks_udp_listener *listener);
void ks_udp_from_endpoint(struct ks_udp *udp, struct ks_session *session);
/* Sends what is in `down`. */
void ks_udp_flush(struct ks_udp *udp);
/* Sends what is kept to the endpoint, oldest first. */
void ks_udp_send_kept(struct ks_udp *udp, struct ks_session *session);

#endif
