/* Unit test of the datagram relay (core/udp*.c) on loopback: this program is client, holder and endpoint. */
#define _GNU_SOURCE
#include "../core/udp.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/wait.h"
#include "check.h"

enum { PATIENCE_MS = 5000, LONG_MS = 60000, LARGEST = 65507 };

struct relay {
  struct ks_udp *udp;
  int event;
  uint32_t listener;
  struct sockaddr_in6 address;
};

static void on_events(void *user) {
  const char *step;
  CHECK(ks_event_signal(*(int *)user, &step) == 0);
}

/* On an address of loopback, at a port of the kernel's choice, unless it has one. */
static int bound_socket(int domain, struct sockaddr_in6 *address) {
  socklen_t length = domain == AF_INET ? sizeof(struct sockaddr_in) : sizeof(*address);
  const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
  const int size = 1 << 20;
  int fd = socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in *v4 = (struct sockaddr_in *)address;
  if (address->sin6_family == AF_UNSPEC && domain == AF_INET)
    *v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  else if (address->sin6_family == AF_UNSPEC)
    *address = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  CHECK(bind(fd, (struct sockaddr *)address, length) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)address, &length) == 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  return fd;
}

static int endpoint_socket(struct sockaddr_in6 *address) {
  *address = (struct sockaddr_in6){0};
  return bound_socket(AF_INET, address);
}

static int client_of(const struct relay *it) {
  const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
  const int size = 1 << 20;
  int fd = socket(it->address.sin6_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
  CHECK(connect(fd, (const struct sockaddr *)&it->address, sizeof(it->address)) == 0);
  return fd;
}

static void set_timeouts(struct relay *it, uint32_t idle_ms, uint32_t stream_ms,
                         uint32_t retry_within_ms) {
  ks_udp_set_timeouts(it->udp, &(struct ks_udp_timeouts){idle_ms, stream_ms, retry_within_ms});
}

static void open_relay(struct relay *it, int domain, uint32_t max_sessions) {
  const struct ks_udp_options options = {
      .max_sessions = max_sessions, .on_events = on_events, .user = &it->event};
  const char *step = NULL;
  it->event = ks_event_open(&step);
  it->address = (struct sockaddr_in6){0};
  CHECK(ks_udp_open(&options, &it->udp, &step) == 0);
  set_timeouts(it, LONG_MS, LONG_MS, LONG_MS);
  int fd = bound_socket(domain, &it->address);
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  int number = ks_udp_listen(it->udp, fd, 1 << 20, &step);
  CHECK(number >= 0);
  it->listener = (uint32_t)number;
}

static void close_relay(struct relay *it) {
  ks_udp_close(it->udp);
  close(it->event);
}

/* Waits for one record. */
static void receive(struct relay *it, uint32_t *record) {
  const char *step;
  for (int i = 0; i < 100; i++) {
    if (ks_udp_receive(it->udp, record, 1) == 1)
      return;
    CHECK(ks_wait_readable(&it->event, 1, PATIENCE_MS, &step) == 1);
    ks_event_clear(it->event, &step);
  }
  CHECK(!"a record");
}

/* Waits until all of these events of a slot have come; the last record is left in `record`. */
static void expect(struct relay *it, uint32_t slot, uint32_t events, uint32_t *record) {
  uint32_t seen = 0;
  while ((seen & events) != events) {
    receive(it, record);
    CHECK(record[KS_UDP_SLOT] == slot);
    seen |= record[KS_UDP_EVENTS];
  }
  CHECK(seen == events);
}

static uint32_t expect_new(struct relay *it) {
  uint32_t record[KS_UDP_RECORD_WORDS];
  receive(it, record);
  CHECK(record[KS_UDP_EVENTS] == KS_UDP_NEW && record[KS_UDP_LISTENER] == it->listener);
  CHECK(record[KS_UDP_CLIENT_PORT] != 0);
  if (it->address.sin6_family == AF_INET)
    CHECK(record[KS_UDP_FAMILY] == 4 && record[KS_UDP_CLIENT] == htonl(INADDR_LOOPBACK));
  else
    CHECK(record[KS_UDP_FAMILY] == 6 && record[KS_UDP_CLIENT + 3] == htonl(1));
  return record[KS_UDP_SLOT];
}

static void answer(struct relay *it, uint32_t slot, const struct sockaddr_in6 *to,
                   uint32_t attempt) {
  const char *step = NULL;
  uint32_t words[KS_UDP_VERDICT_WORDS] = {0};
  words[KS_UDP_TO_SLOT] = slot;
  words[KS_UDP_VERDICT] = to == NULL ? KS_UDP_STOP : KS_UDP_CONNECT;
  words[KS_UDP_TO_ATTEMPT] = attempt;
  if (to != NULL && to->sin6_family == AF_INET) {
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)to;
    words[KS_UDP_TO_FAMILY] = KS_IPV4;
    words[KS_UDP_TO] = v4->sin_addr.s_addr;
    words[KS_UDP_TO_PORT] = ntohs(v4->sin_port);
  } else if (to != NULL) {
    words[KS_UDP_TO_FAMILY] = KS_IPV6;
    memcpy(&words[KS_UDP_TO], &to->sin6_addr, sizeof(to->sin6_addr));
    words[KS_UDP_TO_PORT] = ntohs(to->sin6_port);
  }
  CHECK(ks_udp_answer(it->udp, words, 1, &step) == 0);
}

