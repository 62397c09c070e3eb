#define _GNU_SOURCE
#include "conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlink.h"

enum {
  /* A page of a dump (NLMSG_GOODSIZE at most 32 KB); an event is far smaller. */
  RECEIVE_BYTES = 64 * 1024,
  EVENT_BYTES = 1024,
  EVENT_BATCH = 64,
  /* nlmsghdr 16, nfgenmsg 4. */
  ATTRIBUTES_AT = 20
};

struct ks_conntrack {
  int fd;
  bool is_dump;
  bool is_interrupted;
  uint32_t buffer_bytes;
  uint32_t mark, mark_mask; /* of a dump */
  uint8_t protocol;
  /* The datagram being read: a dump's may hold more entries than the caller has room for. */
  uint8_t *buffer;
  size_t at, end;
  int done; /* what the next call returns at the end of a dump */
  struct mmsghdr messages[EVENT_BATCH];
  struct iovec parts[EVENT_BATCH];
};

static int fail(const char **step, const char *name) {
  *step = name;
  return -errno;
}

static uint32_t be32(const struct nlattr *attribute) {
  uint32_t value = 0;
  const void *payload = ks_netlink_payload(attribute, sizeof(value));
  if (payload != NULL)
    memcpy(&value, payload, sizeof(value));
  return ntohl(value);
}

static uint32_t be16(const struct nlattr *attribute) {
  uint16_t value = 0;
  const void *payload = ks_netlink_payload(attribute, sizeof(value));
  if (payload != NULL)
    memcpy(&value, payload, sizeof(value));
  return ntohs(value);
}

static uint32_t u8(const struct nlattr *attribute) {
  const uint8_t *payload = ks_netlink_payload(attribute, 1);
  return payload == NULL ? 0 : *payload;
}

static void copy_address(const struct nlattr *v4, const struct nlattr *v6, uint32_t *words) {
  const void *address = ks_netlink_payload(v6, 16);
  if (address != NULL)
    memcpy(words, address, 16);
  else if ((address = ks_netlink_payload(v4, 4)) != NULL)
    memcpy(words, address, 4);
}

/* A CTA_TUPLE_*: addresses to words[0] and [4], ports to [8] and [9]. Returns the protocol, 0: none. */
static uint32_t parse_tuple(const struct nlattr *attribute, uint32_t *words) {
  const struct nlattr *tuple[CTA_TUPLE_PROTO + 1], *ip[CTA_IP_V6_DST + 1],
      *protocol[CTA_PROTO_DST_PORT + 1];
  if (!ks_netlink_index_nested(attribute, tuple, CTA_TUPLE_PROTO))
    return 0;
  if (ks_netlink_index_nested(tuple[CTA_TUPLE_IP], ip, CTA_IP_V6_DST)) {
    copy_address(ip[CTA_IP_V4_SRC], ip[CTA_IP_V6_SRC], words);
    copy_address(ip[CTA_IP_V4_DST], ip[CTA_IP_V6_DST], words + 4);
  }
  if (!ks_netlink_index_nested(tuple[CTA_TUPLE_PROTO], protocol, CTA_PROTO_DST_PORT))
    return 0;
  words[8] = be16(protocol[CTA_PROTO_SRC_PORT]);
  words[9] = be16(protocol[CTA_PROTO_DST_PORT]);
  return u8(protocol[CTA_PROTO_NUM]);
}

static void parse_tcp(const struct nlattr *attribute, uint32_t *words) {
  const struct nlattr *info[CTA_PROTOINFO_TCP + 1],
      *tcp[CTA_PROTOINFO_TCP_FLAGS_REPLY + 1];
  if (!ks_netlink_index_nested(attribute, info, CTA_PROTOINFO_TCP) ||
      !ks_netlink_index_nested(info[CTA_PROTOINFO_TCP], tcp, CTA_PROTOINFO_TCP_FLAGS_REPLY))
    return;
  words[KS_CONNTRACK_TCP_STATE] = u8(tcp[CTA_PROTOINFO_TCP_STATE]);
  /* struct nf_ct_tcp_flags: the flags, then a mask. */
  words[KS_CONNTRACK_TCP_FLAGS] =
      u8(tcp[CTA_PROTOINFO_TCP_FLAGS_ORIGINAL]) | u8(tcp[CTA_PROTOINFO_TCP_FLAGS_REPLY]);
}

static uint32_t type_of(const struct nlmsghdr *header) {
  if ((header->nlmsg_type & 0xff) == IPCTNL_MSG_CT_DELETE)
    return KS_CONNTRACK_IS_DESTROY;
  if (header->nlmsg_flags & NLM_F_MULTI)
    return KS_CONNTRACK_IS_ENTRY;
  return header->nlmsg_flags & NLM_F_CREATE ? KS_CONNTRACK_IS_NEW : KS_CONNTRACK_IS_UPDATE;
}

