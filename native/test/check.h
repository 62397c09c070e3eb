/* For the programs of this folder: a condition that does not hold ends the program. */
#ifndef KS_TEST_CHECK_H
#define KS_TEST_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno);            \
      exit(1);                                                                                     \
    }                                                                                              \
  } while (0)

/* The first bytes in memory of just that size, so that a read behind them is seen. To be freed. */
static inline void *exact_copy(const void *bytes, size_t length) {
  void *copy = malloc(length > 0 ? length : 1);
  CHECK(copy != NULL);
  memcpy(copy, bytes, length);
  return copy;
}

#endif
