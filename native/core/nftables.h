/*
 * Elements of nf_tables sets and maps, added and deleted by the hundred thousand in one atomic
 * transaction, and read back. Tables, chains and sets are made elsewhere.
 *
 * Source of the protocol: linux/netfilter/nf_tables.h, net/netfilter/{nf_tables_api,nfnetlink}.c.
 */
#ifndef KS_NFTABLES_H
#define KS_NFTABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netlink.h"

enum ks_nft_verb { KS_NFT_ADD, KS_NFT_DELETE, KS_NFT_FLUSH };

/* Elements of one set: records of a fixed length, one after the other. */
struct ks_nft_operation {
  enum ks_nft_verb verb;
  int family; /* 4 or 6 */
  const char *table;
  const char *set;
  uint32_t count;
  uint32_t key_length;     /* at most KS_NFT_KEY_MAX; fields of a concatenation padded to 4 */
  const uint8_t *keys;     /* count * key_length */
  const uint8_t *key_ends; /* of intervals in concatenations; NULL: none */
  uint32_t data_length;    /* of a map, at most KS_NFT_KEY_MAX; 0: a set, or a verdict map */
  const uint8_t *data;     /* count * data_length */
  const char *const *chains; /* of a verdict map: where its elements go to ... */
  uint32_t chain_count;
  const uint32_t *verdicts; /* ... by index, or KS_NFT_ACCEPT and KS_NFT_DROP */
  /* Comment i is the bytes from comment_ends[i - 1] (0) to comment_ends[i]; NULL: none. */
  const uint8_t *comments;
  const uint32_t *comment_ends;
};

enum { KS_NFT_KEY_MAX = 64, KS_NFT_COMMENT_MAX = 128 };
#define KS_NFT_ACCEPT UINT32_C(0xffffffff)
#define KS_NFT_DROP UINT32_C(0xfffffffe)

struct ks_nft_batch;

struct ks_nft_batch *ks_nft_batch_new(void);
void ks_nft_batch_free(struct ks_nft_batch *batch);

/* Appends an operation; -EINVAL for lengths out of range, -ENOMEM. The batch is useless after that. */
int ks_nft_batch_add(struct ks_nft_batch *batch, const struct ks_nft_operation *operation);

/* Carries all of it out, or nothing. -ENOENT: a set, or an element to delete, is not there. */
int ks_nft_batch_send(struct ks_nft_batch *batch, int fd, struct ks_netlink_error *error,
                      const char **step);

/* What a dump has collected; lengths are those of the first element. */
struct ks_nft_elements {
  uint32_t count;
  uint32_t key_length, data_length;
  uint8_t *keys, *data;
  uint8_t *comments;
  uint32_t *comment_ends;
  size_t capacity, comment_bytes, comment_capacity;
  bool has_interval_ends; /* then a key may be the end of one interval and the start of the next */
};

/*
 * Every element of a set. Begun anew, at most 8 times, when the set changes meanwhile, and when the
 * kernel was moving its elements to a larger or smaller table: it says nothing then, but some
 * elements come twice, and as many not at all. -EAGAIN: it never stood still.
 */
int ks_nft_dump(int fd, int family, const char *table, const char *set,
                struct ks_nft_elements *elements, struct ks_netlink_error *error,
                const char **step);

/*
 * Rules of a chain, or of a whole table where `chain` is NULL. 0 rules of what is not there. -EAGAIN:
 * it never stood still.
 */
int ks_nft_count_rules(int fd, int family, const char *table, const char *chain, uint32_t *count,
                       struct ks_netlink_error *error, const char **step);

void ks_nft_elements_free(struct ks_nft_elements *elements);

/* Adds the elements of one message of a dump; 0, or -ENOMEM. For the fuzzer too. */
int ks_nft_parse(const uint8_t *message, size_t length, struct ks_nft_elements *elements);

#endif
