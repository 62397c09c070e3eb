/**
 * Power of two choices: two endpoints are drawn by weight, and the one with fewer open connections
 * in proportion to its weight gets the connection (as HAProxy's random(2), Envoy's LEAST_REQUEST).
 * Nearly as even as least-connections, and many nodes that do not know of each other do not all run
 * to the same new endpoint.
 */
import type { Endpoint } from '../../model/endpoint.js'
import { AT_REST, type Balancer, type EndpointStates, type PickContext } from './balancer.js'
import { TwoChoices } from './two-choices.js'

export class RandomTwo implements Balancer {
  readonly name = 'random-two'
  readonly #set = new TwoChoices()

  setEndpoints(endpoints: readonly Endpoint[], states: EndpointStates = AT_REST): void {
    this.#set.setEndpoints(endpoints, states)
  }

  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    const set = this.#set
    const first = set.draw(context, tried)
    if (first < 0) return undefined
    const second = set.drawOther(first, context, tried)
    // Of equals the first one: so a set without connections goes by weight.
    return set.endpoints[this.#loadOf(second) < this.#loadOf(first) ? second : first]
  }

  onConnect(endpoint: Endpoint): void {
    this.#set.add(endpoint, 1)
  }

  onClose(endpoint: Endpoint): void {
    this.#set.add(endpoint, -1)
  }

  #loadOf(index: number): number {
    return (this.#set.open[index] ?? 0) / (this.#set.weights[index] ?? 1)
  }
}