int ks_conntrack_parse(const uint8_t *message, size_t length, uint32_t words[KS_CONNTRACK_WORDS]) {
  const struct nlmsghdr *header = (const struct nlmsghdr *)message;
  const struct nlattr *table[CTA_MARK_MASK + 1];
  if (length < sizeof(*header) || header->nlmsg_len > length || header->nlmsg_len < ATTRIBUTES_AT ||
      header->nlmsg_type >> 8 != NFNL_SUBSYS_CTNETLINK ||
      !ks_netlink_index(message + ATTRIBUTES_AT, message + header->nlmsg_len, table,
                        CTA_MARK_MASK) ||
      table[CTA_TUPLE_ORIG] == NULL)
    return 0;
  const struct nfgenmsg *extra = mnl_nlmsg_get_payload(header);
  memset(words, 0, KS_CONNTRACK_WORDS * sizeof(*words));
  words[KS_CONNTRACK_TYPE] = type_of(header);
  words[KS_CONNTRACK_FAMILY] = extra->nfgen_family == AF_INET6 ? 6 : 4;
  words[KS_CONNTRACK_PROTOCOL] = parse_tuple(table[CTA_TUPLE_ORIG], words + KS_CONNTRACK_SOURCE);
  parse_tuple(table[CTA_TUPLE_REPLY], words + KS_CONNTRACK_REPLY_SOURCE);
  words[KS_CONNTRACK_MARK] = be32(table[CTA_MARK]);
  words[KS_CONNTRACK_STATUS] = be32(table[CTA_STATUS]);
  words[KS_CONNTRACK_TIMEOUT] = be32(table[CTA_TIMEOUT]);
  parse_tcp(table[CTA_PROTOINFO], words);
  return 1;
}

static int open_socket(struct ks_conntrack **made, const char **step) {
  struct ks_conntrack *conntrack = calloc(1, sizeof(*conntrack));
  *step = "open";
  if (conntrack == NULL)
    return -ENOMEM;
  conntrack->buffer = malloc(RECEIVE_BYTES);
  conntrack->fd = conntrack->buffer == NULL ? -ENOMEM : ks_netlink_open(step);
  if (conntrack->fd < 0) {
    int error = conntrack->fd;
    free(conntrack->buffer);
    free(conntrack);
    return error;
  }
  *made = conntrack;
  return 0;
}

/*
 * Lets through: an event whose mark has a bit of the mask, unless it is an update that says neither
 * TIME_WAIT nor CLOSE (nor SYN_RECV with `answers`). Attributes are found by the kernel's own
 * SKF_AD_NLATTR (A: where to begin, X: type; A becomes the offset or 0) and SKF_AD_NLATTR_NEST (A:
 * offset of the outer attribute).
 */
static int attach_filter(int fd, uint32_t mark_mask, bool answers, const char **step) {
  /* NLM_F_CREATE, 0x400, in the second byte of a little-endian nlmsg_flags, else in the first. */
  const uint16_t one = 1;
  const uint32_t create_at = *(const uint8_t *)&one == 1 ? 7 : 6;
  const uint32_t type_at = *(const uint8_t *)&one == 1 ? 4 : 5;
  const uint32_t answered = answers ? TCP_CONNTRACK_SYN_RECV : TCP_CONNTRACK_CLOSE;
  struct sock_filter code[] = {
      /* 0 */ BPF_STMT(BPF_LD | BPF_IMM, ATTRIBUTES_AT),
      /* 1 */ BPF_STMT(BPF_LDX | BPF_IMM, CTA_MARK),
      /* 2 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_NLATTR)),
      /* 3 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 18, 0),
      /* 4 */ BPF_STMT(BPF_MISC | BPF_TAX, 0),
      /* 5 */ BPF_STMT(BPF_LD | BPF_W | BPF_IND, 4),
      /* 6 */ BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, mark_mask, 0, 15),
      /* 7 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, type_at),
      /* 8 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPCTNL_MSG_CT_DELETE, 12, 0),
      /* 9 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, create_at),
      /* 10 */ BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, NLM_F_CREATE >> 8, 10, 0),
      /* 11 */ BPF_STMT(BPF_LD | BPF_IMM, ATTRIBUTES_AT),
      /* 12 */ BPF_STMT(BPF_LDX | BPF_IMM, CTA_PROTOINFO),
      /* 13 */ BPF_STMT(BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_NLATTR)),
      /* 14 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 7, 0),
      /* CTA_PROTOINFO_TCP is its only attribute, and the state that one's first. */
      /* 15 */ BPF_STMT(BPF_MISC | BPF_TAX, 0),
      /* 16 */ BPF_STMT(BPF_LD | BPF_B | BPF_IND, 12),
      /* 17 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TCP_CONNTRACK_TIME_WAIT, 3, 0),
      /* 18 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TCP_CONNTRACK_CLOSE, 2, 0),
      /* 19 */ BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, answered, 1, 0),
      /* 20 */ BPF_STMT(BPF_JMP | BPF_JA, 1),
      /* 21 */ BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
      /* 22 */ BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
  if (mark_mask == 0)
    return 0;
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
    return fail(step, "setsockopt");
  return 0;
}

