/**
 * The balancer: picks an endpoint for a new connection. One instance serves one set of endpoints
 * of one Service port (its cluster-wide set or its local set).
 *
 * Contract, the same for every algorithm:
 * - `setEndpoints` is called before the first pick and after every change; an endpoint that stays
 *   (same id) keeps its state, and picks go on where they were: a change of one endpoint must not
 *   send the next burst of connections to the same first endpoint on every node.
 * - `pick` is O(1) or O(log n), allocates nothing, and never throws. It returns an endpoint of the
 *   set whose id is not in `tried`, or undefined when there is none left.
 * - the `on...` notifications may come late and in any order, also for endpoints that have gone.
 */
import type { Endpoint } from '../../model/endpoint.js'

/** What a pick may depend on. Time and randomness come in here: balancers have none of their own. */
export interface PickContext {
  readonly clientIp: string
  readonly clientPort: number
  /** Monotonic, milliseconds. */
  readonly nowMs: number
  /** Uniform in [0, 1). */
  readonly random: number
}

export interface Balancer {
  /** The name by which configuration and annotations choose it. */
  readonly name: string
  setEndpoints(endpoints: readonly Endpoint[]): void
  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined
  /** A connection is open; `connectMs` is what the connect took. */
  onConnect?(endpoint: Endpoint, connectMs: number): void
  /** A connect was refused or timed out. */
  onConnectFailure?(endpoint: Endpoint): void
  /** A connection that onConnect announced has ended. */
  onClose?(endpoint: Endpoint): void
}

/** Whether an endpoint was tried already. Lists are as long as the attempts allowed: a handful. */
export function isTried(endpoint: Endpoint, tried: readonly Endpoint[]): boolean {
  for (const other of tried) if (other.id === endpoint.id) return true
  return false
}