static void say(int fd, const char *text) {
  CHECK(send(fd, text, strlen(text), 0) == (ssize_t)strlen(text));
}

static void expect_text(int fd, const char *text) {
  char heard[64] = {0};
  CHECK(recv(fd, heard, sizeof(heard) - 1, 0) == (ssize_t)strlen(text));
  CHECK(strcmp(heard, text) == 0);
}

/* The next datagram, and an answer to it; whom it came from is left in `from`. */
static void serve(int fd, const char *text, const char *reply, struct sockaddr_in6 *from) {
  char heard[64] = {0};
  socklen_t length = sizeof(*from);
  CHECK(recvfrom(fd, heard, sizeof(heard) - 1, 0, (struct sockaddr *)from, &length) ==
        (ssize_t)strlen(text));
  CHECK(strcmp(heard, text) == 0);
  if (reply != NULL)
    CHECK(sendto(fd, reply, strlen(reply), 0, (struct sockaddr *)from, length) ==
          (ssize_t)strlen(reply));
}

static uint64_t count(struct relay *it, enum ks_udp_counter counter) {
  uint64_t counters[KS_UDP_COUNTERS];
  ks_udp_count(it->udp, counters);
  return counters[counter];
}

static void datagrams_wait_for_their_endpoint_and_answers_come_back(int domain) {
  struct relay it;
  struct sockaddr_in6 to = {0}, from = {0};
  uint32_t record[KS_UDP_RECORD_WORDS];
  open_relay(&it, domain, 16);
  int endpoint = bound_socket(domain, &to), client = client_of(&it);
  say(client, "one");
  uint32_t slot = expect_new(&it);
  say(client, "two");
  say(client, "");
  answer(&it, slot, &to, 1);
  serve(endpoint, "one", "answer", &from);
  serve(endpoint, "two", NULL, &from);
  serve(endpoint, "", "", &from);
  expect_text(client, "answer");
  expect_text(client, "");
  expect(&it, slot, KS_UDP_CONNECTED | KS_UDP_ANSWERED, record);
  CHECK(record[KS_UDP_ATTEMPT] == 1 && record[KS_UDP_LATENCY_MICROS] > 0);
  for (int i = 0; i < 100; i++) {
    say(client, "again");
    serve(endpoint, "again", "and again", &from);
    expect_text(client, "and again");
  }
  answer(&it, slot, NULL, 0);
  do
    receive(&it, record);
  while (record[KS_UDP_EVENTS] == KS_UDP_ANSWERED);
  CHECK(record[KS_UDP_EVENTS] & KS_UDP_CLOSED && record[KS_UDP_END] == KS_UDP_ENDED);
  CHECK(record[KS_UDP_HAS_REPLY] == 1);
  CHECK(record[KS_UDP_BYTES_UP] == 6 + 500 && record[KS_UDP_BYTES_DOWN] == 6 + 900);
  CHECK(count(&it, KS_UDP_SENT_UP) == 103 && count(&it, KS_UDP_SENT_DOWN) == 102);
  CHECK(count(&it, KS_UDP_SESSIONS) == 0);
  /* The next one begins anew, in the same slot. */
  say(client, "new");
  CHECK(expect_new(&it) == slot);
  close(client);
  close(endpoint);
  close_relay(&it);
}