int ks_conntrack_events(uint32_t mark_mask, uint32_t buffer_bytes, bool answers,
                        struct ks_conntrack **made, const char **step) {
  static const int groups[] = {NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE,
                               NFNLGRP_CONNTRACK_DESTROY};
  struct ks_conntrack *conntrack;
  int error = open_socket(&conntrack, step);
  if (error)
    return error;
  for (size_t i = 0; i < EVENT_BATCH; i++) {
    conntrack->parts[i].iov_base = conntrack->buffer + i * EVENT_BYTES;
    conntrack->parts[i].iov_len = EVENT_BYTES;
    conntrack->messages[i].msg_hdr.msg_iov = &conntrack->parts[i];
    conntrack->messages[i].msg_hdr.msg_iovlen = 1;
  }
  error = attach_filter(conntrack->fd, mark_mask, answers, step);
  int granted = error ? error : ks_netlink_buffer(conntrack->fd, SO_RCVBUF, buffer_bytes, step);
  error = granted < 0 ? granted : 0;
  for (size_t i = 0; !error && i < sizeof(groups) / sizeof(groups[0]); i++)
    if (setsockopt(conntrack->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i],
                   sizeof(groups[i])) < 0)
      error = fail(step, "setsockopt");
  if (error) {
    ks_conntrack_close(conntrack);
    return error;
  }
  conntrack->buffer_bytes = (uint32_t)granted;
  *made = conntrack;
  return 0;
}

int ks_conntrack_answers(struct ks_conntrack *conntrack, uint32_t mark_mask, bool answers,
                         const char **step) {
  return attach_filter(conntrack->fd, mark_mask, answers, step); /* In place of the one before. */
}

int ks_conntrack_dump(int family, uint32_t mark, uint32_t mark_mask, uint8_t protocol,
                      struct ks_conntrack **made, const char **step) {
  uint8_t buffer[128];
  struct ks_conntrack *conntrack;
  int error = open_socket(&conntrack, step);
  if (error)
    return error;
  conntrack->is_dump = true;
  conntrack->mark = mark;
  conntrack->mark_mask = mark_mask;
  conntrack->protocol = protocol;
  struct nlmsghdr *request =
      ks_netlink_message(buffer, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, NLM_F_DUMP,
                         family == 6 ? AF_INET6 : AF_INET);
  if (mark_mask != 0) {
    mnl_attr_put_u32(request, CTA_MARK, htonl(mark));
    mnl_attr_put_u32(request, CTA_MARK_MASK, htonl(mark_mask));
  }
  if (send(conntrack->fd, request, request->nlmsg_len, 0) < 0) {
    error = fail(step, "send");
    ks_conntrack_close(conntrack);
    return error;
  }
  *made = conntrack;
  return 0;
}

void ks_conntrack_close(struct ks_conntrack *conntrack) {
  close(conntrack->fd);
  free(conntrack->buffer);
  free(conntrack);
}

int ks_conntrack_fd(const struct ks_conntrack *conntrack) {
  return conntrack->fd;
}

uint32_t ks_conntrack_buffer_bytes(const struct ks_conntrack *conntrack) {
  return conntrack->buffer_bytes;
}

static bool is_wanted(const struct ks_conntrack *conntrack, const uint32_t *words) {
  return (words[KS_CONNTRACK_MARK] & conntrack->mark_mask) == conntrack->mark &&
         (conntrack->protocol == 0 || words[KS_CONNTRACK_PROTOCOL] == conntrack->protocol);
}

