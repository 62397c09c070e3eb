/**
 * The part of the native addon that receives packets from nfnetlink queues, call by call; see
 * addon-types.ts for what all calls have in common.
 */

/** A queue that is open; what it is, only native code knows. */
export interface QueueHandle {
  readonly brand: 'queue'
}

export interface OpenQueueArg {
  /** Number of the first queue. */
  readonly first: number
  /** Queues, one after the other, as `NFQUEUE --queue-balance` names them. */
  readonly count: number
  /** Packets received by one call, 1..1024. */
  readonly batch: number
  /** Bytes copied of each packet, from its IP header on; 0..65535. */
  readonly copyRange: number
  /** Packets that each queue holds. */
  readonly length: number
  /** Receive buffer of the socket. */
  readonly bufferBytes: number
  /** NFQA_CFG_F_FAIL_OPEN: what a full queue cannot take passes unmarked. */
  readonly failOpen: boolean
  /** NFQA_CFG_F_GSO: large packets are not split for us. */
  readonly gso: boolean
}

export interface QueueState {
  /** To wait for; owned by the queue. */
  readonly fd: number
  /** Receive buffer as the kernel granted it. */
  readonly bufferBytes: number
  /** What queueReceive needs for `copies`. */
  readonly copiesBytes: number
  /** Messages that were no packets. */
  readonly strays: number
}

export interface QueueAddon {
  /** Length of a record in 32-bit words; PacketWord has their places. */
  readonly packetWords: number
  /**
   * Binds to queues of the calling thread's network namespace. Throws EBUSY when another process
   * has one of them, EPERM without CAP_NET_ADMIN, EOPNOTSUPP or ENOENT where the kernel has no
   * nfnetlink_queue, EINVAL for a count or batch of 0, ETIMEDOUT when it does not answer, EMFILE, ENOMEM.
   */
  openQueue(options: OpenQueueArg): QueueHandle
  /** Unbinds; the kernel drops what waits for a verdict. Twice is fine. Throws nothing else than for no queue. */
  closeQueue(queue: QueueHandle): void
  /** Throws when it is closed. */
  queueState(queue: QueueHandle): QueueState
  /**
   * Takes the packets that wait, at most a batch; returns how many. Does not block. `records` has
   * room for a batch, `copies` has copiesBytes; both are written and not kept. The verdict of each
   * record is set to ACCEPT. Throws when it is closed or an array is too short, and what recvmmsg(2)
   * has but for EAGAIN, EINTR and ENOBUFS: these are 0 packets.
   */
  queueReceive(queue: QueueHandle, records: Uint32Array, copies: Uint8Array): number
  /**
   * Sends the verdicts of the first `count` records, in their order. Throws when it is closed or `count` is
   * more than a batch, and what send(2) has: ENOBUFS, ENOMEM. What the kernel refuses of single verdicts is
   * counted as strays.
   */
  queueAnswer(queue: QueueHandle, records: Uint32Array, count: number): void
  /**
   * Waits until one of at most 16 descriptors can be read: a bit for each; 0 after timeoutMs (-1: never).
   * Blocks the thread. Throws what poll(2) has but for EINTR.
   */
  waitReadable(fds: Int32Array, timeoutMs: number): number
  /** Writes the time of CLOCK_MONOTONIC, in milliseconds, into the first place of `into`. Throws for an array without a place. */
  readClock(into: Float64Array): void
  /** eventfd(2), non-blocking. Throws EMFILE, ENFILE, ENOMEM. */
  openEvent(): number
  /** Makes it readable. Throws EBADF for a descriptor that is closed. */
  signalEvent(fd: number): void
  /** Makes it unreadable, if it is not yet. Throws EBADF. */
  clearEvent(fd: number): void
}
