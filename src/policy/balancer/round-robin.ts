/**
 * Round robin: every endpoint in turn, so that after any number of picks the counts of two
 * endpoints differ by at most one. The first pick starts at a random place, or all nodes would
 * send their first connection to the same endpoint.
 */
import type { Endpoint } from '../../model/endpoint.js'
import { isTried, type Balancer, type PickContext } from './balancer.js'

export class RoundRobin implements Balancer {
  readonly name = 'round-robin'
  #endpoints: readonly Endpoint[] = []
  /** Index of the endpoint that is next; undefined until the first pick draws it. */
  #next: number | undefined

  setEndpoints(endpoints: readonly Endpoint[]): void {
    if (this.#next !== undefined) this.#next = this.#nextAfterChange(this.#next, endpoints)
    this.#endpoints = endpoints
  }

  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    const count = this.#endpoints.length
    if (count === 0) return undefined
    let index = this.#next ?? Math.floor(context.random * count)
    for (let step = 0; step < count; step++) {
      const endpoint = this.#endpoints[index]
      index = index + 1 === count ? 0 : index + 1
      if (endpoint !== undefined && !isTried(endpoint, tried)) {
        // A retry takes what is next as well: its turn is used up like any other.
        this.#next = index
        return endpoint
      }
    }
    return undefined
  }

  /** Where to go on: at the first endpoint, in the old order from the old place, that is still there. */
  #nextAfterChange(next: number, endpoints: readonly Endpoint[]): number | undefined {
    const places = new Map(endpoints.map((endpoint, place) => [endpoint.id, place]))
    const old = this.#endpoints
    for (let step = 0; step < old.length; step++) {
      const candidate = old[(next + step) % old.length]
      const place = candidate === undefined ? undefined : places.get(candidate.id)
      if (place !== undefined) return place
    }
    return undefined
  }
}
