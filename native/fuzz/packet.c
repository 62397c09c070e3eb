/* libFuzzer target over the packet parser: the whole input is one packet. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../core/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(const uint8_t *packet, size_t length, int filler,
                  uint32_t words[KS_PACKET_WORDS]) {
  memset(words, filler, KS_PACKET_WORDS * sizeof(*words));
  ks_packet_parse(packet, length, words);
}

/* What the header promises of any input. */
static void check(const uint32_t *words, const uint32_t *again) {
  uint32_t flags = words[KS_PACKET_FLAGS];
  if (words[KS_PACKET_FAMILY] == 0 && flags != 0)
    abort();
  if ((flags & KS_PACKET_IS_FRAGMENT) != 0 &&
      (flags & (KS_PACKET_HAS_PORTS | KS_PACKET_HAS_TCP | KS_PACKET_HAS_INNER)) != 0)
    abort();
  if ((flags & KS_PACKET_HAS_INNER) != 0 && words[KS_PACKET_INNER_PROTOCOL] == 0)
    abort();
  /* Nothing of what was in the words before is left in those that the parser fills. */
  for (size_t i = KS_PACKET_FAMILY; i <= KS_PACKET_INNER_TCP_SEQUENCE; i++)
    if (words[i] != again[i] && i != KS_PACKET_COPY_OFFSET && i != KS_PACKET_COPY_LENGTH)
      abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint32_t words[KS_PACKET_WORDS], again[KS_PACKET_WORDS];
  /* A copy of exactly this size, so that a read behind it is seen. */
  uint8_t *packet = malloc(size > 0 ? size : 1);
  if (packet == NULL)
    return 0;
  memcpy(packet, data, size);
  parse(packet, size, 0x00, words);
  parse(packet, size, 0xa5, again);
  check(words, again);
  free(packet);
  return 0;
}
