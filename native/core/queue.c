#define _GNU_SOURCE
#include "queue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlink.h"

enum {
  /* Header and attributes around a payload: some 200 bytes; the rest is for newer kernels. */
  MESSAGE_OVERHEAD = 512,
  /* nlmsghdr 16, nfgenmsg 4, NFQA_VERDICT_HDR 4 + 8, NFQA_MARK 4 + 4. */
  VERDICT_BYTES = 40,
  MAX_BATCH = 1024,
  ACK_TIMEOUT_MS = 5000,
  /* Messages looked at while waiting for an answer: more packets than a queue holds. */
  MAX_ANSWERS = 100000
};

struct ks_queue {
  int fd;
  uint16_t batch;
  uint32_t slot_bytes; /* for one message */
  uint32_t buffer_bytes;
  uint32_t strays;
  uint8_t *verdicts;
  struct mmsghdr *messages;
  struct iovec *parts;
};

static int fail(const char **step, const char *name) {
  *step = name;
  return -errno;
}

static struct nlmsghdr *put_header(void *buffer, uint16_t type, uint16_t queue_number) {
  struct nlmsghdr *header = mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type);
  header->nlmsg_flags = NLM_F_REQUEST;
  struct nfgenmsg *extra = mnl_nlmsg_put_extra_header(header, sizeof(*extra));
  extra->nfgen_family = AF_UNSPEC;
  extra->version = NFNETLINK_V0;
  extra->res_id = htons(queue_number);
  return header;
}

static void put_verdict(uint8_t *at, const uint32_t *words) {
  bool is_marked = (words[KS_PACKET_VERDICT] & KS_VERDICT_MARKED) != 0;
  struct nfqnl_msg_verdict_hdr verdict = {
      .verdict = htonl(words[KS_PACKET_VERDICT] & KS_VERDICT_ACCEPT ? NF_ACCEPT : NF_DROP),
      .id = htonl(words[KS_PACKET_ID])};
  struct nlmsghdr *message =
      put_header(at, NFQNL_MSG_VERDICT, (uint16_t)words[KS_PACKET_QUEUE]);
  mnl_attr_put(message, NFQA_VERDICT_HDR, sizeof(verdict), &verdict);
  if (is_marked)
    mnl_attr_put_u32(message, NFQA_MARK, htonl(words[KS_PACKET_VERDICT_MARK]));
}

/*
 * Sends one configuration message and waits for its answer. Packets may come before it, when the
 * rules of an earlier process are still there: they pass unmarked, as they did without anybody.
 */
static int configure(struct ks_queue *queue, struct nlmsghdr *request, const char **step) {
  uint8_t answer[MESSAGE_OVERHEAD + UINT16_MAX], verdict[VERDICT_BYTES];
  const uint8_t *payload;
  uint32_t words[KS_PACKET_WORDS];
  request->nlmsg_flags |= NLM_F_ACK;
  request->nlmsg_seq = 1;
  if (send(queue->fd, request, request->nlmsg_len, 0) < 0)
    return fail(step, "send");
  for (int tries = 0; tries < MAX_ANSWERS; tries++) {
    struct pollfd readable = {.fd = queue->fd, .events = POLLIN};
    int ready = poll(&readable, 1, ACK_TIMEOUT_MS);
    if (ready < 0 && errno != EINTR)
      return fail(step, "poll");
    if (ready == 0)
      break;
    ssize_t length = recv(queue->fd, answer, sizeof(answer), MSG_DONTWAIT);
    if (length < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
      return fail(step, "recv");
    if (length < (ssize_t)(sizeof(struct nlmsghdr) + sizeof(struct nlmsgerr)))
      continue;
    if (ks_queue_parse(answer, (size_t)length, words, &payload)) {
      put_verdict(verdict, words);
      (void)send(queue->fd, verdict, ((struct nlmsghdr *)verdict)->nlmsg_len, 0);
      continue;
    }
    if (((const struct nlmsghdr *)answer)->nlmsg_type != NLMSG_ERROR)
      continue;
    *step = "nfnetlink_queue";
    return ((const struct nlmsgerr *)mnl_nlmsg_get_payload((struct nlmsghdr *)answer))->error;
  }
  *step = "recv";
  return -ETIMEDOUT;
}

/*
 * The kernel says EPERM of a queue that another socket has, as it does without CAP_NET_ADMIN. A
 * command that it takes from everybody with the capability, and does nothing for, tells them apart.
 */
static int refusal_of_bind(struct ks_queue *queue, uint16_t number, const char **step) {
  uint8_t buffer[64];
  struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_PF_BIND, .pf = htons(AF_INET)};
  struct nlmsghdr *request = put_header(buffer, NFQNL_MSG_CONFIG, number);
  mnl_attr_put(request, NFQA_CFG_CMD, sizeof(command), &command);
  return configure(queue, request, step) == 0 ? -EBUSY : -EPERM;
}

