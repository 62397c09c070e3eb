/* Unit test of core/nftables.c: what it makes of dumps, whose pages are made here. */
#include "../core/nftables.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "peer.h"

enum { ROOM = 4096, ELEMENT_TYPE = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM };

/* One element as the kernel dumps it; `data` NULL: of a set; `comment` NULL: none. */
static void put_element(struct nlmsghdr *message, uint32_t key, const void *data,
                        const char *comment) {
  uint8_t userdata[2 + KS_NFT_COMMENT_MAX] = {0};
  struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  struct nlattr *nest = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
  mnl_attr_put_u32(message, NFTA_DATA_VALUE, key);
  mnl_attr_nest_end(message, nest);
  if (data != NULL) {
    nest = mnl_attr_nest_start(message, NFTA_SET_ELEM_DATA);
    mnl_attr_put(message, NFTA_DATA_VALUE, 8, data);
    mnl_attr_nest_end(message, nest);
  }
  if (comment != NULL) {
    userdata[1] = (uint8_t)(strlen(comment) + 1);
    memcpy(userdata + 2, comment, strlen(comment));
    mnl_attr_put(message, NFTA_SET_ELEM_USERDATA, 2u + userdata[1], userdata);
  }
  mnl_attr_nest_end(message, element);
}

/* A page of a dump with the keys first..first+count-1. */
static struct nlmsghdr *put_page(void *buffer, uint16_t flags, uint32_t first, uint32_t count,
                                 const char *comment) {
  struct nlmsghdr *message = ks_netlink_message(buffer, ELEMENT_TYPE, flags, NFPROTO_IPV4);
  message->nlmsg_flags = (uint16_t)(NLM_F_MULTI | flags);
  struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
  for (uint32_t i = 0; i < count; i++)
    put_element(message, first + i, "\1\2\3\4\5\6\7\x8", comment);
  mnl_attr_nest_end(message, list);
  return message;
}

static struct nlmsghdr *put_done(void *buffer, uint16_t flags) {
  struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
  /* How it ended: 0. */
  mnl_nlmsg_put_extra_header(message, sizeof(int32_t));
  message->nlmsg_type = NLMSG_DONE;
  message->nlmsg_flags = (uint16_t)(NLM_F_MULTI | flags);
  return message;
}

/* An empty comment first: there is no memory for any yet. */
static void parses_elements_and_their_comments(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct ks_nft_elements elements = {0};
  const char *const comments[] = {"", NULL, "default/web:http"};
  for (uint32_t i = 0; i < 3; i++) {
    struct nlmsghdr *message = put_page(buffer, 0, i, 1, comments[i]);
    CHECK(ks_nft_parse(buffer, message->nlmsg_len, &elements) == 0);
  }
  CHECK(elements.count == 3 && elements.key_length == 4 && elements.data_length == 8);
  CHECK(memcmp(elements.keys, (uint32_t[]){0, 1, 2}, 12) == 0);
  CHECK(memcmp(elements.data + 16, "\1\2\3\4\5\6\7\x8", 8) == 0);
  CHECK(memcmp(elements.comment_ends, (uint32_t[]){0, 0, 16}, 12) == 0);
  CHECK(memcmp(elements.comments, "default/web:http", 16) == 0);
  ks_nft_elements_free(&elements);
  CHECK(elements.count == 0 && elements.keys == NULL);
}

/* As the end of an interval, or a catch-all element, which has no key. */
static void passes_over_elements_of_another_shape(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct ks_nft_elements elements = {0};
  struct nlmsghdr *message = put_page(buffer, 0, 7, 1, NULL);
  struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
  put_element(message, 8, NULL, NULL);
  mnl_attr_put_u32(message, NFTA_LIST_ELEM, 0);
  put_element(message, 9, "\0\0\0\0\0\0\0", NULL);
  mnl_attr_nest_end(message, list);
  CHECK(ks_nft_parse(buffer, 60, &elements) == 0 && elements.count == 0);
  struct nlmsghdr *first = put_page(buffer + ROOM / 2, 0, 7, 1, NULL);
  CHECK(ks_nft_parse((uint8_t *)first, first->nlmsg_len, &elements) == 0);
  /* Of two lists the last counts. */
  CHECK(ks_nft_parse(buffer, message->nlmsg_len, &elements) == 0);
  CHECK(elements.count == 2 && memcmp(elements.keys, (uint32_t[]){7, 9}, 8) == 0);
  ks_nft_elements_free(&elements);
}

