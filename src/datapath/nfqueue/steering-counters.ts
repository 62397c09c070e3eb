/**
 * What the steering thread counts, in memory that it shares with the main thread: written by the
 * one, read by the other at any time without asking. Single numbers are always whole; two of them
 * may be of different moments.
 */

/** Totals, in their order in memory. */
export const STEERING_TOTALS = [
  /** Packets received, and the batches that they came in. */
  'packets',
  'batches',
  /** Verdicts by what they say. */
  'steered',
  'rejected',
  'dropped',
  /** Left to the standby rules: no VIP of ours (any more), or not readable. */
  'passed',
  /** Packets that got the verdict of an earlier one of the same 5-tuple. */
  'repeatedVerdicts',
  /** SYNs that came again because nobody had answered. */
  'unansweredSyns',
  /** SYNs that an endpoint left unanswered for longer than it usually takes (connect-patience.ts). */
  'overdueSyns',
  /** Connects and datagrams that an endpoint, or a router on the way, refused. */
  'refusals',
  /** Of these three, but for datagrams, those that were steered to another endpoint, and those that could not be. */
  'retries',
  'exhausted',
  /** Connection tracking: events taken in, overruns of their socket, dumps to make up for one. */
  'events',
  'eventOverruns',
  'resyncs',
  /** Of a balancer that a user has written: failures and overruns, and 1 when it is switched off. */
  'pluginFailures',
  'pluginOverruns',
  'pluginIsOff',
  /** Flows that made room while their client might still repeat its SYN. */
  'flowsForgotten',
  /** Session affinity: clients remembered, and clients that made room for others. */
  'affinityClients',
  'affinityEvictions',
  /** Lines of the connection log that were not written. */
  'unloggedConnections',
  /** Time spent on deciding and answering. */
  'verdictSeconds',
] as const

/** Upper bounds of the verdict latency histogram, in seconds: 5 µs to 100 ms. */
export const VERDICT_BUCKETS = [
  0.000005, 0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02,
  0.05, 0.1,
] as const

/** Verdicts by how long they took, from the receipt of their batch to its answer. */
export interface VerdictLatency {
  /** By VERDICT_BUCKETS, one more for what took longer; not cumulative. */
  readonly counts: readonly number[]
  readonly sumSeconds: number
}

export type SteeringTotal = (typeof STEERING_TOTALS)[number]

export interface SteeringCounterMemory {
  readonly totals: SharedArrayBuffer
  readonly slots: SharedArrayBuffer
}

const PER_SLOT = 5
const FIRST_BUCKET = STEERING_TOTALS.length
const SUM = FIRST_BUCKET + VERDICT_BUCKETS.length + 1

export class SteeringCounters {
  readonly memory: SteeringCounterMemory
  readonly #totals: Float64Array
  readonly #begunMs = new Float64Array(1)
  /** Connections that the kernel tracks and that have not ended. */
  readonly open: Int32Array
  /** Connections steered there. */
  readonly steered: Uint32Array
  /** Connects that it did not answer or refused. */
  readonly failures: Uint32Array
  /** Of the failures, those that were tried elsewhere, and those that the client saw. */
  readonly retries: Uint32Array
  readonly exhausted: Uint32Array
  readonly #ofOneLife: readonly Uint32Array[]

  /** For slots up to maxSlot; or a view of what another thread has made. */
  constructor(from: number | SteeringCounterMemory) {
    this.memory =
      typeof from === 'number'
        ? {
            // The histogram comes after the totals: its buckets, the one above, the sum.
            totals: new SharedArrayBuffer(
              (STEERING_TOTALS.length + VERDICT_BUCKETS.length + 2) * 8,
            ),
            slots: new SharedArrayBuffer((from + 1) * PER_SLOT * 4),
          }
        : from
    const { totals, slots } = this.memory
    const count = slots.byteLength / (PER_SLOT * 4)
    this.#totals = new Float64Array(totals)
    this.open = new Int32Array(slots, 0, count)
    this.steered = new Uint32Array(slots, count * 4, count)
    this.failures = new Uint32Array(slots, count * 8, count)
    this.retries = new Uint32Array(slots, count * 12, count)
    this.exhausted = new Uint32Array(slots, count * 16, count)
    this.#ofOneLife = [this.steered, this.failures, this.retries, this.exhausted]
  }

  add(total: number, by = 1): void {
    this.#totals[total] = (this.#totals[total] ?? 0) + by
  }

  set(total: number, value: number): void {
    this.#totals[total] = value
  }

  total(name: SteeringTotal): number {
    return this.#totals[Total[name]] ?? 0
  }

  /** A batch is about to be decided. */
  beginBatch(clock: { nowMs(): number }): void {
    this.#begunMs[0] = clock.nowMs()
  }

  /** Its `count` verdicts have been answered. */
  endBatch(clock: { nowMs(): number }, count: number): void {
    const seconds = (clock.nowMs() - (this.#begunMs[0] ?? 0)) / 1000
    let bucket = 0
    while (bucket < VERDICT_BUCKETS.length && seconds > (VERDICT_BUCKETS[bucket] ?? 0)) bucket++
    this.add(Total.packets, count)
    this.add(Total.batches)
    this.add(FIRST_BUCKET + bucket, count)
    const totals = this.#totals
    totals[Total.verdictSeconds] = (totals[Total.verdictSeconds] ?? 0) + seconds
    totals[SUM] = (totals[SUM] ?? 0) + seconds * count
  }

  verdictLatency(): VerdictLatency {
    return {
      counts: [...this.#totals.subarray(FIRST_BUCKET, SUM)],
      sumSeconds: this.#totals[SUM] ?? 0,
    }
  }

  /** Whether a slot has counted nothing yet. */
  isUnused(slot: number): boolean {
    return (
      this.open[slot] === 0 &&
      this.steered[slot] === 0 &&
      this.failures[slot] === 0 &&
      this.exhausted[slot] === 0
    )
  }

  /** A slot begins a new life: everything but what is still open. */
  resetSlot(slot: number): void {
    // A page that nobody writes to takes no memory: nothing is written where nothing was counted.
    for (const counts of this.#ofOneLife) if (counts[slot] !== 0) counts[slot] = 0
  }
}

/** Index of each total, for `add`. */
export const Total = Object.fromEntries(
  STEERING_TOTALS.map((name, index) => [name, index]),
) as Readonly<Record<SteeringTotal, number>>
