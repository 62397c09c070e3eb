/**
 * Growing waits between tries: each is drawn from [delay, 2 * delay), so that many clients of one
 * server do not come back together, and the delay doubles up to its maximum. What has gone well for
 * `resetMs` since the last wait begins anew (client-go's reflector: 0.8 s to 30 s, factor 2, jitter 1,
 * anew after 2 minutes).
 */
import type { Clock } from './clock.js'

export interface BackoffOptions {
  readonly initialMs: number
  readonly maxMs: number
  readonly resetMs: number
}

export class Backoff {
  readonly #options: BackoffOptions
  readonly #clock: Pick<Clock, 'nowMs'>
  readonly #random: () => number
  #delayMs: number
  #lastEndMs = -Infinity

  /** @param random as Math.random */
  constructor(options: BackoffOptions, clock: Pick<Clock, 'nowMs'>, random: () => number) {
    this.#options = options
    this.#clock = clock
    this.#random = random
    this.#delayMs = options.initialMs
  }

  /** The next wait in milliseconds, at least `atLeastMs` (which is jittered as well, by a quarter). */
  next(atLeastMs = 0): number {
    const { initialMs, maxMs, resetMs } = this.#options
    const nowMs = this.#clock.nowMs()
    if (nowMs - this.#lastEndMs > resetMs) this.#delayMs = initialMs
    const waitMs = Math.max(
      this.#delayMs * (1 + this.#random()),
      atLeastMs * (1 + this.#random() / 4),
    )
    this.#delayMs = Math.min(this.#delayMs * 2, maxMs)
    this.#lastEndMs = nowMs + waitMs
    return waitMs
  }
}
