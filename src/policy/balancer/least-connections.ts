/**
 * Least connections: the endpoint with the fewest open connections; equals take turns. After a
 * scale-out the new endpoints get every new connection until they have as many as the others; slow
 * start tempers that. Weights say nothing here: weighted-least-connections goes by them.
 */
import type { Endpoint } from '../../model/endpoint.js'
import { AT_REST, type Balancer, type EndpointStates, type PickContext } from './balancer.js'
import { EndpointHeap } from './endpoint-heap.js'

export class LeastConnections implements Balancer {
  readonly name: string = 'least-connections'
  readonly #set = new EndpointHeap()
  /** By index in the set. */
  #open = new Int32Array(0)
  #shares = new Float64Array(0)

  setEndpoints(endpoints: readonly Endpoint[], states: EndpointStates = AT_REST): void {
    const open = new Int32Array(endpoints.length)
    const shares = new Float64Array(endpoints.length)
    let index = 0
    this.#set.setEndpoints(endpoints, (endpoint) => {
      open[index] = states.openOf(endpoint)
      shares[index] = this.shareOf(endpoint) * states.warmthOf(endpoint)
      return loadOf(open[index] ?? 0, shares[index++] ?? 1)
    })
    this.#open = open
    this.#shares = shares
  }

  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    return this.#set.endpoints[this.#set.pick(context, tried)]
  }

  onConnect(endpoint: Endpoint): void {
    this.#add(endpoint, 1)
  }

  onClose(endpoint: Endpoint): void {
    this.#add(endpoint, -1)
  }

  /** What an endpoint's share of the connections is in proportion to. */
  protected readonly shareOf: (endpoint: Endpoint) => number = () => 1

  #add(endpoint: Endpoint, change: number): void {
    const index = this.#set.indexOf(endpoint)
    if (index < 0) return
    const open = Math.max(0, (this.#open[index] ?? 0) + change)
    this.#open[index] = open
    const { heap } = this.#set
    heap.keys[index] = loadOf(open, this.#shares[index] ?? 1)
    heap.settle(index)
  }
}

/** What its load would be with one more connection: so an idle set goes by weight as well. */
function loadOf(open: number, share: number): number {
  return (open + 1) / share
}