/* Reads on in the datagram at hand. */
static int read_page(struct ks_conntrack *conntrack, uint32_t *records, uint32_t capacity) {
  uint32_t count = 0;
  while (conntrack->at < conntrack->end && count < capacity) {
    const uint8_t *at = conntrack->buffer + conntrack->at;
    size_t left = conntrack->end - conntrack->at;
    const struct nlmsghdr *header = (const struct nlmsghdr *)at;
    int code;
    conntrack->at = conntrack->end;
    if (left < sizeof(*header) || header->nlmsg_len < sizeof(*header) || header->nlmsg_len > left)
      break;
    if (ks_netlink_align(header->nlmsg_len) < left)
      conntrack->at = conntrack->end - left + ks_netlink_align(header->nlmsg_len);
    conntrack->is_interrupted |= (header->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
    if (header->nlmsg_type == NLMSG_DONE && (code = ks_netlink_done_code(header)) != 0)
      conntrack->done = code;
    else if (header->nlmsg_type == NLMSG_DONE)
      conntrack->done = conntrack->is_interrupted ? -EINTR : -ENODATA;
    else if (ks_netlink_is_answer(header, left, &code, NULL))
      conntrack->done = code < 0 ? code : -ENODATA;
    else if (ks_conntrack_parse(at, left, records + (size_t)count * KS_CONNTRACK_WORDS))
      count += is_wanted(conntrack, records + (size_t)count * KS_CONNTRACK_WORDS) ? 1 : 0;
  }
  return (int)count;
}

static int receive_page(struct ks_conntrack *conntrack, uint32_t *records, uint32_t capacity,
                        const char **step) {
  /* Pages without a wanted entry are many when few match: read on, but not for ever. */
  for (int pages = 0; pages < 64; pages++) {
    int count = read_page(conntrack, records, capacity);
    if (count > 0)
      return count;
    if (conntrack->done != 0) {
      *step = "conntrack dump";
      return conntrack->done;
    }
    ssize_t received = recv(conntrack->fd, conntrack->buffer, RECEIVE_BYTES, MSG_DONTWAIT);
    if (received < 0)
      return errno == EAGAIN || errno == EINTR ? 0 : fail(step, "recv");
    conntrack->at = 0;
    conntrack->end = (size_t)received;
  }
  return 0;
}

int ks_conntrack_receive(struct ks_conntrack *conntrack, uint32_t *records, uint32_t capacity,
                         const char **step) {
  *step = "recvmmsg";
  if (conntrack->is_dump)
    return receive_page(conntrack, records, capacity, step);
  unsigned batch = capacity < EVENT_BATCH ? capacity : EVENT_BATCH;
  int received = recvmmsg(conntrack->fd, conntrack->messages, batch, MSG_DONTWAIT, NULL);
  if (received < 0)
    return errno == EAGAIN || errno == EINTR ? 0 : fail(step, "recvmmsg");
  int count = 0;
  for (int i = 0; i < received; i++)
    count += ks_conntrack_parse(conntrack->parts[i].iov_base, conntrack->messages[i].msg_len,
                                records + (size_t)count * KS_CONNTRACK_WORDS);
  return count;
}

int ks_conntrack_delete(int fd, int family, const uint32_t words[10], const char **step) {
  uint8_t buffer[256];
  bool is_v6 = family == 6;
  struct nlmsghdr *request =
      ks_netlink_message(buffer, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
                         is_v6 ? AF_INET6 : AF_INET);
  size_t length = is_v6 ? 16 : 4;
  struct nlattr *tuple = mnl_attr_nest_start(request, CTA_TUPLE_ORIG);
  struct nlattr *ip = mnl_attr_nest_start(request, CTA_TUPLE_IP);
  mnl_attr_put(request, is_v6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, length, words);
  mnl_attr_put(request, is_v6 ? CTA_IP_V6_DST : CTA_IP_V4_DST, length, words + 4);
  mnl_attr_nest_end(request, ip);
  struct nlattr *protocol = mnl_attr_nest_start(request, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(request, CTA_PROTO_NUM, (uint8_t)words[9]);
  mnl_attr_put_u16(request, CTA_PROTO_SRC_PORT, htons((uint16_t)(words[8] >> 16)));
  mnl_attr_put_u16(request, CTA_PROTO_DST_PORT, htons((uint16_t)words[8]));
  mnl_attr_nest_end(request, protocol);
  mnl_attr_nest_end(request, tuple);
  return ks_netlink_transact(fd, request, request->nlmsg_len, 1, NULL, step);
}

int ks_conntrack_delete_marked(int fd, int family, uint32_t mark, uint32_t mark_mask,
                               const char **step) {
  uint8_t buffer[128];
  *step = "netlink";
  /* Without a filter the kernel would empty the whole table. */
  if (mark_mask == 0 || mark == 0)
    return -EINVAL;
  struct nlmsghdr *request =
      ks_netlink_message(buffer, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
                         family == 6 ? AF_INET6 : AF_INET);
  /* Of a request without a tuple the kernel takes the family only when the version is not 0. */
  ((struct nfgenmsg *)mnl_nlmsg_get_payload(request))->version = 1;
  mnl_attr_put_u32(request, CTA_MARK, htonl(mark));
  mnl_attr_put_u32(request, CTA_MARK_MASK, htonl(mark_mask));
  return ks_netlink_transact(fd, request, request->nlmsg_len, 1, NULL, step);
}
