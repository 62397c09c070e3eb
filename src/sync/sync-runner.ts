/**
 * Runs one sync at a time: requests that come while one runs, or before the minimum interval has
 * passed, are answered by a single later run. The interval counts from the end of one run to the
 * start of the next (kube-proxy's pkg/proxy/runner). A failed run is tried again by itself, with
 * a back-off that doubles up to the maximum; a run is also made every `periodMs` without a request,
 * so that the datapath notices what the kernel or the operator changed under it.
 */
import type { Clock } from '../lib/clock.js'

/** Between two runs that were asked for urgently. */
const URGENT_INTERVAL_MS = 100

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
  /** The shortest interval that was asked for since the last run began. */
  #requestedMs = Infinity
  #lastEndMs = -Infinity
  #retryInMs: number
  #isClosed = false

  constructor(options: SyncRunnerOptions) {
    this.#options = options
    this.#retryInMs = options.retryMs
  }

  /** Asks for a run as soon as the minimum interval allows. */
  request(): void {
    this.#request(this.#options.minIntervalMs)
  }

  /**
   * Asks for a run at once: an endpoint has failed, and each moment costs connections. The interval
   * is then at most URGENT_INTERVAL_MS.
   */
  requestUrgently(): void {
    this.#request(Math.min(this.#options.minIntervalMs, URGENT_INTERVAL_MS))
  }

  #request(intervalMs: number): void {
    if (this.#isClosed) return
    this.#requestedMs = Math.min(this.#requestedMs, intervalMs)
    if (this.#running === undefined) {
      this.#schedule(Math.max(this.#options.clock.nowMs(), this.#lastEndMs + intervalMs))
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
    const { clock, periodMs, retryMs } = this.#options
    this.#requestedMs = Infinity
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
    this.#schedule(this.#lastEndMs + Math.min(nextInMs, this.#requestedMs))
  }
}
