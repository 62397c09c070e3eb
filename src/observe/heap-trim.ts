/**
 * Gives memory back after a load. V8 grows its heap while objects come in and keeps what they leave: to
 * take in 250,000 endpoints leaves as much garbage and empty pages as there are objects, for good,
 * because what follows is too quiet to make it look again. So a full collection follows a sync after
 * which the heap has grown by half.
 *
 * Bounds: one collection in MIN_INTERVAL_MS, SETTLE_MS after the sync. It stops the main thread: some
 * 150 ms with 250,000 endpoints. Heaps below SMALL_BYTES are left alone.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import type { Clock } from '../lib/clock.js'

const SMALL_BYTES = 48 * 2 ** 20
const GROWTH = 1.5
const SETTLE_MS = 1000
const MIN_INTERVAL_MS = 60_000

export interface HeapTrimOptions {
  readonly clock: Clock
  /** Bytes that V8 has taken from the system. */
  readonly heapBytes?: () => number
  readonly collect?: () => void
  /** Called after a collection: what lies beside V8's heap and is free goes back to the system. */
  readonly release?: () => void
}

export class HeapTrim {
  readonly #clock: Clock
  readonly #heapBytes: () => number
  readonly #collect: () => void
  readonly #release: () => void
  #trimmedBytes = SMALL_BYTES
  #trimmedAtMs = -Infinity
  #cancel: (() => void) | undefined

  constructor({ clock, heapBytes, collect, release }: HeapTrimOptions) {
    this.#clock = clock
    this.#heapBytes = heapBytes ?? (() => getHeapStatistics().total_physical_size)
    this.#collect = collect ?? collectGarbage
    this.#release = release ?? (() => undefined)
  }

  /** To be called after each sync. */
  synced(): void {
    if (this.#cancel !== undefined || this.#heapBytes() < this.#trimmedBytes * GROWTH) return
    const dueMs = this.#trimmedAtMs + MIN_INTERVAL_MS - this.#clock.nowMs()
    this.#cancel = this.#clock.after(Math.max(SETTLE_MS, dueMs), () => {
      this.#cancel = undefined
      this.#collect()
      this.#release()
      this.#trimmedAtMs = this.#clock.nowMs()
      this.#trimmedBytes = Math.max(SMALL_BYTES, this.#heapBytes())
    })
  }

  close(): void {
    this.#cancel?.()
  }
}

/** A full collection that leaves no page half empty. It stops the thread. */
export function collectGarbage(): void {
  // The function exists in contexts that are made while the flag is set.
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  setFlagsFromString('--no-expose-gc')
  // Otherwise V8 moves objects only out of a few pages that are nearly empty.
  setFlagsFromString('--compact-on-every-full-gc')
  collect()
  setFlagsFromString('--no-compact-on-every-full-gc')
}
