/*
 * The least that a userspace verdict costs: every packet of one queue is accepted as it is, by our
 * own native/core/queue.c, with nothing decided. What is between this and a kernel rule is the price
 * of the queue and of waking a thread, whoever decides; what is between this and kube-sluice is ours.
 *
 *   queue-floor QUEUE SPIN_US
 *
 * With SPIN_US the program looks at the queue that long before it sleeps. Ends with its parent's signal.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../native/core/queue.h"
#include "../../native/core/wait.h"

enum { BATCH = 64 };

static uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: queue-floor QUEUE SPIN_US\n");
    return 2;
  }
  uint64_t spin_us = (uint64_t)atol(argv[2]);
  const struct ks_queue_options options = {.first = (uint16_t)atoi(argv[1]),
                                           .count = 1,
                                           .batch = BATCH,
                                           .copy_range = 256,
                                           .length = 4096,
                                           .buffer_bytes = 4u << 20,
                                           .is_fail_open = true,
                                           .takes_gso = true};
  struct ks_queue *queue;
  const char *step = "";
  int error = ks_queue_open(&options, &queue, &step);
  uint32_t *records = calloc(BATCH, KS_PACKET_WORDS * sizeof *records);
  uint8_t *copies = error ? NULL : calloc(1, ks_queue_copies_bytes(queue));
  if (error || records == NULL || copies == NULL) {
    fprintf(stderr, "queue-floor: %s: %s\n", step, strerror(-error));
    return 1;
  }
  const int32_t fd = ks_queue_fd(queue);
  uint64_t last = now_us();
  for (;;) {
    int count = ks_queue_receive(queue, records, copies, &step);
    if (count < 0 || ks_queue_answer(queue, records, (uint32_t)count, &step) < 0) {
      fprintf(stderr, "queue-floor: %s\n", step);
      return 1;
    }
    if (count > 0) {
      if (spin_us > 0)
        last = now_us();
      continue;
    }
    if (spin_us > 0 && now_us() - last < spin_us)
      continue;
    if (ks_wait_readable(&fd, 1, 1000, &step) < 0)
      return 1;
    if (spin_us > 0)
      last = now_us();
  }
}
