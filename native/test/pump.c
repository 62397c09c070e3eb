/* Unit test of the pump (core/pump*.c) on loopback: this program is client, holder and endpoint. */
#define _GNU_SOURCE
#include "../core/pump.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../core/wait.h"
#include "check.h"

enum { PATIENCE_MS = 5000, BATCH = 16, BULK = 24 * 1024 * 1024 };

struct pump {
  struct ks_pump *pump;
  int event;
  int listener;
  struct sockaddr_in address;
};

static void on_events(void *user) {
  const char *step;
  CHECK(ks_event_signal(*(int *)user, &step) == 0);
}

static int bound_socket(struct sockaddr_in *address) {
  socklen_t length = sizeof(*address);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  CHECK(bind(fd, (struct sockaddr *)address, length) == 0);
  CHECK(getsockname(fd, (struct sockaddr *)address, &length) == 0);
  return fd;
}

static int endpoint_socket(struct sockaddr_in *address, int backlog) {
  int fd = bound_socket(address);
  CHECK(listen(fd, backlog) == 0);
  return fd;
}

static int connected_to(const struct sockaddr_in *address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
  CHECK(connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  return fd;
}

static int accepted_from(int listener) {
  struct pollfd polled = {.fd = listener, .events = POLLIN};
  const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
  CHECK(poll(&polled, 1, PATIENCE_MS) == 1);
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  CHECK(fd >= 0);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  return fd;
}

static void reset(int fd) {
  const struct linger now = {.l_onoff = 1};
  CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
  close(fd);
}

static void open_pump(struct pump *it, struct ks_pump_options options) {
  const char *step = NULL;
  it->event = ks_event_open(&step);
  options.on_events = on_events;
  options.user = &it->event;
  CHECK(ks_pump_open(&options, &it->pump, &step) == 0);
  int fd = bound_socket(&it->address);
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  it->listener = ks_pump_listen(it->pump, fd, KS_IPV4, 128, false, &step);
  CHECK(it->listener >= 0);
}

static void close_pump(struct pump *it) {
  ks_pump_close(it->pump);
  close(it->event);
}

static const struct ks_pump_options USUAL = {
    .uses_splice = true, .max_pipes = 64, .max_connections = 1024, .max_waiting = 1024};

/* Waits for one record. */
static void receive(struct pump *it, uint32_t *record) {
  const char *step;
  for (int i = 0; i < 100; i++) {
    if (ks_pump_receive(it->pump, record, 1) == 1)
      return;
    CHECK(ks_wait_readable(&it->event, 1, PATIENCE_MS, &step) == 1);
    ks_event_clear(it->event, &step);
  }
  CHECK(!"a record");
}

/* Waits until all of these events of a slot have come; the last record is left in `record`. */
static void expect(struct pump *it, uint32_t slot, uint32_t events, uint32_t *record) {
  uint32_t seen = 0;
  while ((seen & events) != events) {
    receive(it, record);
    CHECK(record[KS_PUMP_SLOT] == slot);
    seen |= record[KS_PUMP_EVENTS];
  }
  CHECK(seen == events);
}

static uint32_t expect_accepted(struct pump *it) {
  uint32_t record[KS_PUMP_RECORD_WORDS];
  receive(it, record);
  CHECK(record[KS_PUMP_EVENTS] == KS_PUMP_ACCEPTED);
  CHECK(record[KS_PUMP_LISTENER] == (uint32_t)it->listener);
  CHECK(record[KS_PUMP_FAMILY] == 4 && record[KS_PUMP_CLIENT] == htonl(INADDR_LOOPBACK));
  CHECK(record[KS_PUMP_CLIENT_PORT] != 0 && record[KS_PUMP_HAS_DESTINATION] == 0);
  return record[KS_PUMP_SLOT];
}

/* From now on: how long verdicts let an endpoint take to its first byte. */
static uint32_t first_byte_ms = 0;

static void answer(struct pump *it, uint32_t slot, enum ks_pump_verdict verdict,
                   const struct sockaddr_in *to, uint32_t timeout_ms) {
  const char *step = NULL;
  uint32_t words[KS_PUMP_VERDICT_WORDS] = {0};
  words[KS_PUMP_TO_SLOT] = slot;
  words[KS_PUMP_VERDICT] = verdict;
  words[KS_PUMP_TO_FAMILY] = KS_IPV4;
  words[KS_PUMP_TO] = to == NULL ? 0 : to->sin_addr.s_addr;
  words[KS_PUMP_TO_PORT] = to == NULL ? 0 : ntohs(to->sin_port);
  words[KS_PUMP_TIMEOUT_MS] = words[KS_PUMP_PATIENCE_MS] = timeout_ms;
  words[KS_PUMP_FIRST_BYTE_MS] = first_byte_ms;
  CHECK(ks_pump_answer(it->pump, words, 1, &step) == 0);
}

/* A client and an endpoint, joined. */
struct pair {
  uint32_t slot;
  int client, endpoint;
};

static struct pair join(struct pump *it) {
  struct sockaddr_in address;
  struct pair pair;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  int listener = endpoint_socket(&address, 8);
  pair.client = connected_to(&it->address);
  pair.slot = expect_accepted(it);
  answer(it, pair.slot, KS_PUMP_CONNECT, &address, PATIENCE_MS);
  pair.endpoint = accepted_from(listener);
  expect(it, pair.slot, KS_PUMP_CONNECTED, record);
  CHECK(record[KS_PUMP_CONNECT_MICROS] < PATIENCE_MS * 1000);
  close(listener);
  return pair;
}

static void say(int from, int to, const char *text) {
  char heard[64] = {0};
  CHECK(send(from, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
  CHECK(recv(to, heard, strlen(text), MSG_WAITALL) == (ssize_t)strlen(text));
  CHECK(strcmp(heard, text) == 0);
}

static void expect_end(int fd) {
  char byte;
  CHECK(recv(fd, &byte, 1, 0) == 0);
}

static void expect_reset(int fd) {
  char byte;
  CHECK(recv(fd, &byte, 1, 0) == -1 && errno == ECONNRESET);
}

static void messages_go_both_ways_and_ends_are_passed_on(void) {
  struct pump it;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  for (int i = 0; i < 3; i++) {
    struct pair pair = join(&it);
    say(pair.client, pair.endpoint, "request");
    say(pair.endpoint, pair.client, "an answer");
    CHECK(shutdown(pair.client, SHUT_WR) == 0);
    expect_end(pair.endpoint);
    say(pair.endpoint, pair.client, "the last word");
    close(pair.endpoint);
    expect_end(pair.client);
    expect(&it, pair.slot, KS_PUMP_CLOSED, record);
    CHECK(record[KS_PUMP_END] == KS_PUMP_ENDED);
    CHECK(record[KS_PUMP_BYTES_UP] == 7 && record[KS_PUMP_BYTES_DOWN] == 9 + 13);
    CHECK(pair.slot == 0);
    close(pair.client);
  }
  uint64_t counters[KS_PUMP_COUNTERS];
  ks_pump_count(it.pump, counters);
  CHECK(counters[KS_PUMP_OPEN] == 0 && counters[KS_PUMP_ACCEPTS] == 3);
  CHECK(counters[KS_PUMP_BYTES_COPIED] == 3 * 29 && counters[KS_PUMP_BYTES_SPLICED] == 0);
  close_pump(&it);
}

static uint8_t pattern(size_t at) {
  return (uint8_t)(at * 2654435761u >> 13);
}

/* Writes what fits until it stalls, reads a little, and so on: the reader is slow all the time. */
static void bulk_arrives_whole(bool uses_splice, uint32_t max_pipes, int direction) {
  struct pump it;
  struct ks_pump_options options = USUAL;
  uint64_t counters[KS_PUMP_COUNTERS];
  options.uses_splice = uses_splice;
  options.max_pipes = max_pipes;
  open_pump(&it, options);
  struct pair pair = join(&it);
  const int from = direction == 0 ? pair.client : pair.endpoint;
  const int to = direction == 0 ? pair.endpoint : pair.client;
  size_t written = 0, read_so_far = 0;
  static uint8_t bytes[65536];
  while (read_so_far < BULK) {
    while (written < BULK) {
      size_t length = BULK - written < sizeof(bytes) ? BULK - written : sizeof(bytes);
      for (size_t i = 0; i < length; i++)
        bytes[i] = pattern(written + i);
      ssize_t sent = send(from, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0)
        break;
      written += (size_t)sent;
      if (written == BULK)
        CHECK(shutdown(from, SHUT_WR) == 0);
    }
    ssize_t length = recv(to, bytes, 50000, 0);
    CHECK(length > 0);
    for (ssize_t i = 0; i < length; i++)
      CHECK(bytes[i] == pattern(read_so_far + (size_t)i));
    read_so_far += (size_t)length;
  }
  expect_end(to);
  say(to, from, "thanks");
  close(to);
  expect_end(from);
  close(from);
  uint32_t record[KS_PUMP_RECORD_WORDS];
  expect(&it, pair.slot, KS_PUMP_CLOSED, record);
  CHECK(record[KS_PUMP_BYTES_UP + 2 * direction] == BULK);
  ks_pump_count(it.pump, counters);
  CHECK(counters[KS_PUMP_BYTES_COPIED] + counters[KS_PUMP_BYTES_SPLICED] == BULK + 6);
  CHECK(counters[KS_PUMP_PIPES] <= max_pipes);
  if (uses_splice && max_pipes > 0)
    CHECK(counters[KS_PUMP_BYTES_SPLICED] > BULK / 2);
  else
    CHECK(counters[KS_PUMP_BYTES_SPLICED] == 0);
  close_pump(&it);
}

static void a_refused_connect_is_tried_elsewhere(void) {
  struct pump it;
  struct sockaddr_in refuses, accepts;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  int nobody = bound_socket(&refuses), listener = endpoint_socket(&accepts, 8);
  int client = connected_to(&it.address);
  CHECK(send(client, "early", 5, 0) == 5);
  uint32_t slot = expect_accepted(&it);
  for (int i = 0; i < 2; i++) {
    answer(&it, slot, KS_PUMP_CONNECT, &refuses, PATIENCE_MS);
    expect(&it, slot, KS_PUMP_FAILED, record);
    CHECK(record[KS_PUMP_ERRNO] == ECONNREFUSED);
  }
  answer(&it, slot, KS_PUMP_CONNECT, &accepts, PATIENCE_MS);
  int endpoint = accepted_from(listener);
  char heard[8] = {0};
  CHECK(recv(endpoint, heard, 5, MSG_WAITALL) == 5 && strcmp(heard, "early") == 0);
  close(client);
  expect_end(endpoint);
  close(endpoint);
  expect(&it, slot, KS_PUMP_CONNECTED | KS_PUMP_CLOSED, record);
  close(nobody);
  close(listener);
  close_pump(&it);
}

/* The kernel drops the SYN when the accept queue is full. */
static void a_connect_that_nobody_answers_times_out(void) {
  struct pump it;
  struct sockaddr_in full;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  int listener = endpoint_socket(&full, 0);
  int waiting = connected_to(&full);
  int client = connected_to(&it.address);
  uint32_t slot = expect_accepted(&it);
  answer(&it, slot, KS_PUMP_CONNECT, &full, 50);
  expect(&it, slot, KS_PUMP_FAILED, record);
  CHECK(record[KS_PUMP_ERRNO] == ETIMEDOUT);
  answer(&it, slot, KS_PUMP_RESET, NULL, 0);
  expect_reset(client);
  expect(&it, slot, KS_PUMP_CLOSED, record);
  close(client);
  close(waiting);
  close(listener);
  close_pump(&it);
}

/* A verdict whose connect may be silent after 20 ms. */
static void answer_impatiently(struct pump *it, uint32_t slot, const struct sockaddr_in *to,
                               uint32_t timeout_ms) {
  const char *step = NULL;
  uint32_t words[KS_PUMP_VERDICT_WORDS] = {0};
  words[KS_PUMP_TO_SLOT] = slot;
  words[KS_PUMP_VERDICT] = KS_PUMP_CONNECT;
  words[KS_PUMP_TO_FAMILY] = KS_IPV4;
  words[KS_PUMP_TO] = to->sin_addr.s_addr;
  words[KS_PUMP_TO_PORT] = ntohs(to->sin_port);
  words[KS_PUMP_TIMEOUT_MS] = timeout_ms;
  words[KS_PUMP_PATIENCE_MS] = 20;
  CHECK(ks_pump_answer(it->pump, words, 1, &step) == 0);
}

static void a_silent_connect_is_given_up_or_waited_for(void) {
  struct pump it;
  struct sockaddr_in full, accepts;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  int listener = endpoint_socket(&full, 0), other = endpoint_socket(&accepts, 8);
  int waiting = connected_to(&full);
  for (int i = 0; i < 2; i++) {
    int client = connected_to(&it.address);
    uint32_t slot = expect_accepted(&it);
    answer_impatiently(&it, slot, &full, 60);
    expect(&it, slot, KS_PUMP_SILENT, record);
    if (i == 0) {
      /* Waited for: its time is over soon. */
      answer(&it, slot, KS_PUMP_WAIT, NULL, 0);
      expect(&it, slot, KS_PUMP_FAILED, record);
      CHECK(record[KS_PUMP_ERRNO] == ETIMEDOUT);
    }
    answer_impatiently(&it, slot, &accepts, PATIENCE_MS);
    int endpoint = accepted_from(other);
    say(client, endpoint, "hello");
    /* To wait for one that is not silent changes nothing. */
    answer(&it, slot, KS_PUMP_WAIT, NULL, 0);
    say(endpoint, client, "you");
    answer(&it, slot, KS_PUMP_RESET, NULL, 0);
    expect_reset(client);
    expect(&it, slot, KS_PUMP_CONNECTED | KS_PUMP_CLOSED, record);
    close(client);
    close(endpoint);
  }
  close(waiting);
  close(listener);
  close(other);
  close_pump(&it);
}

/* It answers while the holder still thinks about it: nothing happens before the verdict. */
static void what_comes_while_it_is_silent_is_kept(void) {
  struct pump it;
  struct sockaddr_in full;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  int listener = endpoint_socket(&full, 0);
  int waiting = connected_to(&full);
  int client = connected_to(&it.address);
  uint32_t slot = expect_accepted(&it);
  answer_impatiently(&it, slot, &full, 4 * PATIENCE_MS);
  expect(&it, slot, KS_PUMP_SILENT, record);
  close(accepted_from(listener));
  close(waiting);
  /* Linux repeats the SYN after a second. */
  int endpoint = accepted_from(listener);
  CHECK(ks_pump_receive(it.pump, record, 1) == 0);
  answer(&it, slot, KS_PUMP_WAIT, NULL, 0);
  say(endpoint, client, "late");
  close(endpoint);
  close(client);
  expect(&it, slot, KS_PUMP_CONNECTED | KS_PUMP_CLOSED, record);
  close(listener);
  close_pump(&it);
}

static void a_first_byte_that_does_not_come_is_told(void) {
  struct pump it;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  first_byte_ms = 30;
  struct pair pair = join(&it);
  /* Nobody has asked it anything. */
  poll(NULL, 0, 100);
  CHECK(ks_pump_receive(it.pump, record, 1) == 0);
  say(pair.client, pair.endpoint, "hello");
  expect(&it, pair.slot, KS_PUMP_MUTE, record);
  /* Told once, and nothing else has happened to it. */
  say(pair.client, pair.endpoint, "are you there?");
  poll(NULL, 0, 100);
  CHECK(ks_pump_receive(it.pump, record, 1) == 0);
  say(pair.endpoint, pair.client, "yes");
  expect(&it, pair.slot, KS_PUMP_SPOKE, record);
  close(pair.client);
  close(pair.endpoint);
  expect(&it, pair.slot, KS_PUMP_CLOSED, record);
  /* It speaks first: there is nothing to wait for, however long the client says nothing more. */
  first_byte_ms = PATIENCE_MS;
  pair = join(&it);
  say(pair.endpoint, pair.client, "welcome");
  expect(&it, pair.slot, KS_PUMP_SPOKE, record);
  /* One that ends while it is waited for leaves no timer behind. */
  struct pair other = join(&it);
  say(other.client, other.endpoint, "hello");
  reset(other.client);
  expect(&it, other.slot, KS_PUMP_CLOSED, record);
  close(other.endpoint);
  close(pair.client);
  close(pair.endpoint);
  expect(&it, pair.slot, KS_PUMP_CLOSED, record);
  first_byte_ms = 0;
  close_pump(&it);
}

static void an_endpoint_that_resets_before_a_byte_gives_the_client_back(void) {
  struct pump it;
  struct sockaddr_in address;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  struct pair pair = join(&it);
  reset(pair.endpoint);
  expect(&it, pair.slot, KS_PUMP_RETURNED, record);
  int listener = endpoint_socket(&address, 8);
  answer(&it, pair.slot, KS_PUMP_CONNECT, &address, PATIENCE_MS);
  int endpoint = accepted_from(listener);
  say(endpoint, pair.client, "second");
  say(pair.client, endpoint, "welcome");
  /* Now a byte has passed: the client is told. */
  reset(endpoint);
  expect_reset(pair.client);
  expect(&it, pair.slot, KS_PUMP_CONNECTED | KS_PUMP_CLOSED, record);
  close(pair.client);
  close(listener);
  close_pump(&it);
}

static void a_reset_is_passed_on(void) {
  struct pump it;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  struct pair pair = join(&it);
  reset(pair.client);
  expect_reset(pair.endpoint);
  expect(&it, pair.slot, KS_PUMP_CLOSED, record);
  close(pair.endpoint);
  CHECK(record[KS_PUMP_END] == KS_PUMP_CUT);
  /* By verdict, both sides. */
  pair = join(&it);
  answer(&it, pair.slot, KS_PUMP_RESET, NULL, 0);
  expect_reset(pair.client);
  expect_reset(pair.endpoint);
  expect(&it, pair.slot, KS_PUMP_CLOSED, record);
  close(pair.client);
  close(pair.endpoint);
  close_pump(&it);
}

/* What an endpoint said before it went away reaches the client, also when that was still sending. */
static void a_last_answer_is_delivered_before_the_reset(void) {
  struct pump it;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  char heard[8] = {0};
  open_pump(&it, USUAL);
  struct pair pair = join(&it);
  say(pair.client, pair.endpoint, "request");
  CHECK(send(pair.endpoint, "no", 2, 0) == 2);
  reset(pair.endpoint);
  CHECK(recv(pair.client, heard, 2, MSG_WAITALL) == 2 && strcmp(heard, "no") == 0);
  expect(&it, pair.slot, KS_PUMP_CLOSED, record);
  close(pair.client);
  close_pump(&it);
}

static void idle_connections_are_closed(void) {
  struct pump it;
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  ks_pump_set_timeouts(it.pump, 1000, PATIENCE_MS);
  struct pair pair = join(&it);
  expect_end(pair.client);
  expect_end(pair.endpoint);
  expect(&it, pair.slot, KS_PUMP_CLOSED, record);
  close(pair.client);
  close(pair.endpoint);
  CHECK(record[KS_PUMP_END] == KS_PUMP_TIMED_OUT);
  ks_pump_set_timeouts(it.pump, 60000, 100);
  pair = join(&it);
  CHECK(shutdown(pair.client, SHUT_WR) == 0);
  expect_end(pair.endpoint);
  expect_end(pair.client);
  expect(&it, pair.slot, KS_PUMP_CLOSED, record);
  close(pair.client);
  close(pair.endpoint);
  close_pump(&it);
}

static void accepting_stops_while_too_many_wait(void) {
  struct pump it;
  struct ks_pump_options options = USUAL;
  uint64_t counters[KS_PUMP_COUNTERS];
  int clients[4];
  uint32_t slots[4], record[KS_PUMP_RECORD_WORDS];
  options.max_waiting = 2;
  open_pump(&it, options);
  for (int i = 0; i < 4; i++)
    clients[i] = connected_to(&it.address);
  for (int i = 0; i < 2; i++)
    slots[i] = expect_accepted(&it);
  ks_pump_count(it.pump, counters);
  CHECK(counters[KS_PUMP_ACCEPTS] == 2 && counters[KS_PUMP_ACCEPT_PAUSES] <= 1);
  for (int i = 0; i < 2; i++) {
    answer(&it, slots[i], KS_PUMP_RESET, NULL, 0);
    do
      receive(&it, record);
    while ((record[KS_PUMP_EVENTS] & KS_PUMP_CLOSED) == 0);
  }
  /* Some of the records above may have been of the next ones. */
  ks_pump_count(it.pump, counters);
  for (int i = 0; i < 100 && counters[KS_PUMP_ACCEPTS] < 4; i++) {
    usleep(10000);
    ks_pump_count(it.pump, counters);
  }
  CHECK(counters[KS_PUMP_ACCEPTS] == 4 && counters[KS_PUMP_ACCEPT_PAUSES] >= 1);
  for (int i = 0; i < 4; i++)
    close(clients[i]);
  close_pump(&it);
}

/* What cannot be accepted for want of descriptors waits in the kernel until there are some. */
static void accepting_goes_on_when_there_are_descriptors_again(void) {
  struct pump it;
  struct rlimit before, none;
  uint64_t counters[KS_PUMP_COUNTERS] = {0};
  open_pump(&it, USUAL);
  int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
  none = before;
  none.rlim_cur = 0;
  CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
  CHECK(connect(client, (struct sockaddr *)&it.address, sizeof(it.address)) == 0);
  for (int i = 0; i < PATIENCE_MS && counters[KS_PUMP_ACCEPT_PAUSES] == 0; i++) {
    usleep(1000);
    ks_pump_count(it.pump, counters);
  }
  CHECK(counters[KS_PUMP_ACCEPT_PAUSES] >= 1 && counters[KS_PUMP_ACCEPTS] == 0);
  CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
  expect_accepted(&it);
  close(client);
  close_pump(&it);
}

static void more_than_there_are_slots_for_are_reset(void) {
  struct pump it;
  struct ks_pump_options options = USUAL;
  enum { SLOTS = 256, CLIENTS = SLOTS + 5 };
  int clients[CLIENTS];
  uint64_t counters[KS_PUMP_COUNTERS] = {0};
  options.max_connections = 1;
  open_pump(&it, options);
  for (int i = 0; i < CLIENTS; i++) {
    clients[i] = connected_to(&it.address);
    const uint64_t due = (uint64_t)i + 1;
    for (int j = 0; j < PATIENCE_MS; j++) {
      ks_pump_count(it.pump, counters);
      if (counters[KS_PUMP_ACCEPTS] + counters[KS_PUMP_ACCEPTS_REFUSED] == due)
        break;
      usleep(1000);
    }
  }
  CHECK(counters[KS_PUMP_OPEN] == SLOTS && counters[KS_PUMP_ACCEPTS_REFUSED] == 5);
  expect_reset(clients[CLIENTS - 1]);
  close_pump(&it);
  expect_reset(clients[0]);
  for (int i = 0; i < CLIENTS; i++)
    close(clients[i]);
}

static void a_listener_is_closed_while_its_connections_go_on(void) {
  struct pump it;
  const char *step = NULL;
  open_pump(&it, USUAL);
  struct pair pair = join(&it);
  CHECK(ks_pump_unlisten(it.pump, (uint32_t)it.listener, &step) == 0);
  CHECK(ks_pump_unlisten(it.pump, (uint32_t)it.listener, &step) == -EBADF);
  CHECK(ks_pump_unlisten(it.pump, 12345, &step) == -EBADF);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect(fd, (struct sockaddr *)&it.address, sizeof(it.address)) == -1);
  CHECK(errno == ECONNREFUSED);
  close(fd);
  say(pair.client, pair.endpoint, "still here");
  /* A place that is used again has another number. */
  const int before = it.listener;
  fd = bound_socket(&it.address);
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  it.listener = ks_pump_listen(it.pump, fd, KS_IPV4, 8, false, &step);
  CHECK(it.listener >= 0 && it.listener != before);
  CHECK(ks_pump_unlisten(it.pump, (uint32_t)before, &step) == -EBADF);
  struct pair other = join(&it);
  say(other.endpoint, other.client, "here too");
  CHECK(ks_pump_listen(it.pump, 999, KS_IPV4, 8, false, &step) == -EBADF);
  close_pump(&it);
  expect_reset(pair.client);
  expect_reset(other.endpoint);
  close(pair.client);
  close(pair.endpoint);
  close(other.client);
  close(other.endpoint);
}

static void a_verdict_that_is_none_is_refused(void) {
  struct pump it;
  const char *step = NULL;
  uint32_t words[KS_PUMP_VERDICT_WORDS] = {0};
  uint32_t record[KS_PUMP_RECORD_WORDS];
  open_pump(&it, USUAL);
  words[KS_PUMP_VERDICT] = KS_PUMP_RESET;
  CHECK(ks_pump_answer(it.pump, words, 1, &step) == -EINVAL);
  int client = connected_to(&it.address);
  words[KS_PUMP_TO_SLOT] = expect_accepted(&it);
  words[KS_PUMP_VERDICT] = 4;
  CHECK(ks_pump_answer(it.pump, words, 1, &step) == -EINVAL);
  words[KS_PUMP_VERDICT] = KS_PUMP_CONNECT;
  CHECK(ks_pump_answer(it.pump, words, 1, &step) == -EINVAL);
  words[KS_PUMP_TO_FAMILY] = KS_IPV6;
  words[KS_PUMP_TO_PORT] = 65536;
  CHECK(ks_pump_answer(it.pump, words, 1, &step) == -EINVAL);
  words[KS_PUMP_TO_PORT] = 9;
  CHECK(ks_pump_answer(it.pump, words, 1, &step) == 0);
  expect(&it, words[KS_PUMP_TO_SLOT], KS_PUMP_FAILED, record); /* ::, nobody there */
  /* A reset is not taken back by what comes behind it. */
  answer(&it, words[KS_PUMP_TO_SLOT], KS_PUMP_RESET, NULL, 0);
  ks_pump_answer(it.pump, words, 1, &step);
  expect(&it, words[KS_PUMP_TO_SLOT], KS_PUMP_CLOSED, record);
  /* One for a connection that has gone is passed over. */
  answer(&it, words[KS_PUMP_TO_SLOT], KS_PUMP_RESET, NULL, 0);
  close(client);
  close_pump(&it);
}

static void pick(struct pump *it, const struct sockaddr_in *to, uint32_t count) {
  const char *step = NULL;
  uint32_t words[4 * KS_PUMP_VERDICT_WORDS] = {0};
  for (uint32_t i = 0; i < count; i++) {
    uint32_t *verdict = words + (size_t)i * KS_PUMP_VERDICT_WORDS;
    verdict[KS_PUMP_VERDICT] = KS_PUMP_CONNECT;
    verdict[KS_PUMP_TO_FAMILY] = KS_IPV4;
    verdict[KS_PUMP_TO] = to[i].sin_addr.s_addr;
    verdict[KS_PUMP_TO_PORT] = ntohs(to[i].sin_port);
    verdict[KS_PUMP_TIMEOUT_MS] = verdict[KS_PUMP_PATIENCE_MS] = PATIENCE_MS;
  }
  CHECK(ks_pump_pick(it->pump, (uint32_t)it->listener, words, count, &step) == 0);
}

/* Connected without a word from the holder, in the order of the picks, which may be taken back. */
static void picks_are_used_in_their_order(void) {
  struct pump it;
  struct sockaddr_in to[4];
  uint32_t record[KS_PUMP_RECORD_WORDS];
  uint64_t counters[KS_PUMP_COUNTERS];
  int listeners[4], clients[4];
  open_pump(&it, USUAL);
  for (int i = 0; i < 4; i++)
    listeners[i] = endpoint_socket(&to[i], 8);
  pick(&it, to, 2);
  pick(&it, to + 2, 2);
  for (int i = 0; i < 3; i++) {
    clients[i] = connected_to(&it.address);
    int endpoint = accepted_from(listeners[i]);
    say(clients[i], endpoint, "picked");
    close(endpoint);
    expect_end(clients[i]);
    close(clients[i]);
  }
  for (int closed = 0; closed < 3;) {
    receive(&it, record);
    CHECK(record[KS_PUMP_IS_PICKED] == 1);
    closed += (record[KS_PUMP_EVENTS] & KS_PUMP_CLOSED) != 0;
  }
  CHECK(ks_pump_unpick(it.pump, (uint32_t)it.listener) == 1);
  CHECK(ks_pump_unpick(it.pump, (uint32_t)it.listener) == 0);
  clients[3] = connected_to(&it.address);
  const uint32_t slot = expect_accepted(&it);
  answer(&it, slot, KS_PUMP_CONNECT, &to[3], PATIENCE_MS);
  close(accepted_from(listeners[3]));
  expect_end(clients[3]);
  ks_pump_count(it.pump, counters);
  CHECK(counters[KS_PUMP_PICKS_USED] == 3 && counters[KS_PUMP_HAND_OVERS] >= 2);
  close(clients[3]);
  close_pump(&it);
  for (int i = 0; i < 4; i++)
    close(listeners[i]);
}

/* Whoever has nobody at its pick is told as if it had been picked just now. */
static void a_pick_that_fails_is_asked_about(void) {
  struct pump it;
  struct sockaddr_in gone, to;
  uint32_t record[KS_PUMP_RECORD_WORDS], seen = 0;
  open_pump(&it, USUAL);
  close(bound_socket(&gone));
  int listener = endpoint_socket(&to, 8);
  pick(&it, &gone, 1);
  int client = connected_to(&it.address);
  while ((seen & KS_PUMP_FAILED) == 0) {
    receive(&it, record);
    seen |= record[KS_PUMP_EVENTS];
  }
  CHECK(seen == (KS_PUMP_ACCEPTED | KS_PUMP_FAILED) && record[KS_PUMP_ERRNO] == ECONNREFUSED);
  answer(&it, record[KS_PUMP_SLOT], KS_PUMP_CONNECT, &to, PATIENCE_MS);
  int endpoint = accepted_from(listener);
  say(endpoint, client, "after all");
  close(listener);
  close(endpoint);
  close(client);
  close_pump(&it);
}

static void a_pick_that_is_none_is_refused(void) {
  struct pump it;
  const char *step = NULL;
  static uint32_t words[(KS_PUMP_MAX_PICKS + 1) * KS_PUMP_VERDICT_WORDS];
  open_pump(&it, USUAL);
  const uint32_t listener = (uint32_t)it.listener;
  CHECK(ks_pump_pick(it.pump, listener, words, 1, &step) == -EINVAL);
  for (int i = 0; i <= KS_PUMP_MAX_PICKS; i++) {
    words[i * KS_PUMP_VERDICT_WORDS + KS_PUMP_VERDICT] = KS_PUMP_CONNECT;
    words[i * KS_PUMP_VERDICT_WORDS + KS_PUMP_TO_FAMILY] = KS_IPV4;
  }
  CHECK(ks_pump_pick(it.pump, listener, words, KS_PUMP_MAX_PICKS + 1, &step) == -EINVAL);
  CHECK(ks_pump_pick(it.pump, listener, words, KS_PUMP_MAX_PICKS, &step) == 0);
  CHECK(ks_pump_pick(it.pump, listener, words, 1, &step) == -EINVAL);
  CHECK(ks_pump_pick(it.pump, listener + 1, words, 1, &step) == -EBADF);
  CHECK(ks_pump_unlisten(it.pump, listener, &step) == 0);
  CHECK(ks_pump_unpick(it.pump, listener) == 0);
  close_pump(&it);
}

int main(void) {
  picks_are_used_in_their_order();
  a_pick_that_fails_is_asked_about();
  a_pick_that_is_none_is_refused();
  messages_go_both_ways_and_ends_are_passed_on();
  for (int direction = 0; direction < 2; direction++) {
    bulk_arrives_whole(true, 64, direction);
    bulk_arrives_whole(true, 0, direction);
    bulk_arrives_whole(false, 64, direction);
  }
  a_refused_connect_is_tried_elsewhere();
  a_connect_that_nobody_answers_times_out();
  a_silent_connect_is_given_up_or_waited_for();
  what_comes_while_it_is_silent_is_kept();
  a_first_byte_that_does_not_come_is_told();
  an_endpoint_that_resets_before_a_byte_gives_the_client_back();
  a_reset_is_passed_on();
  a_last_answer_is_delivered_before_the_reset();
  idle_connections_are_closed();
  accepting_stops_while_too_many_wait();
  accepting_goes_on_when_there_are_descriptors_again();
  more_than_there_are_slots_for_are_reset();
  a_listener_is_closed_while_its_connections_go_on();
  a_verdict_that_is_none_is_refused();
  return 0;
}
