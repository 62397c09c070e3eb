/*
 * Packets from nfnetlink queues: received in batches, answered in batches.
 *
 * One socket may serve several queues (NFQUEUE --queue-balance). Functions return a count or 0 on
 * success and -errno on failure; they never print and never abort. `*step` names the call that
 * failed. The structure belongs to one thread at a time.
 *
 * Source of the protocol: linux/netfilter/nfnetlink_queue.h, net/netfilter/nfnetlink_queue.c.
 */
#ifndef KS_QUEUE_H
#define KS_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "packet.h"

struct ks_queue_options {
  uint16_t first;         /* number of the first queue */
  uint16_t count;         /* queues, 1 or more */
  uint16_t batch;         /* packets received by one call, 1..1024 */
  uint16_t copy_range;    /* bytes of each packet, from its IP header on */
  uint32_t length;        /* packets that a queue holds; NFQA_CFG_QUEUE_MAXLEN */
  uint32_t buffer_bytes;  /* of the socket, SO_RCVBUFFORCE else SO_RCVBUF */
  bool is_fail_open;      /* NFQA_CFG_F_FAIL_OPEN: a full queue lets packets pass unanswered */
  bool takes_gso;         /* NFQA_CFG_F_GSO: segments are not split and summed up for us */
};

struct ks_queue;

/*
 * Binds to the queues of this thread's network namespace. -EBUSY: another process has one of them;
 * -EPERM: no CAP_NET_ADMIN; -EOPNOTSUPP or -ENOENT: no nfnetlink_queue in this kernel.
 */
int ks_queue_open(const struct ks_queue_options *options, struct ks_queue **queue,
                  const char **step);

/* Unbinds; the kernel drops what still waits for a verdict. */
void ks_queue_close(struct ks_queue *queue);

/* The socket, for poll(2). */
int ks_queue_fd(const struct ks_queue *queue);

/* What the kernel granted, which may be less than asked for, or (it doubles) more. */
uint32_t ks_queue_buffer_bytes(const struct ks_queue *queue);

/* Packets that one call receives, and the bytes that their messages may take. */
uint32_t ks_queue_batch(const struct ks_queue *queue);
size_t ks_queue_copies_bytes(const struct ks_queue *queue);

/*
 * Takes what waits, at most a batch, into `records` (ks_queue_batch * KS_PACKET_WORDS words), with
 * verdict ACCEPT without a mark, and the messages into `copies` (ks_queue_copies_bytes, aligned to
 * 4). Does not block: 0 when there is nothing. Messages that are no packets are passed over and
 * counted.
 */
int ks_queue_receive(struct ks_queue *queue, uint32_t *records, uint8_t *copies,
                     const char **step);

/* Sends the verdicts of `count` records in their order, in one call to the kernel. */
int ks_queue_answer(struct ks_queue *queue, const uint32_t *records, uint32_t count,
                    const char **step);

/* Messages passed over, and errors that the kernel reported for verdicts. */
uint32_t ks_queue_strays(const struct ks_queue *queue);

/*
 * One message of the kernel: 1 and the words of the record (but for the copy's offset) when it is a
 * packet, 0 when it is something else. `*payload` points into the message. For the fuzzer too.
 */
int ks_queue_parse(const uint8_t *message, size_t length, uint32_t words[KS_PACKET_WORDS],
                   const uint8_t **payload);

#endif
