/**
 * Open connections as the balancers of the steering thread see them: what connection tracking counts
 * (connection-counts.ts), and the verdicts whose connection it has not announced yet. Without those a
 * batch of first packets would all go to the endpoint that had the fewest connections before it.
 *
 * A verdict waits for its event. The event takes the oldest one of its slot; a verdict without an
 * event (the packet was lost on its way) is given up after one to two seconds.
 */
import type { OpenCounts } from '../../policy/open-connections.js'
import type { ConnectionListener } from './connection-counts.js'

/** How long a verdict waits at least, milliseconds. */
const WAIT_MS = 1000

/** Slots in a row; it keeps its memory when it is emptied. */
class SlotList {
  slots = new Uint32Array(64)
  size = 0

  add(slot: number): void {
    if (this.size === this.slots.length) {
      const slots = new Uint32Array(this.size * 2)
      slots.set(this.slots)
      this.slots = slots
    }
    this.slots[this.size++] = slot
  }
}

export class SteeredConnections implements OpenCounts, ConnectionListener {
  readonly #open: Int32Array
  readonly #listener: ConnectionListener
  /** Verdicts without an event, by slot: those of this period, and those of the one before. */
  #fresh: Uint32Array
  #old: Uint32Array
  /** Slots that may have some; the same slot may be there twice. */
  #freshSlots = new SlotList()
  #oldSlots = new SlotList()
  #nextMs = 0

  /** `open`: connections that the kernel has, by slot. */
  constructor(open: Int32Array, listener: ConnectionListener) {
    this.#open = open
    this.#listener = listener
    this.#fresh = new Uint32Array(open.length)
    this.#old = new Uint32Array(open.length)
  }

  of(_servicePortId: string, endpoint: object): number {
    const slot = 'slot' in endpoint && typeof endpoint.slot === 'number' ? endpoint.slot : 0
    return (this.#open[slot] ?? 0) + (this.#fresh[slot] ?? 0) + (this.#old[slot] ?? 0)
  }

  /** A verdict has sent a connection to the slot. */
  steered(slot: number): void {
    const count = this.#fresh[slot] ?? 0
    if (count === 0) this.#freshSlots.add(slot)
    this.#fresh[slot] = count + 1
    this.#listener.opened(slot)
  }

  /** Connection tracking has announced one: of a verdict, or one that was there before us. */
  opened(slot: number): void {
    const old = this.#old[slot] ?? 0
    const fresh = this.#fresh[slot] ?? 0
    if (old > 0) this.#old[slot] = old - 1
    else if (fresh > 0) this.#fresh[slot] = fresh - 1
    else this.#listener.opened(slot)
  }

  closed(slot: number): void {
    this.#listener.closed(slot)
  }

  /** Gives up what has waited too long. To be called about once a second. */
  tick(nowMs: number): void {
    if (nowMs < this.#nextMs) return
    this.#nextMs = nowMs + WAIT_MS
    const waited = this.#oldSlots
    for (let i = 0; i < waited.size; i++) {
      const slot = waited.slots[i] ?? 0
      const lost = this.#old[slot] ?? 0
      this.#old[slot] = 0
      for (let i = 0; i < lost; i++) this.#listener.closed(slot)
    }
    const emptied = this.#old
    this.#old = this.#fresh
    this.#oldSlots = this.#freshSlots
    this.#fresh = emptied
    this.#freshSlots = waited
    waited.size = 0
  }
}
