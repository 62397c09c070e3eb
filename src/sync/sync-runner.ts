/**
 * Runs one sync at a time: requests that come while one runs, or before the minimum interval has
 * passed, are answered by a single later run. The interval counts from the end of one run to the
 * start of the next (kube-proxy's pkg/proxy/runner). A failed run is tried again by itself, with
 * a back-off that doubles up to the maximum; a run is also made every `periodMs` without a request,
 * so that the datapath notices what the kernel or the operator changed under it.
 */
import type { Clock } from '../lib/clock.js'

/** The two periods are read at each run: they may change. */
export interface SyncRunnerOptions {
  readonly clock: Clock
  readonly minIntervalMs: number
  /** Longest time between two runs. */
  readonly periodMs: number
  /** First wait after a failure; doubles up to periodMs. */
  readonly retryMs: number
  readonly sync: () => Promise<void>
  /** A run has failed; the next one comes in `retryInMs`. */
  readonly onError: (error: unknown, retryInMs: number) => void
}

export class SyncRunner {
  readonly #options: SyncRunnerOptions
  #cancelTimer: (() => void) | undefined
  #timerAtMs = Infinity
  #running: Promise<void> | undefined
  #isRequested = false
  #lastEndMs = -Infinity
  #retryInMs: number
  #isClosed = false

  constructor(options: SyncRunnerOptions) {
    this.#options = options
    this.#retryInMs = options.retryMs
  }

  /** Asks for a run as soon as the minimum interval allows. */
  request(): void {
    if (this.#isClosed) return
    this.#isRequested = true
    if (this.#running === undefined) {
      const { clock, minIntervalMs } = this.#options
      this.#schedule(Math.max(clock.nowMs(), this.#lastEndMs + minIntervalMs))
    }
  }

  /** No run starts after this; resolves when the one under way has ended. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelTimer?.()
    await this.#running
  }

  /** Sets the timer, unless it goes off earlier already. */
  #schedule(atMs: number): void {
    if (this.#isClosed || atMs >= this.#timerAtMs) return
    this.#cancelTimer?.()
    this.#timerAtMs = atMs
    const delayMs = Math.max(0, atMs - this.#options.clock.nowMs())
    this.#cancelTimer = this.#options.clock.after(delayMs, () => {
      this.#timerAtMs = Infinity
      this.#running = this.#run()
    })
  }

  async #run(): Promise<void> {
    const { clock, minIntervalMs, periodMs, retryMs } = this.#options
    this.#isRequested = false
    let nextInMs = periodMs
    try {
      await this.#options.sync()
      this.#retryInMs = retryMs
    } catch (error) {
      nextInMs = this.#retryInMs
      this.#retryInMs = Math.min(this.#retryInMs * 2, periodMs)
      this.#options.onError(error, nextInMs)
    }
    this.#running = undefined
    this.#lastEndMs = clock.nowMs()
    // A request may have come while the sync was under way.
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition
    if (this.#isRequested) nextInMs = Math.min(nextInMs, minIntervalMs)
    this.#schedule(this.#lastEndMs + nextInMs)
  }
}
