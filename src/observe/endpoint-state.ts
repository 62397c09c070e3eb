/**
 * What an endpoint is to new connections, in a word: `status`, the status page and `explain` say the
 * same. Pure. Conditions of the EndpointSlice come first, as a probe can only take out what is ready.
 */
import type { Endpoint } from '../model/endpoint.js'

/**
 * `down`: its health check says so. `ejected`: it did not take connections and is passed over.
 * `draining`: its weight is 0. `unused`: nothing is wrong with it, but none go there from here
 * (traffic policy or topology hints).
 */
export const ENDPOINT_STATES = [
  'up',
  'down',
  'ejected',
  'draining',
  'terminating',
  'not ready',
  'unused',
] as const

export type EndpointState = (typeof ENDPOINT_STATES)[number]

export interface EndpointFacts {
  /** Whether new connections may go there now. */
  readonly isInUse: boolean
  /** undefined: it is not probed. */
  readonly isUp: boolean | undefined
  readonly isEjected: boolean
}

export function endpointState(
  { isTerminating, isReady, weight }: Pick<Endpoint, 'isTerminating' | 'isReady' | 'weight'>,
  { isInUse, isUp, isEjected }: EndpointFacts,
): EndpointState {
  if (isTerminating) return 'terminating'
  if (!isReady) return 'not ready'
  if (weight === 0) return 'draining'
  if (isUp === false) return 'down'
  if (isEjected) return 'ejected'
  return isInUse ? 'up' : 'unused'
}