static void survives_pages_cut_anywhere(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct nlmsghdr *message = put_page(buffer, 0, 1, 3, "here");
  const uint32_t whole = message->nlmsg_len;
  for (uint32_t length = 0; length < whole; length++) {
    struct ks_nft_elements elements = {0};
    message->nlmsg_len = whole;
    uint8_t *copy = exact_copy(buffer, length);
    CHECK(ks_nft_parse(copy, length, &elements) == 0 && elements.count == 0);
    free(copy);
    message->nlmsg_len = length;
    copy = exact_copy(buffer, length < 16 ? 16 : length);
    CHECK(ks_nft_parse(copy, length < 16 ? 16 : length, &elements) == 0 && elements.count == 0);
    free(copy);
  }
}

/* Datagrams of a dump that wait in a socket; returns what a dump of them says. */
struct script {
  int ends[2];
};

static void open_script(struct script *script) {
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, script->ends) == 0);
}

static void add_page(struct script *script, const void *bytes, size_t length) {
  CHECK(send(script->ends[1], bytes, length, 0) == (ssize_t)length);
}

static int dump(struct script *script, struct ks_nft_elements *elements,
                struct ks_netlink_error *error) {
  const char *step = NULL;
  int state = ks_nft_dump(script->ends[0], 4, "sluice", "endpoints", elements, error, &step);
  close(script->ends[0]);
  close(script->ends[1]);
  return state;
}

/* The last page and the end come in one datagram, as from kernels since 2.6. */
static void add_last_page(struct script *script, uint16_t flags, uint32_t first) {
  _Alignas(4) uint8_t buffer[ROOM];
  size_t length = put_page(buffer, flags, first, 1, "last")->nlmsg_len;
  length += put_done(buffer + length, flags)->nlmsg_len;
  add_page(script, buffer, length);
}

static void add_first_page(struct script *script, uint16_t flags) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct nlmsghdr *message = put_page(buffer, flags, 0, 2, NULL);
  add_page(script, message, message->nlmsg_len);
}

static void collects_the_pages_of_a_dump(void) {
  struct script script;
  struct ks_nft_elements elements;
  struct ks_netlink_error error;
  open_script(&script);
  add_first_page(&script, 0);
  add_last_page(&script, 0, 2);
  CHECK(dump(&script, &elements, &error) == 0);
  CHECK(elements.count == 3 && memcmp(elements.keys, (uint32_t[]){0, 1, 2}, 12) == 0);
  ks_nft_elements_free(&elements);
}

/* Whichever page says so, what was collected is thrown away and the next dump counts. */
static void begins_anew_when_the_set_changes(void) {
  for (int interrupted = 0; interrupted < 3; interrupted++) {
    _Alignas(4) uint8_t buffer[ROOM];
    struct script script;
    struct ks_nft_elements elements;
    struct ks_netlink_error error;
    open_script(&script);
    add_first_page(&script, interrupted == 0 ? NLM_F_DUMP_INTR : 0);
    if (interrupted == 2)
      add_page(&script, buffer, put_done(buffer, NLM_F_DUMP_INTR)->nlmsg_len);
    else
      add_last_page(&script, interrupted == 1 ? NLM_F_DUMP_INTR : 0, 2);
    add_last_page(&script, 0, 7);
    CHECK(dump(&script, &elements, &error) == 0);
    CHECK(elements.count == 1 && memcmp(elements.keys, (uint32_t[]){7}, 4) == 0);
    ks_nft_elements_free(&elements);
  }
}

/* As while the kernel resizes its hash table: no page says so, but an element comes twice. */
static void begins_anew_when_an_element_comes_twice(void) {
  struct script script;
  struct ks_nft_elements elements;
  struct ks_netlink_error error;
  open_script(&script);
  add_first_page(&script, 0);
  add_last_page(&script, 0, 1);
  add_first_page(&script, 0);
  add_last_page(&script, 0, 2);
  CHECK(dump(&script, &elements, &error) == 0);
  CHECK(elements.count == 3 && memcmp(elements.keys, (uint32_t[]){0, 1, 2}, 12) == 0);
  ks_nft_elements_free(&elements);
}

