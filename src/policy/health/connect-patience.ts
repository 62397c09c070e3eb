/**
 * How long endpoints of one Service port may leave a connect unanswered before they count as silent: an
 * endpoint that has answered within a few milliseconds until now, and then says nothing for `leastMs`,
 * hangs. One that is far away, or slow to accept, gets FACTOR times what it has taken lately; of one that
 * has never answered nothing is known.
 *
 * The slowest answer counts, and is forgotten by degrees: each further answer takes an eighth of it away.
 * Bound: one number for each endpoint that has answered.
 */
import type { Endpoint } from '../../model/endpoint.js'

const FACTOR = 4
const KEPT = 7 / 8

export class ConnectPatience {
  readonly leastMs: number
  readonly #slowestMs = new Map<string, number>()

  /** 0: nobody is ever silent. */
  constructor(leastMs: number) {
    this.leastMs = leastMs
  }

  /** The endpoint has answered a connect after that long. */
  answered(endpoint: Endpoint, tookMs: number): void {
    if (this.leastMs === 0) return
    const before = this.#slowestMs.get(endpoint.id)
    const after = before === undefined ? tookMs : Math.max(tookMs, before * KEPT)
    if (after !== before) this.#slowestMs.set(endpoint.id, after)
  }

  /** Whole milliseconds; undefined: nothing can be said. */
  of(endpoint: Endpoint): number | undefined {
    const slowestMs = this.#slowestMs.get(endpoint.id)
    return slowestMs === undefined
      ? undefined
      : Math.ceil(Math.max(this.leastMs, slowestMs * FACTOR))
  }

  /** Whether something can be said of each, or never of any. */
  knowsAll(endpoints: readonly Endpoint[]): boolean {
    if (this.leastMs === 0) return true
    if (this.#slowestMs.size < endpoints.length) return false
    return endpoints.every(({ id }) => this.#slowestMs.has(id))
  }

  /** Forgets endpoints that are no longer there. */
  retain(endpoints: readonly Endpoint[]): void {
    if (this.#slowestMs.size === 0) return
    const ids = new Set(endpoints.map(({ id }) => id))
    for (const id of this.#slowestMs.keys()) if (!ids.has(id)) this.#slowestMs.delete(id)
  }
}
