/**
 * Round robin: every endpoint in turn, so that after any number of picks the counts of two
 * endpoints differ by at most one. The first pick starts at a random place, or all nodes would
 * send their first connection to the same endpoint.
 *
 * Weights say nothing here. An endpoint in slow start lets some of its turns pass: it saves up its
 * warmth and takes a turn when it has a whole one.
 */
import type { Endpoint } from '../../model/endpoint.js'
import {
  AT_REST,
  isTried,
  type Balancer,
  type EndpointStates,
  type PickContext,
} from './balancer.js'

export class RoundRobin implements Balancer {
  readonly name = 'round-robin'
  #endpoints: readonly Endpoint[] = []
  /** Index of the endpoint that is next; undefined until the first pick draws it. */
  #next: number | undefined
  /** Share of its turns that each endpoint takes; undefined: all of them. */
  #shares: Float64Array | undefined
  #saved = new Float64Array(0)

  setEndpoints(endpoints: readonly Endpoint[], states: EndpointStates = AT_REST): void {
    if (this.#next !== undefined) this.#next = this.#nextAfterChange(this.#next, endpoints)
    this.#endpoints = endpoints
    const shares = Float64Array.from(endpoints, (endpoint) => states.warmthOf(endpoint))
    const largest = shares.reduce((a, b) => Math.max(a, b), 0)
    // In proportion to the warmest: when all have just come, nobody waits for anybody.
    const isEven = shares.every((share) => share === largest)
    this.#shares = isEven ? undefined : shares.map((share) => share / largest)
    if (this.#saved.length !== shares.length) this.#saved = new Float64Array(shares.length)
  }

  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    const count = this.#endpoints.length
    if (count === 0) return undefined
    this.#next ??= Math.floor(context.random * count)
    const picked = this.#walk(tried, this.#shares)
    // Only those are left that would let it pass.
    return picked ?? (this.#shares === undefined ? undefined : this.#walk(tried, undefined))
  }

  #walk(tried: readonly Endpoint[], shares: Float64Array | undefined): Endpoint | undefined {
    const count = this.#endpoints.length
    let index = this.#next ?? 0
    for (let step = 0; step < count; step++) {
      const place = index
      const endpoint = this.#endpoints[place]
      index = place + 1 === count ? 0 : place + 1
      if (endpoint === undefined || isTried(endpoint, tried)) continue
      if (shares !== undefined && !this.#takesTurn(place, shares[place] ?? 1)) continue
      // A retry takes what is next as well: its turn is used up like any other.
      this.#next = index
      return endpoint
    }
    return undefined
  }

  #takesTurn(index: number, share: number): boolean {
    if (share === 1) return true
    const saved = (this.#saved[index] ?? 0) + share
    this.#saved[index] = saved >= 1 ? saved - 1 : saved
    return saved >= 1
  }

  /** Where to go on: at the first endpoint, in the old order from the old place, that is still there. */
  #nextAfterChange(next: number, endpoints: readonly Endpoint[]): number | undefined {
    if (this.#isSameOrder(endpoints)) return next
    const places = new Map(endpoints.map((endpoint, place) => [endpoint.id, place]))
    const old = this.#endpoints
    for (let step = 0; step < old.length; step++) {
      const candidate = old[(next + step) % old.length]
      const place = candidate === undefined ? undefined : places.get(candidate.id)
      if (place !== undefined) return place
    }
    return undefined
  }

  #isSameOrder(endpoints: readonly Endpoint[]): boolean {
    const old = this.#endpoints
    return old.length === endpoints.length && old.every(({ id }, i) => id === endpoints[i]?.id)
  }
}
