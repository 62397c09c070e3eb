/**
 * Gives memory back after a load. V8 grows its heap while objects come in and keeps what they leave: to
 * take in 250,000 endpoints leaves as much garbage and empty pages as there are objects, for good,
 * because what follows is too quiet to make it look again. So a full collection follows a sync after
 * which the heap has grown by half.
 *
 * The young generation stays as large as the load made it, 32 MiB, until it is collected while little is
 * allocated: V8 looks at what was since the last collection, or in 5 s, and shrinks it below 1 MB/s. So it is
 * collected every CALM_MS until it is small: the first time is mostly too early.
 *
 * Bounds: one full collection in MIN_INTERVAL_MS, SETTLE_MS after the sync. It stops the main thread: some
 * 150 ms with 250,000 endpoints. At most YOUNG_TRIES of the young generation after a sync, 2 ms each. Heaps
 * below SMALL_BYTES and young generations below SMALL_YOUNG_BYTES are left alone.
 */
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import type { Clock } from '../lib/clock.js'

const SMALL_BYTES = 48 * 2 ** 20
const SMALL_YOUNG_BYTES = 4 * 2 ** 20
const GROWTH = 1.5
const SETTLE_MS = 1000
const MIN_INTERVAL_MS = 60_000
/** V8's 5 s, after the collection that follows a load. */
const CALM_MS = SETTLE_MS + 5500
const YOUNG_TRIES = 3

export type Collection = 'full' | 'young'

export interface HeapTrimOptions {
  readonly clock: Clock
  /** Bytes that V8 has taken from the system, of these the young generation. */
  readonly heapBytes?: () => number
  readonly youngBytes?: () => number
  readonly collect?: (collection: Collection) => void
  /** Called after a collection: what lies beside V8's heap and is free goes back to the system. */
  readonly release?: () => void
}

export class HeapTrim {
  readonly #clock: Clock
  readonly #heapBytes: () => number
  readonly #youngBytes: () => number
  readonly #collect: (collection: Collection) => void
  readonly #release: () => void
  #trimmedBytes = SMALL_BYTES
  #trimmedAtMs = -Infinity
  #cancelFull: (() => void) | undefined
  #cancelYoung: (() => void) | undefined
  #youngTriesLeft = 0

  constructor({ clock, heapBytes, youngBytes, collect, release }: HeapTrimOptions) {
    this.#clock = clock
    this.#heapBytes = heapBytes ?? (() => getHeapStatistics().total_physical_size)
    this.#youngBytes = youngBytes ?? youngGenerationBytes
    this.#collect = collect ?? collectGarbage
    this.#release = release ?? (() => undefined)
  }

  /** To be called after each sync. */
  synced(): void {
    this.#youngTriesLeft = YOUNG_TRIES
    this.#awaitCalm()
    if (this.#cancelFull !== undefined || this.#heapBytes() < this.#trimmedBytes * GROWTH) return
    const dueMs = this.#trimmedAtMs + MIN_INTERVAL_MS - this.#clock.nowMs()
    this.#cancelFull = this.#clock.after(Math.max(SETTLE_MS, dueMs), () => {
      this.#cancelFull = undefined
      this.#collect('full')
      this.#release()
      this.#trimmedAtMs = this.#clock.nowMs()
      this.#trimmedBytes = Math.max(SMALL_BYTES, this.#heapBytes())
    })
  }

  close(): void {
    this.#cancelFull?.()
    this.#cancelYoung?.()
  }

  #awaitCalm(): void {
    if (this.#cancelYoung !== undefined || this.#youngTriesLeft === 0) return
    this.#cancelYoung = this.#clock.after(CALM_MS, () => {
      this.#cancelYoung = undefined
      if (this.#youngBytes() <= SMALL_YOUNG_BYTES) return
      this.#youngTriesLeft--
      this.#collect('young')
      this.#awaitCalm()
    })
  }
}

function youngGenerationBytes(): number {
  const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
  return young?.physical_space_size ?? 0
}

/** A full collection leaves no page half empty. It stops the thread. */
export function collectGarbage(collection: Collection): void {
  // The function exists in contexts that are made while the flag is set.
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as (options?: { readonly type: 'minor' }) => void
  setFlagsFromString('--no-expose-gc')
  if (collection === 'young') {
    collect({ type: 'minor' })
    return
  }
  // Otherwise V8 moves objects only out of a few pages that are nearly empty.
  setFlagsFromString('--compact-on-every-full-gc')
  collect()
  setFlagsFromString('--no-compact-on-every-full-gc')
}
