/* Unit test of core/netlink.c: attributes and answers made here, whole, cut and with false lengths.
 */
#include "../core/netlink.h"

#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>

#include "peer.h"

enum { ROOM = 1024, MAX_TYPE = 4 };

static void sorts_attributes_by_type(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  const struct nlattr *table[MAX_TYPE + 1];
  struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
  mnl_attr_put_u8(message, 1, 11);
  mnl_attr_put_u8(message, 3 | NLA_F_NET_BYTEORDER, 31);
  mnl_attr_put_u8(message, MAX_TYPE + 1, 51);
  mnl_attr_put_u8(message, 3 | NLA_F_NESTED, 32);
  mnl_attr_put(message, 2, 0, NULL);
  const uint8_t *end = buffer + message->nlmsg_len;
  CHECK(ks_netlink_index(buffer + sizeof(*message), end, table, MAX_TYPE));
  CHECK(table[0] == NULL && table[4] == NULL);
  CHECK(*(const uint8_t *)ks_netlink_payload(table[1], 1) == 11);
  CHECK(*(const uint8_t *)ks_netlink_payload(table[3], 1) == 32);
  CHECK(ks_netlink_payload(table[2], 0) != NULL && ks_netlink_payload(table[2], 1) == NULL);
  CHECK(ks_netlink_payload(table[1], 2) == NULL && ks_netlink_payload(NULL, 0) == NULL);
}

/* A length that is no multiple of 4 and has no padding behind it; bytes that are no attribute. */
static void takes_odd_ends(void) {
  _Alignas(4) const uint8_t odd[] = {5, 0, 1, 0, 7}, stray[] = {5, 0, 1, 0, 7, 0, 0, 0, 9, 9, 9};
  const struct nlattr *table[MAX_TYPE + 1];
  uint8_t *copy = exact_copy(odd, sizeof(odd));
  CHECK(ks_netlink_index(copy, copy + sizeof(odd), table, MAX_TYPE));
  CHECK(*(const uint8_t *)ks_netlink_payload(table[1], 1) == 7);
  free(copy);
  copy = exact_copy(stray, sizeof(stray));
  CHECK(ks_netlink_index(copy, copy + sizeof(stray), table, MAX_TYPE));
  CHECK(table[1] != NULL);
  CHECK(ks_netlink_index(copy, copy, table, MAX_TYPE) && table[1] == NULL);
  free(copy);
}

/* Of the second attribute of two; behind one of 4 bytes there would be a third, of length 0. */
static void refuses_false_lengths(void) {
  const struct nlattr *table[MAX_TYPE + 1];
  for (uint16_t claimed = 0; claimed < 32; claimed++) {
    _Alignas(4) uint8_t bytes[12] = {4, 0, 1, 0};
    memcpy(bytes + 4, &claimed, sizeof(claimed));
    uint8_t *copy = exact_copy(bytes, sizeof(bytes));
    CHECK(ks_netlink_index(copy, copy + sizeof(bytes), table, MAX_TYPE) ==
          (claimed > 4 && claimed <= 8));
    free(copy);
  }
}

static void looks_inside_of_attributes(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  const struct nlattr *table[MAX_TYPE + 1], *inner[MAX_TYPE + 1];
  struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
  struct nlattr *nest = mnl_attr_nest_start(message, 1);
  mnl_attr_put_u8(message, 2, 22);
  mnl_attr_nest_end(message, nest);
  mnl_attr_put(message, 3, 6, "\x9\0\1\0\0\0");
  const uint8_t *end = buffer + message->nlmsg_len;
  CHECK(ks_netlink_index(buffer + sizeof(*message), end, table, MAX_TYPE));
  CHECK(ks_netlink_index_nested(table[1], inner, MAX_TYPE));
  CHECK(*(const uint8_t *)ks_netlink_payload(inner[2], 1) == 22);
  CHECK(!ks_netlink_index_nested(table[3], inner, MAX_TYPE) && inner[1] == NULL);
  CHECK(!ks_netlink_index_nested(NULL, inner, MAX_TYPE) && inner[2] == NULL);
}