static void what_an_endpoint_refuses_goes_to_another(void) {
  struct relay it;
  struct sockaddr_in6 nobody, to, from;
  uint32_t record[KS_UDP_RECORD_WORDS];
  open_relay(&it, AF_INET, 16);
  close(endpoint_socket(&nobody));
  int endpoint = endpoint_socket(&to), client = client_of(&it);
  say(client, "one");
  uint32_t slot = expect_new(&it);
  answer(&it, slot, &nobody, 1);
  expect(&it, slot, KS_UDP_CONNECTED | KS_UDP_REFUSED, record);
  CHECK(record[KS_UDP_REFUSED_ATTEMPT] == 1);
  say(client, "two");
  answer(&it, slot, &to, 2);
  serve(endpoint, "one", "reply", &from);
  serve(endpoint, "two", NULL, &from);
  expect_text(client, "reply");
  expect(&it, slot, KS_UDP_CONNECTED | KS_UDP_ANSWERED, record);
  CHECK(record[KS_UDP_ATTEMPT] == 2);
  /* It dies: the first datagram that nobody takes says so. */
  close(endpoint);
  say(client, "three");
  expect(&it, slot, KS_UDP_REFUSED, record);
  CHECK(record[KS_UDP_REFUSED_ATTEMPT] == 2);
  answer(&it, slot, NULL, 0);
  expect(&it, slot, KS_UDP_CLOSED, record);
  close(client);
  close_relay(&it);
}

static void a_refusal_with_nothing_to_send_again_is_the_end(void) {
  struct relay it;
  struct sockaddr_in6 nobody;
  uint32_t record[KS_UDP_RECORD_WORDS];
  open_relay(&it, AF_INET, 16);
  set_timeouts(&it, LONG_MS, LONG_MS, 0);
  close(endpoint_socket(&nobody));
  int client = client_of(&it);
  say(client, "one");
  uint32_t slot = expect_new(&it);
  usleep(2000);
  answer(&it, slot, &nobody, 1);
  expect(&it, slot, KS_UDP_CONNECTED | KS_UDP_REFUSED | KS_UDP_CLOSED, record);
  CHECK(record[KS_UDP_END] == KS_UDP_ENDED && record[KS_UDP_HAS_REPLY] == 0);
  close(client);
  close_relay(&it);
}

static void a_connect_that_this_host_refuses_fails(void) {
  struct relay it;
  struct sockaddr_in6 to = {0};
  uint32_t record[KS_UDP_RECORD_WORDS];
  /* Needs SO_BROADCAST. */
  *(struct sockaddr_in *)&to = (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_BROADCAST)};
  open_relay(&it, AF_INET, 16);
  int client = client_of(&it);
  say(client, "one");
  uint32_t slot = expect_new(&it);
  answer(&it, slot, &to, 1);
  expect(&it, slot, KS_UDP_CLOSED, record);
  CHECK(record[KS_UDP_END] == KS_UDP_FAILED && record[KS_UDP_ERRNO] != 0);
  close(client);
  close_relay(&it);
}

static void idle_sessions_expire_later_once_they_were_answered(void) {
  struct relay it;
  struct sockaddr_in6 to, from;
  uint32_t record[KS_UDP_RECORD_WORDS];
  open_relay(&it, AF_INET, 16);
  int endpoint = endpoint_socket(&to), answered = client_of(&it), unanswered = client_of(&it);
  say(answered, "one");
  uint32_t first = expect_new(&it);
  answer(&it, first, &to, 1);
  serve(endpoint, "one", "reply", &from);
  expect(&it, first, KS_UDP_CONNECTED | KS_UDP_ANSWERED, record);
  say(unanswered, "two");
  uint32_t second = expect_new(&it);
  answer(&it, second, &to, 1);
  serve(endpoint, "two", NULL, &from);
  expect(&it, second, KS_UDP_CONNECTED, record);
  /* Timers that run already are set anew. */
  set_timeouts(&it, 10, LONG_MS, LONG_MS);
  expect(&it, second, KS_UDP_CLOSED, record);
  CHECK(record[KS_UDP_END] == KS_UDP_EXPIRED);
  CHECK(count(&it, KS_UDP_SESSIONS) == 1);
  set_timeouts(&it, 10, 10, LONG_MS);
  expect(&it, first, KS_UDP_CLOSED, record);
  CHECK(record[KS_UDP_END] == KS_UDP_EXPIRED);
  close(answered);
  close(unanswered);
  close(endpoint);
  close_relay(&it);
}

