/**
 * The endpoints of a balancer in a heap: the one with the least key is picked next, and those that
 * were tried are passed over. What keys mean is the balancer's.
 */
import type { Endpoint } from '../../model/endpoint.js'
import type { PickContext } from './balancer.js'
import { IndexHeap } from './index-heap.js'

export class EndpointHeap {
  readonly heap = new IndexHeap()
  endpoints: readonly Endpoint[] = []
  #indexes: ReadonlyMap<string, number> = new Map()
  /** Indexes that a pick hides, and their keys; grown when a longer list of tried ones comes. */
  #hidden = new Int32Array(8)
  #hiddenKeys = new Float64Array(8)
  #isStarted = false

  /**
   * Goes over to another set. `keyOf` gives each endpoint its key, from the index that it had in the
   * set before (-1: it is new). Turns are kept; a new endpoint comes before its equals.
   */
  setEndpoints(
    endpoints: readonly Endpoint[],
    keyOf: (endpoint: Endpoint, oldIndex: number) => number,
  ): void {
    const before = this.#indexes
    const oldTurns = this.heap.turns
    const keys = new Float64Array(endpoints.length)
    const turns = new Float64Array(endpoints.length)
    const indexes = new Map<string, number>()
    for (const [index, endpoint] of endpoints.entries()) {
      const oldIndex = before.get(endpoint.id) ?? -1
      keys[index] = keyOf(endpoint, oldIndex)
      turns[index] = oldIndex < 0 ? 0 : (oldTurns[oldIndex] ?? 0)
      indexes.set(endpoint.id, index)
    }
    this.endpoints = endpoints
    this.#indexes = indexes
    this.heap.reset(keys, turns)
  }

  /** -1: not in the set. */
  indexOf(endpoint: Endpoint): number {
    return this.#indexes.get(endpoint.id) ?? -1
  }

  /** Index of the next endpoint that was not tried, taken; -1: none is left. */
  pick(context: PickContext, tried: readonly Endpoint[]): number {
    if (!this.#isStarted) this.#start(context.random)
    const { heap } = this
    if (tried.length === 0) {
      const index = heap.first()
      if (index >= 0) heap.take(index)
      return index
    }
    const hidden = this.#hide(tried)
    const first = heap.first()
    const index = first >= 0 && heap.keyOf(first) !== Infinity ? first : -1
    for (let i = hidden - 1; i >= 0; i--) {
      const one = this.#hidden[i] ?? 0
      heap.keys[one] = this.#hiddenKeys[i] ?? 0
      heap.settle(one)
    }
    if (index >= 0) heap.take(index)
    return index
  }

  /** Lets equals begin at a random place, or all nodes would send their first connection to one. */
  #start(random: number): void {
    const { heap } = this
    const size = heap.size
    if (size === 0) return
    this.#isStarted = true
    const first = Math.floor(random * size)
    const turns = Float64Array.from({ length: size }, (_, i) => ((i - first + size) % size) - size)
    heap.reset(heap.keys, turns)
  }

  /** How many it has hidden. */
  #hide(tried: readonly Endpoint[]): number {
    if (tried.length > this.#hidden.length) {
      this.#hidden = new Int32Array(tried.length * 2)
      this.#hiddenKeys = new Float64Array(tried.length * 2)
    }
    let count = 0
    for (const endpoint of tried) {
      const index = this.indexOf(endpoint)
      if (index < 0 || this.heap.keyOf(index) === Infinity) continue
      this.#hidden[count] = index
      this.#hiddenKeys[count] = this.heap.keyOf(index)
      this.heap.keys[index] = Infinity
      this.heap.settle(index)
      count++
    }
    return count
  }
}
