/** A limit on how often something is done: `rate` times a second, `burst` times at once. */
import type { Clock } from './clock.js'

export class TokenBucket {
  readonly #rate: number
  readonly #burst: number
  readonly #clock: Pick<Clock, 'nowMs'>
  #tokens: number
  #atMs: number

  /** @param rate per second; 0 or below: no limit */
  constructor(rate: number, burst: number, clock: Pick<Clock, 'nowMs'>) {
    this.#rate = rate
    this.#burst = Math.max(1, burst)
    this.#clock = clock
    this.#tokens = this.#burst
    this.#atMs = clock.nowMs()
  }

  /** Takes one token if there is one. */
  tryTake(): boolean {
    this.#fill()
    if (this.#rate > 0 && this.#tokens < 1) return false
    this.#tokens--
    return true
  }

  /** Takes one token, on credit if need be; milliseconds until it is due. */
  reserve(): number {
    if (this.#rate <= 0) return 0
    this.#fill()
    this.#tokens--
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.#rate) * 1000
  }

  #fill(): void {
    const nowMs = this.#clock.nowMs()
    const grown = this.#tokens + ((nowMs - this.#atMs) / 1000) * Math.max(0, this.#rate)
    this.#tokens = Math.min(this.#burst, grown)
    this.#atMs = nowMs
  }
}
