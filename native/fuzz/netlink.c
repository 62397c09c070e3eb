/*
 * libFuzzer target over everything that is read from netlink. The first byte of the input chooses
 * the parser, the rest is what the kernel would have sent.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../core/conntrack.h"
#include "../core/netlink.h"
#include "../core/nftables.h"
#include "../core/queue.h"

enum { PARSERS = 5, MAX_TYPE = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_packet(const uint8_t *message, size_t length) {
  uint32_t words[KS_PACKET_WORDS] = {0};
  const uint8_t *payload = NULL;
  if (ks_queue_parse(message, length, words, &payload) &&
      (payload < message || payload + words[KS_PACKET_COPY_LENGTH] > message + length))
    abort();
}

static void read_conntrack(const uint8_t *message, size_t length) {
  uint32_t words[KS_CONNTRACK_WORDS] = {0};
  if (ks_conntrack_parse(message, length, words) && words[KS_CONNTRACK_FAMILY] != 4 &&
      words[KS_CONNTRACK_FAMILY] != 6)
    abort();
}

/* Where the message behind this one begins, or 0 when there is none that is whole. */
static size_t next_message(const uint8_t *message, size_t left) {
  uint32_t length;
  if (left < sizeof(struct nlmsghdr))
    return 0;
  memcpy(&length, message, sizeof(length));
  if (length < sizeof(struct nlmsghdr) || ks_netlink_align(length) >= left)
    return 0;
  return ks_netlink_align(length);
}

static void read_elements(const uint8_t *data, size_t length) {
  struct ks_nft_elements elements = {0};
  for (size_t at = 0, step = 1; step > 0; at += step) {
    if (ks_nft_parse(data + at, length - at, &elements) != 0)
      abort();
    step = next_message(data + at, length - at);
  }
  if (elements.count > elements.capacity || elements.comment_bytes > elements.comment_capacity ||
      (elements.count > 0 && elements.comment_ends[elements.count - 1] != elements.comment_bytes))
    abort();
  ks_nft_elements_free(&elements);
}

static void read_answer(const uint8_t *message, size_t length) {
  struct ks_netlink_error error = {0};
  int code = 0;
  if (ks_netlink_is_answer((const struct nlmsghdr *)message, length, &code, &error) &&
      strnlen(error.text, sizeof(error.text)) == sizeof(error.text))
    abort();
}

static void read_attributes(const uint8_t *data, size_t length) {
  const struct nlattr *table[MAX_TYPE + 1], *inner[MAX_TYPE + 1];
  if (!ks_netlink_index(data, data + length, table, MAX_TYPE))
    return;
  for (uint16_t type = 0; type <= MAX_TYPE; type++) {
    const uint8_t *word = ks_netlink_payload(table[type], sizeof(uint32_t));
    if (word != NULL && word + sizeof(uint32_t) > data + length)
      abort();
    (void)ks_netlink_index_nested(table[type], inner, MAX_TYPE);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static void (*const parsers[PARSERS])(const uint8_t *, size_t) = {
      read_packet, read_conntrack, read_elements, read_answer, read_attributes};
  if (size == 0)
    return 0;
  /* A copy: messages are read in place, so it is aligned as the kernel's are, and ends where they
     end, so that a read behind it is seen. */
  size_t length = size - 1;
  uint8_t *copy = malloc(length > 0 ? length : 1);
  if (copy == NULL)
    return 0;
  memcpy(copy, data + 1, length);
  parsers[data[0] % PARSERS](copy, length);
  free(copy);
  return 0;
}
