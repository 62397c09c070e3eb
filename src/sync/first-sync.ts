/**
 * Tells that the first sync takes long, and why: a big cluster takes its time to be read and to be
 * brought into force, and till then nothing is served. Silent when it is quick.
 */
import type { Clock } from '../lib/clock.js'
import type { ClusterChange, ObjectKind } from '../source/cluster-source.js'

const FIRST_MS = 5000
const NEXT_MS = 10_000

export interface FirstSyncOptions {
  readonly clock: Clock
  readonly log: { info(context: object, message: string): void }
}

export class FirstSync {
  readonly #options: FirstSyncOptions
  readonly #startedMs: number
  readonly #read: Record<ObjectKind, number> = { Service: 0, EndpointSlice: 0, Node: 0 }
  #isReading = true
  #cancel: (() => void) | undefined

  constructor(options: FirstSyncOptions) {
    this.#options = options
    this.#startedMs = options.clock.nowMs()
    this.#tellIn(FIRST_MS)
  }

  /** Objects have come; `isComplete`: all of the first list. */
  took(changes: readonly ClusterChange[], isComplete: boolean): void {
    for (const change of changes) {
      if (change.type === 'apply') this.#read[change.current.kind]++
    }
    if (isComplete) this.#isReading = false
  }

  /** It is over, or given up. Idempotent. */
  end(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #tellIn(delayMs: number): void {
    const { clock, log } = this.#options
    this.#cancel = clock.after(delayMs, () => {
      const { Service: services, EndpointSlice: slices, Node: nodes } = this.#read
      const seconds = Math.round((clock.nowMs() - this.#startedMs) / 1000)
      log.info(
        { services, slices, nodes, seconds },
        this.#isReading
          ? 'objects are still being read; nothing is served yet'
          : 'all objects are read, the first sync is under way; nothing is served yet',
      )
      this.#tellIn(NEXT_MS)
    })
  }
}