/* One message for all, so that no packet meets a queue that is bound and not set up yet. */
static int bind_queue(struct ks_queue *queue, const struct ks_queue_options *options,
                      uint16_t number, const char **step) {
  uint8_t buffer[256];
  struct nfqnl_msg_config_cmd command = {.command = NFQNL_CFG_CMD_BIND, .pf = htons(AF_UNSPEC)};
  struct nfqnl_msg_config_params params = {.copy_range = htonl(options->copy_range),
                                           .copy_mode = NFQNL_COPY_PACKET};
  uint32_t flags = (options->is_fail_open ? NFQA_CFG_F_FAIL_OPEN : 0u) |
                   (options->takes_gso ? NFQA_CFG_F_GSO : 0u);
  struct nlmsghdr *request = put_header(buffer, NFQNL_MSG_CONFIG, number);
  mnl_attr_put(request, NFQA_CFG_CMD, sizeof(command), &command);
  mnl_attr_put(request, NFQA_CFG_PARAMS, sizeof(params), &params);
  mnl_attr_put_u32(request, NFQA_CFG_FLAGS, htonl(flags));
  mnl_attr_put_u32(request, NFQA_CFG_MASK, htonl(NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO));
  mnl_attr_put_u32(request, NFQA_CFG_QUEUE_MAXLEN, htonl(options->length));
  int error = configure(queue, request, step);
  return error == -EPERM ? refusal_of_bind(queue, number, step) : error;
}

static int set_up_socket(struct ks_queue *queue, uint32_t bytes, const char **step) {
  struct sockaddr_nl name = {.nl_family = AF_NETLINK};
  int on = 1, wanted = (int)bytes, granted = 0;
  socklen_t length = sizeof(granted);
  if (bind(queue->fd, (struct sockaddr *)&name, sizeof(name)) < 0)
    return fail(step, "bind");
  /* An overrun is told by the queue's own counters; as an error it would only cost a call. */
  if (setsockopt(queue->fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on)) < 0)
    return fail(step, "setsockopt");
  /* Refused without CAP_NET_ADMIN in the first namespace: then what the system allows. */
  if (setsockopt(queue->fd, SOL_SOCKET, SO_RCVBUFFORCE, &wanted, sizeof(wanted)) < 0 &&
      setsockopt(queue->fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof(wanted)) < 0)
    return fail(step, "setsockopt");
  if (getsockopt(queue->fd, SOL_SOCKET, SO_RCVBUF, &granted, &length) < 0)
    return fail(step, "getsockopt");
  queue->buffer_bytes = (uint32_t)granted;
  return 0;
}

static int allocate(struct ks_queue *queue) {
  queue->verdicts = malloc((size_t)queue->batch * VERDICT_BYTES);
  queue->messages = calloc(queue->batch, sizeof(*queue->messages));
  queue->parts = calloc(queue->batch, sizeof(*queue->parts));
  if (!queue->verdicts || !queue->messages || !queue->parts)
    return -ENOMEM;
  for (size_t i = 0; i < queue->batch; i++) {
    queue->parts[i].iov_len = queue->slot_bytes;
    queue->messages[i].msg_hdr.msg_iov = &queue->parts[i];
    queue->messages[i].msg_hdr.msg_iovlen = 1;
  }
  return 0;
}

int ks_queue_open(const struct ks_queue_options *options, struct ks_queue **queue,
                  const char **step) {
  *step = "open";
  if (options->batch == 0 || options->batch > MAX_BATCH || options->count == 0 ||
      options->buffer_bytes > INT32_MAX || options->first + options->count > 65536)
    return -EINVAL;
  struct ks_queue *made = calloc(1, sizeof(*made));
  if (made == NULL)
    return -ENOMEM;
  made->batch = options->batch;
  /* Aligned, so that the headers may be read in place. */
  made->slot_bytes = ((uint32_t)options->copy_range + MESSAGE_OVERHEAD + 63u) & ~63u;
  made->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
  int error = made->fd < 0 ? fail(step, "socket") : allocate(made);
  if (!error)
    error = set_up_socket(made, options->buffer_bytes, step);
  for (uint32_t i = 0; !error && i < options->count; i++)
    error = bind_queue(made, options, (uint16_t)(options->first + i), step);
  if (error) {
    ks_queue_close(made);
    return error;
  }
  *queue = made;
  return 0;
}

