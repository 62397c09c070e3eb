/**
 * Weighted round robin, smooth: every endpoint gets its share of any run of picks, spread over the
 * run and not in blocks. Each endpoint has a date at which it is next due, 1/weight apart; the
 * earliest one is picked (earliest deadline first, as Envoy's scheduler). So after any number of
 * picks without a change, each count is within one or two of its exact share.
 *
 * Dates begin at random places within the first interval, or all nodes would begin alike. They are
 * doubles that only grow: 1e12 picks of a single endpoint still leave 4 digits after the point.
 */
import type { Endpoint } from '../../model/endpoint.js'
import { AT_REST, type Balancer, type EndpointStates, type PickContext } from './balancer.js'
import { EndpointHeap } from './endpoint-heap.js'

/** Fraction of the golden ratio: multiples of it, modulo 1, spread evenly however many there are. */
const GOLDEN = 0.618_033_988_749_895

export class WeightedRoundRobin implements Balancer {
  readonly name = 'weighted-round-robin'
  readonly #set = new EndpointHeap()
  /** By index in the set: weight times warmth. */
  #weights = new Float64Array(0)
  /** The date of the last pick. */
  #now = 0
  #isStarted = false

  setEndpoints(endpoints: readonly Endpoint[], states: EndpointStates = AT_REST): void {
    const before = this.#weights
    const dates = this.#set.heap
    const weights = new Float64Array(endpoints.length)
    let index = 0
    this.#set.setEndpoints(endpoints, (endpoint, oldIndex) => {
      const weight = endpoint.weight * states.warmthOf(endpoint)
      weights[index++] = weight
      if (oldIndex < 0) return this.#now + ((index * GOLDEN) % 1) / weight
      // What is left of its interval shrinks or grows with it.
      const left = Math.max(0, dates.keyOf(oldIndex) - this.#now)
      return this.#now + (left * (before[oldIndex] ?? weight)) / weight
    })
    this.#weights = weights
  }

  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    if (!this.#isStarted) this.#start(context.random)
    const index = this.#set.pick(context, tried)
    const endpoint = this.#set.endpoints[index]
    if (endpoint === undefined) return undefined
    const { heap } = this.#set
    const due = heap.keyOf(index)
    const interval = 1 / (this.#weights[index] ?? 1)
    this.#now = Math.max(this.#now, due)
    // Passed over for a whole interval or more: it does not make up for that in one go.
    heap.keys[index] = (this.#now - due > interval ? this.#now : due) + interval
    heap.settle(index)
    return endpoint
  }

  #start(random: number): void {
    const { heap } = this.#set
    if (heap.size === 0) return
    this.#isStarted = true
    const dates = Float64Array.from(
      this.#weights,
      (weight, index) => ((random + index * GOLDEN) % 1) / weight,
    )
    heap.reset(dates, heap.turns)
  }
}
