/**
 * Two endpoints drawn by weight, of which a balancer takes the better one (power of two choices).
 * Holds the set with what such balancers count; what "better" is, they say.
 *
 * Of one number in [0, 1) come both draws: the second one from its digits further down.
 */
import type { Endpoint } from '../../model/endpoint.js'
import { AliasTable } from './alias-table.js'
import { isTried, type EndpointStates, type PickContext } from './balancer.js'

/** Draws that may hit a tried endpoint before it is looked for in order. */
const MAX_DRAWS = 8
/** One over the plastic number: steps of it, modulo 1, spread evenly. */
const STEP = 0.754_877_666_246_693

export class TwoChoices {
  endpoints: readonly Endpoint[] = []
  /** By index: open connections; weight times warmth. */
  open: Int32Array = new Int32Array(0)
  weights: Float64Array = new Float64Array(0)
  readonly #table = new AliasTable()
  /** The number of the draw at hand. */
  readonly #at = new Float64Array(1)
  #indexes: ReadonlyMap<string, number> = new Map()

  /** @returns for each index of the new set the one of the old set; -1: it is new */
  setEndpoints(endpoints: readonly Endpoint[], states: EndpointStates): Int32Array {
    const before = this.#indexes
    this.endpoints = endpoints
    this.open = Int32Array.from(endpoints, (endpoint) => states.openOf(endpoint))
    this.weights = Float64Array.from(endpoints, (one) => one.weight * states.warmthOf(one))
    this.#table.build(this.weights)
    this.#indexes = new Map(endpoints.map(({ id }, index) => [id, index]))
    return Int32Array.from(endpoints, ({ id }) => before.get(id) ?? -1)
  }

  /** -1: not in the set. */
  indexOf(endpoint: Endpoint): number {
    return this.#indexes.get(endpoint.id) ?? -1
  }

  /** Index of an endpoint that was not tried, drawn by weight; -1: none is left. */
  draw(context: PickContext, tried: readonly Endpoint[]): number {
    const size = this.endpoints.length
    if (size === 0) return -1
    const at = this.#at
    at[0] = context.random
    for (let i = 0; i < MAX_DRAWS; i++) {
      const index = this.#table.draw(at)
      if (this.#isFree(index, tried)) return index
      at[0] = (at[0] + STEP) % 1
    }
    // Nearly all were tried, or the heavy ones: the next one in order from a drawn place on.
    const start = Math.floor(at[0] * size)
    for (let i = 0; i < size; i++) {
      const index = (start + i) % size
      if (this.#isFree(index, tried)) return index
    }
    return -1
  }

  /** Another one, when there is another; else the same. */
  drawOther(than: number, context: PickContext, tried: readonly Endpoint[]): number {
    const at = this.#at
    at[0] = secondRandom(context.random)
    for (let i = 0; i < MAX_DRAWS; i++) {
      const index = this.#table.draw(at)
      if (index !== than && this.#isFree(index, tried)) return index
      at[0] = (at[0] + STEP) % 1
    }
    return than
  }

  add(endpoint: Endpoint, change: number): void {
    const index = this.indexOf(endpoint)
    if (index >= 0) this.open[index] = Math.max(0, (this.open[index] ?? 0) + change)
  }

  #isFree(index: number, tried: readonly Endpoint[]): boolean {
    const endpoint = this.endpoints[index]
    return endpoint !== undefined && (tried.length === 0 || !isTried(endpoint, tried))
  }
}

/** A second number in [0, 1) out of the digits of the first one. */
function secondRandom(random: number): number {
  return (random * 1_048_573) % 1
}
