/**
 * The balancer: picks an endpoint for a new connection. One instance serves one set of endpoints
 * of one Service port (its cluster-wide set or its local set).
 *
 * Contract, the same for every algorithm:
 * - `setEndpoints` is called before the first pick and after every change: of the set, of a weight,
 *   of how warm an endpoint is. An endpoint that stays (same id) keeps its state, and picks go on
 *   where they were: a change of one endpoint must not send the next burst of connections to the
 *   same first endpoint on every node.
 * - `pick` is O(1) or O(log n), allocates nothing, and never throws. It returns an endpoint of the
 *   set whose id is not in `tried`, or undefined when there is none left.
 * - the `on...` notifications may come late and in any order, also for endpoints that have gone.
 *   Counts of open connections never go below zero.
 * - weights are above zero: an endpoint of weight 0 is not in the set.
 */
import { hashText } from '../../lib/hash.js'
import type { Endpoint } from '../../model/endpoint.js'

/** What a pick may depend on. Time and randomness come in here: balancers have none of their own. */
export interface PickContext {
  /** Canonical text. Made when it is asked for: read it once. */
  readonly clientIp: string
  /** The bits of hashText(clientIp, seed), where they are to be had without making the text. */
  hashClientIp?(seed: number): number
  readonly clientPort: number
  /** Monotonic, milliseconds. */
  readonly nowMs: number
  /** Uniform in [0, 1). */
  readonly random: number
}

/** What is known of endpoints besides the balancer: for those that are new to it. */
export interface EndpointStates {
  /** Connections that are open now, whoever picked the endpoint. */
  openOf(endpoint: Endpoint): number
  /** Share of its weight that slow start leaves an endpoint, above 0 up to 1. */
  warmthOf(endpoint: Endpoint): number
}

/** Endpoints without connections, and none of them in slow start. */
export const AT_REST: EndpointStates = { openOf: () => 0, warmthOf: () => 1 }

export interface Balancer {
  /** The name by which configuration and annotations choose it. */
  readonly name: string
  setEndpoints(endpoints: readonly Endpoint[], states?: EndpointStates): void
  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined
  /** A connection has been given to the endpoint; its connect may be under way still. */
  onConnect?(endpoint: Endpoint): void
  /** A connect was refused or timed out; its onClose follows or has been. */
  onConnectFailure?(endpoint: Endpoint, nowMs: number): void
  /** A connection that onConnect announced has ended. */
  onClose?(endpoint: Endpoint): void
  /** The endpoint took this long to answer: a connect, or the first datagram. */
  onLatency?(endpoint: Endpoint, latencyMs: number, nowMs: number): void
}

/** hashText(clientIp, seed) as a signed integer. */
export function clientBits(context: PickContext, seed: number): number {
  return context.hashClientIp?.(seed) ?? hashText(context.clientIp, seed) | 0
}

/** Whether an endpoint was tried already. Lists are as long as the attempts allowed: a handful. */
export function isTried(endpoint: Endpoint, tried: readonly Endpoint[]): boolean {
  for (const other of tried) if (other.id === endpoint.id) return true
  return false
}
