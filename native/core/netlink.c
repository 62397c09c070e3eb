#define _GNU_SOURCE
#include "netlink.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* linux/netlink.h: NLMSGERR_ATTR_MSG. */
enum { ERROR_TEXT_ATTRIBUTE = 1, ANSWER_BYTES = 64 * 1024 };

static int fail(const char **step, const char *name) {
  *step = name;
  return -errno;
}

int ks_netlink_open(const char **step) {
  struct sockaddr_nl name = {.nl_family = AF_NETLINK};
  int on = 1;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
  if (fd < 0)
    return fail(step, "socket");
  if (bind(fd, (struct sockaddr *)&name, sizeof(name)) < 0) {
    int error = fail(step, "bind");
    close(fd);
    return error;
  }
  /* Both are comforts of newer kernels (4.12, 4.2): errors in words, and short ones. */
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
  return fd;
}

int ks_netlink_buffer(int fd, int option, uint32_t bytes, const char **step) {
  int wanted = bytes > INT32_MAX / 2 ? INT32_MAX / 2 : (int)bytes, granted = 0;
  socklen_t length = sizeof(granted);
  int force = option == SO_SNDBUF ? SO_SNDBUFFORCE : SO_RCVBUFFORCE;
  if (setsockopt(fd, SOL_SOCKET, force, &wanted, sizeof(wanted)) < 0 &&
      setsockopt(fd, SOL_SOCKET, option, &wanted, sizeof(wanted)) < 0)
    return fail(step, "setsockopt");
  if (getsockopt(fd, SOL_SOCKET, option, &granted, &length) < 0)
    return fail(step, "getsockopt");
  return granted;
}

struct nlmsghdr *ks_netlink_message(void *buffer, uint16_t type, uint16_t flags, uint8_t family) {
  struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = type;
  message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
  struct nfgenmsg *extra = mnl_nlmsg_put_extra_header(message, sizeof(*extra));
  extra->nfgen_family = family;
  extra->version = NFNETLINK_V0;
  return message;
}

const void *ks_netlink_payload(const struct nlattr *attribute, size_t bytes) {
  if (attribute == NULL || mnl_attr_get_payload_len(attribute) < bytes)
    return NULL;
  return mnl_attr_get_payload(attribute);
}

bool ks_netlink_index(const uint8_t *at, const uint8_t *end, const struct nlattr **table,
                      uint16_t max) {
  memset(table, 0, ((size_t)max + 1) * sizeof(*table));
  while (end - at >= (ptrdiff_t)sizeof(struct nlattr)) {
    const struct nlattr *attribute = (const struct nlattr *)at;
    if (attribute->nla_len < sizeof(*attribute) || attribute->nla_len > end - at)
      return false;
    uint16_t type = mnl_attr_get_type(attribute);
    if (type <= max)
      table[type] = attribute;
    if ((ptrdiff_t)ks_netlink_align(attribute->nla_len) > end - at)
      break;
    at += ks_netlink_align(attribute->nla_len);
  }
  return true;
}

bool ks_netlink_index_nested(const struct nlattr *attribute, const struct nlattr **table,
                             uint16_t max) {
  memset(table, 0, ((size_t)max + 1) * sizeof(*table));
  if (attribute == NULL)
    return false;
  const uint8_t *at = mnl_attr_get_payload(attribute);
  return ks_netlink_index(at, at + mnl_attr_get_payload_len(attribute), table, max);
}

static void read_text(const struct nlmsghdr *message, struct ks_netlink_error *error) {
  const struct nlattr *table[ERROR_TEXT_ATTRIBUTE + 1];
  const uint8_t *start = (const uint8_t *)message;
  size_t skipped = sizeof(struct nlmsghdr) + sizeof(struct nlmsgerr);
  const struct nlmsgerr *answer = mnl_nlmsg_get_payload(message);
  /* Without NLM_F_CAPPED the refused message stands in between, whole. */
  if (!(message->nlmsg_flags & NLM_F_CAPPED) && answer->msg.nlmsg_len > sizeof(answer->msg))
    skipped += ks_netlink_align(answer->msg.nlmsg_len - sizeof(answer->msg));
  error->text[0] = '\0';
  error->sequence = message->nlmsg_seq;
  if (!(message->nlmsg_flags & NLM_F_ACK_TLVS) || skipped > message->nlmsg_len ||
      !ks_netlink_index(start + skipped, start + message->nlmsg_len, table, ERROR_TEXT_ATTRIBUTE))
    return;
  const char *text = ks_netlink_payload(table[ERROR_TEXT_ATTRIBUTE], 1);
  if (text == NULL)
    return;
  size_t length = strnlen(text, mnl_attr_get_payload_len(table[ERROR_TEXT_ATTRIBUTE]));
  if (length >= KS_NETLINK_TEXT)
    length = KS_NETLINK_TEXT - 1;
  memcpy(error->text, text, length);
  error->text[length] = '\0';
}

