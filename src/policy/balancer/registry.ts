/** The balancers by name. A new algorithm is a file beside this one and a row here. */
import type { Balancer } from './balancer.js'
import { RoundRobin } from './round-robin.js'

const BALANCERS: ReadonlyMap<string, () => Balancer> = new Map([
  ['round-robin', () => new RoundRobin()],
])

export const DEFAULT_BALANCER = 'round-robin'

export function balancerNames(): readonly string[] {
  return [...BALANCERS.keys()]
}

/** Whether there is a balancer of that name. */
export function isBalancerName(name: string): boolean {
  return BALANCERS.has(name)
}

/**
 * A new balancer for a Service port: the one that its annotation kube-sluice.io/balancer names, else
 * the default. A name that nobody has costs the Service its choice, not its traffic.
 */
export function balancerFor(
  annotations: Readonly<Record<string, string>>,
  onUnknown: (name: string) => void,
): Balancer {
  const wanted = annotations['balancer'] ?? DEFAULT_BALANCER
  const balancer = createBalancer(wanted)
  if (balancer !== undefined) return balancer
  onUnknown(wanted)
  return new RoundRobin()
}

/** A new balancer of that name, or undefined when there is none of that name. */
export function createBalancer(name: string): Balancer | undefined {
  return BALANCERS.get(name)?.()
}
