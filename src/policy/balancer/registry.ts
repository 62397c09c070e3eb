/** The balancers by name. A new algorithm is a file beside this one and a row here. */
import type { Balancer } from './balancer.js'
import { LeastConnections } from './least-connections.js'
import { RoundRobin } from './round-robin.js'
import type { BalancerSettings } from './settings.js'
import { WeightedLeastConnections } from './weighted-least-connections.js'
import { WeightedRoundRobin } from './weighted-round-robin.js'

export const BALANCER_NAMES = [
  'round-robin',
  'weighted-round-robin',
  'least-connections',
  'weighted-least-connections',
] as const

export type BalancerName = (typeof BALANCER_NAMES)[number]

/** Whether there is a balancer of that name. */
export function isBalancerName(name: string): name is BalancerName {
  return (BALANCER_NAMES as readonly string[]).includes(name)
}

/** A new balancer. */
export function createBalancer({ name }: BalancerSettings): Balancer {
  switch (name) {
    case 'round-robin':
      return new RoundRobin()
    case 'weighted-round-robin':
      return new WeightedRoundRobin()
    case 'least-connections':
      return new LeastConnections()
    case 'weighted-least-connections':
      return new WeightedLeastConnections()
  }
}