static void the_one_idle_longest_makes_room(void) {
  struct relay it;
  uint32_t record[KS_UDP_RECORD_WORDS], slots[3];
  int clients[3];
  open_relay(&it, AF_INET, 2);
  for (int i = 0; i < 2; i++) {
    clients[i] = client_of(&it);
    say(clients[i], "hello");
    slots[i] = expect_new(&it);
  }
  say(clients[0], "still here");
  clients[2] = client_of(&it);
  say(clients[2], "hello");
  for (int i = 0; i < 2; i++) {
    receive(&it, record);
    if (record[KS_UDP_SLOT] == slots[1])
      CHECK(record[KS_UDP_EVENTS] == KS_UDP_CLOSED && record[KS_UDP_END] == KS_UDP_EVICTED);
    else
      CHECK(record[KS_UDP_EVENTS] == KS_UDP_NEW && record[KS_UDP_SLOT] != slots[0]);
  }
  CHECK(count(&it, KS_UDP_EVICTIONS) == 1 && count(&it, KS_UDP_SESSIONS) == 2);
  for (int i = 0; i < 3; i++)
    close(clients[i]);
  close_relay(&it);
}

static void a_closed_listener_leaves_nothing(void) {
  struct relay it;
  const char *step;
  uint32_t record[KS_UDP_RECORD_WORDS];
  open_relay(&it, AF_INET, 16);
  int client = client_of(&it);
  say(client, "one");
  uint32_t slot = expect_new(&it);
  CHECK(ks_udp_unlisten(it.udp, it.listener, &step) == 0);
  CHECK(ks_udp_unlisten(it.udp, it.listener, &step) == -EBADF);
  expect(&it, slot, KS_UDP_CLOSED, record);
  CHECK(record[KS_UDP_END] == KS_UDP_ENDED);
  /* The address is free by now. */
  int fd = bound_socket(AF_INET, &it.address);
  int number = ks_udp_listen(it.udp, fd, 1 << 20, &step);
  CHECK(number >= 0 && (uint32_t)number != it.listener);
  it.listener = (uint32_t)number;
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  say(client, "two");
  CHECK(expect_new(&it) == slot);
  close(client);
  close_relay(&it);
}

static void what_is_kept_is_bounded(void) {
  struct relay it;
  struct sockaddr_in6 to, from;
  static char large[LARGEST];
  open_relay(&it, AF_INET, 16);
  int endpoint = endpoint_socket(&to), client = client_of(&it);
  char text[2] = "a";
  for (; text[0] < 'a' + 2 * KS_UDP_KEPT; text[0]++)
    say(client, text);
  uint32_t slot = expect_new(&it);
  /* All have come in once a later client's first one has. */
  int witness = client_of(&it);
  say(witness, "w");
  expect_new(&it);
  answer(&it, slot, &to, 1);
  for (text[0] = 'a' + KS_UDP_KEPT; text[0] < 'a' + 2 * KS_UDP_KEPT; text[0]++)
    serve(endpoint, text, text[0] == 'a' + KS_UDP_KEPT ? "reply" : NULL, &from);
  expect_text(client, "reply");
  /* Of the largest there is room for one. */
  int other = client_of(&it);
  for (int i = 0; i < 2; i++) {
    large[0] = (char)('1' + i);
    CHECK(send(other, large, sizeof(large), 0) == sizeof(large));
  }
  uint32_t record[KS_UDP_RECORD_WORDS];
  do
    receive(&it, record);
  while ((record[KS_UDP_EVENTS] & KS_UDP_NEW) == 0);
  slot = record[KS_UDP_SLOT];
  close(witness);
  witness = client_of(&it);
  say(witness, "w");
  do
    receive(&it, record);
  while ((record[KS_UDP_EVENTS] & KS_UDP_NEW) == 0);
  answer(&it, slot, &to, 1);
  CHECK(recv(endpoint, large, sizeof(large), 0) == LARGEST && large[0] == '2');
  close(client);
  close(other);
  close(witness);
  close(endpoint);
  close_relay(&it);
}

