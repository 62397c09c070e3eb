/**
 * Remembers which endpoints of one Service port did not answer lately, so that new connections pass
 * them over for a while: 1 s after the first failure, doubling with each further one up to 30 s.
 * When the time is over a single connection tries the endpoint; only its success brings it back.
 *
 * Needed for UDP above all: a kernel answers at most one "port unreachable" a second, so most
 * datagrams to a dead endpoint vanish without a word.
 *
 * Fails open: never more than half of the endpoints are passed over, and what is passed over is
 * used when nothing else is left.
 */
import type { Endpoint } from '../model/endpoint.js'

const FIRST_MS = 1000
const LONGEST_MS = 30_000
const NONE: readonly Endpoint[] = []

interface Failing {
  readonly endpoint: Endpoint
  backOffMs: number
  untilMs: number
}

export class FailingEndpoints {
  readonly #failing = new Map<string, Failing>()

  failed(endpoint: Endpoint, nowMs: number): void {
    const known = this.#failing.get(endpoint.id)
    if (known === undefined) {
      this.#failing.set(endpoint.id, { endpoint, backOffMs: FIRST_MS, untilMs: nowMs + FIRST_MS })
      return
    }
    // Failures of connections that were under way together count as one.
    if (nowMs < known.untilMs - known.backOffMs / 2) return
    known.backOffMs = Math.min(known.backOffMs * 2, LONGEST_MS)
    known.untilMs = nowMs + known.backOffMs
  }

  succeeded(endpoint: Endpoint): void {
    if (this.#failing.size > 0) this.#failing.delete(endpoint.id)
  }

  has(endpoint: Endpoint): boolean {
    return this.#failing.size > 0 && this.#failing.has(endpoint.id)
  }

  /** Forgets endpoints that are no longer there. */
  retain(endpoints: readonly Endpoint[]): void {
    if (this.#failing.size === 0) return
    const ids = new Set(endpoints.map(({ id }) => id))
    for (const id of this.#failing.keys()) if (!ids.has(id)) this.#failing.delete(id)
  }

  /**
   * Endpoints to pass over now, of a set of `count`. One whose time is over is left out of the list
   * once, for the connection that is about to be placed, and is back on it for the next.
   */
  toAvoid(count: number, nowMs: number): readonly Endpoint[] {
    if (this.#failing.size === 0) return NONE
    const avoided: Endpoint[] = []
    for (const failing of this.#failing.values()) {
      if (avoided.length >= Math.floor(count / 2)) break
      if (failing.untilMs > nowMs) avoided.push(failing.endpoint)
      else failing.untilMs = nowMs + failing.backOffMs
    }
    return avoided
  }
}