bool ks_netlink_is_answer(const struct nlmsghdr *message, size_t length, int *code,
                          struct ks_netlink_error *error) {
  if (length < sizeof(*message) + sizeof(struct nlmsgerr) || message->nlmsg_type != NLMSG_ERROR ||
      message->nlmsg_len > length ||
      message->nlmsg_len < sizeof(*message) + sizeof(struct nlmsgerr))
    return false;
  *code = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(message))->error;
  if (*code != 0 && error != NULL)
    read_text(message, error);
  return true;
}

int ks_netlink_done_code(const struct nlmsghdr *done) {
  int32_t code = 0;
  if (done->nlmsg_len >= sizeof(*done) + sizeof(code))
    memcpy(&code, mnl_nlmsg_get_payload(done), sizeof(code));
  return code < 0 ? code : 0;
}

static int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Walks the messages of one datagram. */
static void read_answers(const uint8_t *at, size_t left, uint32_t *seen, int *first,
                         struct ks_netlink_error *error) {
  while (left >= sizeof(struct nlmsghdr)) {
    const struct nlmsghdr *message = (const struct nlmsghdr *)at;
    int code;
    if (message->nlmsg_len < sizeof(*message) || message->nlmsg_len > left)
      return;
    if (ks_netlink_is_answer(message, left, &code, *first == 0 ? error : NULL)) {
      (*seen)++;
      if (*first == 0)
        *first = code;
    }
    size_t step = ks_netlink_align(message->nlmsg_len);
    if (step >= left)
      return;
    at += step;
    left -= step;
  }
}

int ks_netlink_transact(int fd, const void *buffer, size_t length, uint32_t acks,
                        struct ks_netlink_error *error, const char **step) {
  uint8_t answer[ANSWER_BYTES];
  uint32_t seen = 0;
  int first = 0;
  bool is_overrun = false;
  if (error != NULL)
    *error = (struct ks_netlink_error){0};
  /* What a call that timed out, or was refused more than once, has left. */
  ssize_t left_over;
  do
    left_over = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
  while (left_over > 0 || (left_over < 0 && errno == ENOBUFS));
  if (send(fd, buffer, length, 0) < 0)
    return fail(step, "send");
  *step = "netlink";
  int64_t deadline = now_ms() + KS_NETLINK_TIMEOUT_MS;
  while (seen < acks) {
    ssize_t received = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
    if (received > 0) {
      read_answers(answer, (size_t)received, &seen, &first, error);
      /* A refused transaction is not answered message by message. */
      if (first != 0)
        return first;
      continue;
    }
    /* Refusals by the hundred overrun the socket: this comes before those that it holds. */
    if (received < 0 && errno == ENOBUFS) {
      is_overrun = true;
      continue;
    }
    if (received < 0 && errno == EAGAIN && is_overrun)
      return -ENOBUFS;
    if (received < 0 && errno != EAGAIN && errno != EINTR)
      return fail(step, "recv");
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    int64_t left = deadline - now_ms();
    if (left <= 0)
      return -ETIMEDOUT;
    if (poll(&readable, 1, (int)left) < 0 && errno != EINTR)
      return fail(step, "poll");
  }
  return first;
}

/* 0: more to come, 1: this was the end, or -errno. The end and elements may be one datagram. */
static int read_page(const uint8_t *at, size_t left, ks_netlink_each each, void *context,
                     bool *is_interrupted, struct ks_netlink_error *error) {
  while (left >= sizeof(struct nlmsghdr)) {
    const struct nlmsghdr *header = (const struct nlmsghdr *)at;
    int code = 0;
    if (header->nlmsg_len < sizeof(*header) || header->nlmsg_len > left)
      return -EBADMSG;
    *is_interrupted |= (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
    if (header->nlmsg_type == NLMSG_DONE) {
      code = ks_netlink_done_code(header);
      return code == 0 ? 1 : code;
    }
    if (ks_netlink_is_answer(header, left, &code, error))
      return code == 0 ? 1 : code;
    code = each(at, left, context);
    if (code)
      return code;
    size_t step = ks_netlink_align(header->nlmsg_len);
    if (step >= left)
      break;
    at += step;
    left -= step;
  }
  return 0;
}

int ks_netlink_dump(int fd, const struct nlmsghdr *request, ks_netlink_each each, void *context,
                    struct ks_netlink_error *error, const char **step) {
  uint8_t page[ANSWER_BYTES];
  bool is_interrupted = false;
  *step = "send";
  if (send(fd, request, request->nlmsg_len, 0) < 0)
    return -errno;
  for (;;) {
    *step = "recv";
    ssize_t received = recv(fd, page, sizeof(page), MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) {
      struct pollfd readable = {.fd = fd, .events = POLLIN};
      if (poll(&readable, 1, KS_NETLINK_TIMEOUT_MS) == 0)
        return -ETIMEDOUT;
      continue;
    }
    if (received < 0 && errno == EINTR)
      continue;
    if (received < 0)
      return -errno;
    *step = "netlink dump";
    int state = read_page(page, (size_t)received, each, context, &is_interrupted, error);
    if (state != 0)
      return state == 1 && is_interrupted ? 2 : state;
  }
}