static bool is_answer(const void *bytes, size_t length, int *code, struct ks_netlink_error *error) {
  void *copy = exact_copy(bytes, length);
  bool is = ks_netlink_is_answer(copy, length, code, error);
  free(copy);
  return is;
}

static void reads_answers(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct ks_netlink_error error = {.sequence = 1, .text = "before"};
  int code = 1;
  struct nlmsghdr *message = put_answer(buffer, 0, 7, NULL);
  CHECK(is_answer(message, message->nlmsg_len, &code, &error) && code == 0);
  CHECK(error.sequence == 1 && strcmp(error.text, "before") == 0);
  message = put_answer(buffer, -EPERM, 8, NULL);
  CHECK(is_answer(message, message->nlmsg_len, &code, &error) && code == -EPERM);
  CHECK(error.sequence == 8 && strcmp(error.text, "") == 0);
  message = put_answer(buffer, -EBUSY, 9, "it is used");
  CHECK(is_answer(message, message->nlmsg_len, &code, &error) && code == -EBUSY);
  CHECK(error.sequence == 9 && strcmp(error.text, "it is used") == 0);
  CHECK(is_answer(message, message->nlmsg_len, &code, NULL));
  message->nlmsg_type = NLMSG_DONE;
  CHECK(!is_answer(message, message->nlmsg_len, &code, &error));
}

/* Kernels before 4.2 know no NLM_F_CAPPED: the message that was refused stands before the words. */
static void finds_the_words_behind_the_refused_message(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  for (uint32_t refused = 16; refused < 24; refused++) {
    struct ks_netlink_error error;
    int code = 0;
    struct nlmsghdr *message = put_answer(buffer, -EINVAL, 3, NULL);
    struct nlmsgerr *answer = mnl_nlmsg_get_payload(message);
    message->nlmsg_flags = NLM_F_ACK_TLVS;
    answer->msg.nlmsg_len = refused;
    message->nlmsg_len += (uint32_t)ks_netlink_align(refused - 16);
    mnl_attr_put_strz(message, 1, "no such thing");
    CHECK(is_answer(message, message->nlmsg_len, &code, &error) && code == -EINVAL);
    CHECK(strcmp(error.text, "no such thing") == 0);
    answer->msg.nlmsg_len = UINT32_MAX;
    CHECK(is_answer(message, message->nlmsg_len, &code, &error));
    CHECK(strcmp(error.text, "") == 0);
  }
}

static void cuts_long_words_and_those_without_an_end(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  char text[KS_NETLINK_TEXT * 2];
  memset(text, 'x', sizeof(text));
  for (size_t length = 0; length < sizeof(text); length++) {
    struct ks_netlink_error error;
    int code = 0;
    struct nlmsghdr *message = put_answer(buffer, -EINVAL, 3, NULL);
    message->nlmsg_flags |= NLM_F_ACK_TLVS;
    mnl_attr_put(message, 1, length, text);
    CHECK(is_answer(message, message->nlmsg_len, &code, &error));
    CHECK(strlen(error.text) == (length < KS_NETLINK_TEXT ? length : KS_NETLINK_TEXT - 1));
  }
}

/* As the datagram ends, and with the length that the message claims. */
static void survives_answers_cut_anywhere(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct nlmsghdr *message = put_answer(buffer, -EBUSY, 9, "it is used");
  const uint32_t whole = message->nlmsg_len;
  for (uint32_t length = 0; length < whole; length++) {
    struct ks_netlink_error error;
    int code = 0;
    message->nlmsg_len = whole;
    CHECK(!is_answer(message, length, &code, &error));
    message->nlmsg_len = length;
    CHECK(is_answer(message, whole, &code, &error) == (length >= 36));
    if (length < 16)
      continue;
    CHECK(is_answer(message, length, &code, &error) == (length >= 36));
  }
}

