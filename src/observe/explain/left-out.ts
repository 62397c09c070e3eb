/** Why an endpoint of a Service port is not among those that a new connection may go to. Pure. */
import type { Endpoint } from '../../model/endpoint.js'
import { endpointState } from '../endpoint-state.js'

export interface KnownHealth {
  readonly isUp: boolean
  readonly since: Date | undefined
  readonly reason: string | undefined
}

/** `health` undefined: it is not probed. The first reason in the order in which they are applied. */
export function whyLeftOut(
  endpoint: Endpoint,
  scope: 'cluster' | 'local',
  health: KnownHealth | undefined,
): string {
  if (scope === 'local' && !endpoint.isLocal) {
    return `on ${endpoint.nodeName === undefined ? 'another node' : `node ${endpoint.nodeName}`}, and the policy is Local`
  }
  switch (endpointState(endpoint, { isInUse: false, isUp: health?.isUp, isEjected: false })) {
    case 'terminating':
      return endpoint.isServing
        ? 'terminating: serves only while no endpoint is ready'
        : 'terminating, and it does not serve any more'
    case 'not ready':
      return 'not ready'
    case 'draining':
      return 'draining: its weight is 0'
    case 'down':
      return unhealthy(health)
    case 'ejected':
    case 'up':
    case 'unused':
      return 'topology hints: it is meant for another zone or node'
  }
}

function unhealthy(health: KnownHealth | undefined): string {
  const since = health?.since === undefined ? '' : ` since ${health.since.toISOString()}`
  const reason = health?.reason === undefined ? '' : `: ${health.reason}`
  return `unhealthy${since}${reason}`
}