static void gives_up_on_a_set_that_never_stands_still(void) {
  struct script script;
  struct ks_nft_elements elements;
  struct ks_netlink_error error;
  open_script(&script);
  for (int i = 0; i < 8; i++)
    add_last_page(&script, NLM_F_DUMP_INTR, 2);
  CHECK(dump(&script, &elements, &error) == -EAGAIN);
  CHECK(elements.count == 0 && elements.keys == NULL);
}

static void passes_on_what_the_kernel_refuses(void) {
  _Alignas(4) uint8_t buffer[ROOM];
  struct script script;
  struct ks_nft_elements elements;
  struct ks_netlink_error error = {0};
  open_script(&script);
  add_first_page(&script, 0);
  add_page(&script, buffer, put_answer(buffer, -ENOENT, 1, "no such set")->nlmsg_len);
  CHECK(dump(&script, &elements, &error) == -ENOENT);
  CHECK(strcmp(error.text, "no such set") == 0 && elements.keys == NULL);

  /* The set is deleted between two pages (nf_tables_dump_set). */
  const int32_t gone = -ENOENT;
  struct nlmsghdr *done = put_done(buffer, 0);
  memcpy(mnl_nlmsg_get_payload(done), &gone, sizeof(gone));
  open_script(&script);
  add_first_page(&script, 0);
  add_page(&script, done, done->nlmsg_len);
  CHECK(dump(&script, &elements, &error) == -ENOENT && elements.keys == NULL);

  struct nlmsghdr *broken = put_page(buffer, 0, 0, 1, NULL);
  const uint32_t length = broken->nlmsg_len;
  broken->nlmsg_len = length + 4;
  open_script(&script);
  add_page(&script, buffer, length);
  CHECK(dump(&script, &elements, &error) == -EBADMSG);
}

static struct nlmsghdr *put_rule(void *buffer, uint16_t flags, const char *table,
                                 const char *chain) {
  const uint16_t type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWRULE;
  struct nlmsghdr *message = ks_netlink_message(buffer, type, 0, NFPROTO_IPV4);
  message->nlmsg_flags = (uint16_t)(NLM_F_MULTI | flags);
  mnl_attr_put_strz(message, NFTA_RULE_TABLE, table);
  mnl_attr_put_strz(message, NFTA_RULE_CHAIN, chain);
  return message;
}

/* Old kernels list rules of other chains and tables too; a name may begin as another one. */
static void counts_the_rules_of_a_chain(void) {
  const char *const chains[] = {"canary", "canary-2", "canar", NULL};
  const uint32_t counts[] = {3, 2, 0, 5};
  for (int i = 0; i < 4; i++) {
    _Alignas(4) uint8_t buffer[ROOM];
    struct script script;
    struct ks_netlink_error error = {0};
    const char *step = NULL;
    uint32_t count = 99;
    open_script(&script);
    /* The first one changes under it. */
    add_page(&script, buffer, put_rule(buffer, NLM_F_DUMP_INTR, "nat", "canary")->nlmsg_len);
    add_page(&script, buffer, put_done(buffer, NLM_F_DUMP_INTR)->nlmsg_len);
    for (int rule = 0; rule < 5; rule++)
      add_page(&script, buffer, put_rule(buffer, 0, "nat", rule < 3 ? "canary" : "canary-2")->nlmsg_len);
    add_page(&script, buffer, put_rule(buffer, 0, "nat-2", "canary")->nlmsg_len);
    add_page(&script, buffer, put_done(buffer, 0)->nlmsg_len);
    CHECK(ks_nft_count_rules(script.ends[0], 4, "nat", chains[i], &count, &error, &step) == 0);
    CHECK(count == counts[i]);
    close(script.ends[0]);
    close(script.ends[1]);
  }
}

int main(void) {
  counts_the_rules_of_a_chain();
  parses_elements_and_their_comments();
  passes_over_elements_of_another_shape();
  survives_pages_cut_anywhere();
  collects_the_pages_of_a_dump();
  begins_anew_when_the_set_changes();
  begins_anew_when_an_element_comes_twice();
  gives_up_on_a_set_that_never_stands_still();
  passes_on_what_the_kernel_refuses();
  return 0;
}