void ks_queue_close(struct ks_queue *queue) {
  if (queue->fd >= 0)
    close(queue->fd);
  free(queue->verdicts);
  free(queue->messages);
  free(queue->parts);
  free(queue);
}

int ks_queue_fd(const struct ks_queue *queue) {
  return queue->fd;
}

uint32_t ks_queue_buffer_bytes(const struct ks_queue *queue) {
  return queue->buffer_bytes;
}

uint32_t ks_queue_strays(const struct ks_queue *queue) {
  return queue->strays;
}

uint32_t ks_queue_batch(const struct ks_queue *queue) {
  return queue->batch;
}

size_t ks_queue_copies_bytes(const struct ks_queue *queue) {
  return (size_t)queue->batch * queue->slot_bytes;
}

static uint32_t u32_of(const struct nlattr *attribute) {
  uint32_t value = 0;
  const void *payload = ks_netlink_payload(attribute, sizeof(value));
  if (payload != NULL)
    memcpy(&value, payload, sizeof(value));
  return ntohl(value);
}

int ks_queue_parse(const uint8_t *message, size_t length, uint32_t words[KS_PACKET_WORDS],
                   const uint8_t **payload) {
  const struct nlmsghdr *header = (const struct nlmsghdr *)message;
  const struct nlattr *found[NFQA_PAYLOAD + 1];
  if (length < sizeof(*header) || header->nlmsg_len > length ||
      header->nlmsg_len < sizeof(*header) + sizeof(struct nfgenmsg) ||
      header->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET) ||
      !ks_netlink_index(message + sizeof(*header) + sizeof(struct nfgenmsg),
                        message + header->nlmsg_len, found, NFQA_PAYLOAD) || found[NFQA_PACKET_HDR] == NULL ||
      mnl_attr_get_payload_len(found[NFQA_PACKET_HDR]) < sizeof(struct nfqnl_msg_packet_hdr))
    return 0;
  const struct nfgenmsg *extra = mnl_nlmsg_get_payload(header);
  struct nfqnl_msg_packet_hdr packet;
  memcpy(&packet, mnl_attr_get_payload(found[NFQA_PACKET_HDR]), sizeof(packet));
  words[KS_PACKET_ID] = ntohl(packet.packet_id);
  words[KS_PACKET_HOOK] = packet.hook;
  words[KS_PACKET_QUEUE] = ntohs(extra->res_id);
  words[KS_PACKET_MARK] = u32_of(found[NFQA_MARK]);
  words[KS_PACKET_IN_DEVICE] = u32_of(found[NFQA_IFINDEX_INDEV]);
  words[KS_PACKET_COPY_LENGTH] = 0;
  words[KS_PACKET_VERDICT] = KS_VERDICT_ACCEPT;
  words[KS_PACKET_VERDICT_MARK] = 0;
  const struct nlattr *data = found[NFQA_PAYLOAD];
  *payload = data == NULL ? message : mnl_attr_get_payload(data);
  if (data != NULL)
    words[KS_PACKET_COPY_LENGTH] = mnl_attr_get_payload_len(data);
  ks_packet_parse(*payload, words[KS_PACKET_COPY_LENGTH], words);
  return 1;
}

int ks_queue_receive(struct ks_queue *queue, uint32_t *records, uint8_t *copies,
                     const char **step) {
  for (size_t i = 0; i < queue->batch; i++)
    queue->parts[i].iov_base = copies + i * queue->slot_bytes;
  int received = recvmmsg(queue->fd, queue->messages, queue->batch, MSG_DONTWAIT, NULL);
  if (received < 0) {
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
      return 0;
    return fail(step, "recvmmsg");
  }
  int count = 0;
  for (int i = 0; i < received; i++) {
    const uint8_t *message = queue->parts[i].iov_base, *payload;
    uint32_t *words = records + (size_t)count * KS_PACKET_WORDS;
    if (!ks_queue_parse(message, queue->messages[i].msg_len, words, &payload)) {
      queue->strays++;
      continue;
    }
    words[KS_PACKET_COPY_OFFSET] = (uint32_t)(payload - copies);
    count++;
  }
  return count;
}

int ks_queue_answer(struct ks_queue *queue, const uint32_t *records, uint32_t count,
                    const char **step) {
  *step = "send";
  if (count > queue->batch)
    return -EINVAL;
  size_t length = 0;
  for (uint32_t i = 0; i < count; i++) {
    uint8_t *at = queue->verdicts + length;
    put_verdict(at, records + (size_t)i * KS_PACKET_WORDS);
    length += ((struct nlmsghdr *)at)->nlmsg_len;
  }
  if (length == 0)
    return 0;
  ssize_t sent;
  do
    sent = send(queue->fd, queue->verdicts, length, 0);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : 0;
}