static void transacts(void) {
  _Alignas(4) uint8_t answer[ROOM], request[ROOM];
  const char *step = NULL;
  struct ks_netlink_error error;
  struct nlmsghdr *message = ks_netlink_message(request, 0x0a0c, NLM_F_ACK, AF_INET6);
  CHECK(message->nlmsg_flags == (NLM_F_REQUEST | NLM_F_ACK) && message->nlmsg_len == 20);
  CHECK(((struct nfgenmsg *)mnl_nlmsg_get_payload(message))->nfgen_family == AF_INET6);

  /* Two acknowledgements in one datagram, something else between them. */
  struct nlmsghdr *first = put_answer(answer, 0, 1, NULL);
  struct nlmsghdr *noise = mnl_nlmsg_put_header(answer + first->nlmsg_len);
  noise->nlmsg_type = NLMSG_NOOP;
  uint8_t *at = answer + first->nlmsg_len + noise->nlmsg_len;
  size_t length = (size_t)(at - answer) + put_answer(at, 0, 2, NULL)->nlmsg_len;
  struct peer *peer = peer_open(answer, length, 1);
  /* The answer to a call that was given up. */
  struct nlmsghdr *stale = put_answer(request + ROOM / 2, -EPERM, 1, NULL);
  CHECK(send(peer->end, stale, stale->nlmsg_len, 0) > 0);
  CHECK(ks_netlink_transact(peer->fd, request, message->nlmsg_len, 2, &error, &step) == 0);
  peer_join(peer);
  CHECK(peer->length == 20 && memcmp(peer->requests, request, 20) == 0);
  peer_close(peer);
}

/* The first refusal counts, and it ends the transaction although more were asked for. */
static void returns_the_first_refusal(void) {
  _Alignas(4) uint8_t answer[ROOM], request[ROOM];
  const char *step = NULL;
  struct ks_netlink_error error;
  struct nlmsghdr *message = ks_netlink_message(request, 0x0a0c, NLM_F_ACK, AF_INET);
  size_t length = put_answer(answer, -ENOENT, 5, "first")->nlmsg_len;
  length += put_answer(answer + length, -EPERM, 6, "second")->nlmsg_len;
  struct peer *peer = peer_open(answer, length, 1);
  CHECK(ks_netlink_transact(peer->fd, request, message->nlmsg_len, 3, &error, &step) == -ENOENT);
  CHECK(error.sequence == 5 && strcmp(error.text, "first") == 0);
  CHECK(strcmp(step, "netlink") == 0);
  peer_join(peer);
  peer_close(peer);
}

static void opens_sockets_that_do_not_block(void) {
  _Alignas(4) uint8_t byte;
  const char *step = NULL;
  int fd = ks_netlink_open(&step);
  CHECK(fd >= 0);
  CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  CHECK(recv(fd, &byte, 1, 0) < 0 && errno == EAGAIN);
  CHECK(ks_netlink_buffer(fd, SO_RCVBUF, 100000, &step) >= 100000);
  CHECK(ks_netlink_buffer(fd, SO_SNDBUF, 100000, &step) >= 100000);
  close(fd);
  CHECK(ks_netlink_buffer(fd, SO_SNDBUF, 1, &step) == -EBADF && strcmp(step, "setsockopt") == 0);
  CHECK(ks_netlink_transact(fd, &byte, 1, 1, NULL, &step) == -EBADF && strcmp(step, "send") == 0);
}

int main(void) {
  sorts_attributes_by_type();
  takes_odd_ends();
  refuses_false_lengths();
  looks_inside_of_attributes();
  reads_answers();
  finds_the_words_behind_the_refused_message();
  cuts_long_words_and_those_without_an_end();
  survives_answers_cut_anywhere();
  transacts();
  returns_the_first_refusal();
  opens_sockets_that_do_not_block();
  return 0;
}
