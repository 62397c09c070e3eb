/**
 * Packets that the kernel asks about (NFQUEUE), in batches:
 *
 *   for (;;) { const count = queue.receive(); decide on records; queue.answer(count); wait }
 *
 * A record is PACKET_WORDS words of `records`; packet-word.ts says where things are. Records and
 * copies are overwritten by the next receive. Belongs to one thread.
 */
import { readFileSync } from 'node:fs'

import { PACKET_WORDS } from '../packet/packet-word.js'
import { loadAddon } from './addon.js'
import type { NativeAddon } from './addon-types.js'
import { kernelCall } from './kernel-call.js'
import type { OpenQueueArg, QueueHandle } from './queue-addon-types.js'

export class PacketQueue {
  readonly records: Uint32Array
  /** The packets of the last batch; a record says where its own is. */
  readonly copies: Uint8Array
  /** Readable when packets wait. Owned by the queue. */
  readonly fd: number
  /** Receive buffer of the socket, as the kernel granted it. */
  readonly bufferBytes: number
  readonly #addon: NativeAddon
  readonly #handle: QueueHandle

  /**
   * Binds to the queues of the calling thread's network namespace.
   * @throws KernelError: EBUSY when another process has one of them, EPERM without CAP_NET_ADMIN
   */
  constructor(options: OpenQueueArg) {
    const { first, count } = options
    this.#addon = loadAddon()
    this.#handle = kernelCall(`open packet queues ${first} to ${first + count - 1}`, () =>
      this.#addon.openQueue(options),
    )
    const { fd, bufferBytes, copiesBytes } = this.#addon.queueState(this.#handle)
    this.fd = fd
    this.bufferBytes = bufferBytes
    this.records = new Uint32Array(options.batch * PACKET_WORDS)
    this.copies = new Uint8Array(copiesBytes)
  }

  /** Takes what waits, at most a batch, without blocking; returns how many records it filled. */
  receive(): number {
    return this.#addon.queueReceive(this.#handle, this.records, this.copies)
  }

  /** Sends the verdicts of the first `count` records. */
  answer(count: number): void {
    this.#addon.queueAnswer(this.#handle, this.records, count)
  }

  /** The kernel drops what waits for a verdict. Idempotent. */
  close(): void {
    this.#addon.closeQueue(this.#handle)
  }
}

export interface QueueCounters {
  readonly queue: number
  /** Packets that wait for a verdict now. */
  readonly waiting: number
  /** Packets lost, or let pass unanswered, because the queue was full. */
  readonly dropped: number
  /** The same because the socket's buffer was. */
  readonly droppedByBuffer: number
}

/**
 * What the kernel counts for each queue of this network namespace that is bound, from
 * /proc/net/netfilter/nfnetlink_queue (net/netfilter/nfnetlink_queue.c, seq_show).
 */
export function readQueueCounters(
  text = readFileSync('/proc/net/netfilter/nfnetlink_queue', 'utf8'),
): QueueCounters[] {
  return text.split('\n').flatMap((line): QueueCounters[] => {
    const fields = line.trim().split(/\s+/).map(Number)
    const [queue, , waiting, , , dropped, droppedByBuffer] = fields
    if (queue === undefined || waiting === undefined || dropped === undefined) return []
    return [{ queue, waiting, dropped, droppedByBuffer: droppedByBuffer ?? 0 }]
  })
}