static void a_client_that_goes_on_unanswered_is_told_and_may_move(void) {
  struct relay it;
  struct sockaddr_in6 silent, to, from;
  uint32_t record[KS_UDP_RECORD_WORDS];
  open_relay(&it, AF_INET, 16);
  int mute = endpoint_socket(&silent), endpoint = endpoint_socket(&to), client = client_of(&it);
  say(client, "one");
  uint32_t slot = expect_new(&it);
  answer(&it, slot, &silent, 1);
  serve(mute, "one", NULL, &from);
  expect(&it, slot, KS_UDP_CONNECTED, record);
  usleep((KS_UDP_SILENT_MS + 50) * 1000);
  say(client, "two");
  expect(&it, slot, KS_UDP_SILENT, record);
  CHECK(record[KS_UDP_ATTEMPT] == 1);
  serve(mute, "two", NULL, &from);
  answer(&it, slot, &to, 2);
  serve(endpoint, "one", NULL, &from);
  serve(endpoint, "two", "reply", &from);
  expect_text(client, "reply");
  expect(&it, slot, KS_UDP_CONNECTED | KS_UDP_ANSWERED, record);
  close(client);
  close(mute);
  close(endpoint);
  close_relay(&it);
}

static void a_verdict_that_is_none_is_refused(void) {
  struct relay it;
  const char *step;
  uint32_t words[KS_UDP_VERDICT_WORDS] = {0};
  open_relay(&it, AF_INET, 16);
  words[KS_UDP_VERDICT] = KS_UDP_STOP;
  CHECK(ks_udp_answer(it.udp, words, 1, &step) == -EINVAL);
  int client = client_of(&it);
  say(client, "one");
  words[KS_UDP_TO_SLOT] = expect_new(&it);
  words[KS_UDP_VERDICT] = KS_UDP_CONNECT;
  CHECK(ks_udp_answer(it.udp, words, 1, &step) == -EINVAL);
  words[KS_UDP_TO_FAMILY] = KS_IPV4;
  words[KS_UDP_TO_PORT] = 65536;
  CHECK(ks_udp_answer(it.udp, words, 1, &step) == -EINVAL);
  words[KS_UDP_VERDICT] = 3;
  CHECK(ks_udp_answer(it.udp, words, 1, &step) == -EINVAL);
  close(client);
  close_relay(&it);
}

enum { CLIENTS = 1200, BURST = 3 };

/* More than the first buckets and chunks; each is answered by its own number. */
static void many_clients_do_not_get_mixed_up(void) {
  struct relay it;
  struct sockaddr_in6 to, from;
  static int clients[CLIENTS];
  uint32_t record[KS_UDP_RECORD_WORDS];
  open_relay(&it, AF_INET, CLIENTS);
  int endpoint = endpoint_socket(&to);
  for (int i = 0; i < CLIENTS; i++) {
    char text[16];
    clients[i] = client_of(&it);
    snprintf(text, sizeof(text), "%d", i);
    say(clients[i], text);
    answer(&it, expect_new(&it), &to, 1);
    serve(endpoint, text, text, &from);
    expect_text(clients[i], text);
    while (ks_udp_receive(it.udp, record, 1) == 1)
      ;
  }
  CHECK(count(&it, KS_UDP_SESSIONS) == CLIENTS);
  for (int i = 0; i < CLIENTS; i += 60) {
    for (int j = i; j < i + 60; j++)
      for (int k = 0; k < BURST; k++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", j);
        say(clients[j], text);
      }
    for (int j = 0; j < 60 * BURST; j++) {
      char heard[16];
      socklen_t length = sizeof(from);
      ssize_t got = recvfrom(endpoint, heard, sizeof(heard), 0, (struct sockaddr *)&from, &length);
      CHECK(got > 0 && sendto(endpoint, heard, (size_t)got, 0, (struct sockaddr *)&from, length) == got);
    }
    for (int j = i; j < i + 60; j++)
      for (int k = 0; k < BURST; k++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", j);
        expect_text(clients[j], text);
      }
  }
  for (int i = 0; i < CLIENTS; i++)
    close(clients[i]);
  close(endpoint);
  close_relay(&it);
}

int main(void) {
  const char *step;
  uint64_t files;
  CHECK(ks_file_limit_raise(4 * CLIENTS, &files, &step) == 0);
  datagrams_wait_for_their_endpoint_and_answers_come_back(AF_INET);
  datagrams_wait_for_their_endpoint_and_answers_come_back(AF_INET6);
  what_an_endpoint_refuses_goes_to_another();
  a_refusal_with_nothing_to_send_again_is_the_end();
  a_connect_that_this_host_refuses_fails();
  idle_sessions_expire_later_once_they_were_answered();
  the_one_idle_longest_makes_room();
  a_closed_listener_leaves_nothing();
  what_is_kept_is_bounded();
  a_client_that_goes_on_unanswered_is_told_and_may_move();
  a_verdict_that_is_none_is_refused();
  many_clients_do_not_get_mixed_up();
  return 0;
}
