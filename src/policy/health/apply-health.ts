/**
 * What the health of endpoints makes of a Service port. Pure.
 *
 * Conditions come first: a set that the model has chosen is only ever made smaller, and only by
 * ready endpoints; those that still serve while they terminate are not probed and stay. The
 * cluster-wide and the local set are judged each by itself. Where fewer than the panic threshold
 * are healthy, health is ignored (Envoy's healthy_panic_threshold): many failures at once are more
 * likely ours than theirs, and the rest could not carry the load. A set is never made empty.
 */
import { plainEndpoint } from '../../model/compact-endpoint.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { ServicePortState } from '../../model/snapshot.js'
import { agentWeights } from './agent-weights.js'

/** What is known of one endpoint. */
export interface HealthVerdict {
  readonly isUp: boolean
  /** What its agent says: a weight in place of its own, or a share of it. */
  readonly agentWeight?: { readonly weight?: number; readonly weightPercent?: number } | undefined
}

/** undefined: nothing is known, so it counts as healthy. */
export type VerdictOf = (endpoint: Endpoint) => HealthVerdict | undefined

export interface AppliedHealth {
  /** The state itself when health changes nothing. */
  readonly state: ServicePortState
  /** Whether health was ignored, in one set at least, for too few healthy endpoints. */
  readonly isPanicking: boolean
}

/** @param panicPercent 0..100; 0: only an empty set is too small */
export function applyHealth(
  state: ServicePortState,
  verdictOf: VerdictOf,
  panicPercent: number,
): AppliedHealth {
  return applyTo(withWeights(state, verdictOf), verdictOf, panicPercent)
}

function applyTo(
  state: ServicePortState,
  verdictOf: VerdictOf,
  panicPercent: number,
): AppliedHealth {
  const cluster = healthyOf(state.cluster, verdictOf, panicPercent)
  const local = healthyOf(state.local, verdictOf, panicPercent)
  const isPanicking = cluster.isPanicking || local.isPanicking
  if (cluster.endpoints === state.cluster && local.endpoints === state.local) {
    return { state, isPanicking }
  }
  const inUse = new Set([...cluster.endpoints, ...local.endpoints])
  return {
    state: {
      ...state,
      cluster: cluster.endpoints,
      local: local.endpoints,
      reachable: state.reachable.filter((endpoint) => inUse.has(endpoint)),
    },
    isPanicking,
  }
}

interface HealthySet {
  /** The list itself when nothing is taken out. */
  readonly endpoints: readonly Endpoint[]
  readonly isPanicking: boolean
}

function healthyOf(
  endpoints: readonly Endpoint[],
  verdictOf: VerdictOf,
  panicPercent: number,
): HealthySet {
  const healthy = endpoints.filter(
    (endpoint) => !endpoint.isReady || verdictOf(endpoint)?.isUp !== false,
  )
  if (healthy.length === endpoints.length) return { endpoints, isPanicking: false }
  const isTooFew = healthy.length === 0 || healthy.length * 100 < endpoints.length * panicPercent
  return isTooFew ? { endpoints, isPanicking: true } : { endpoints: healthy, isPanicking: false }
}

/** The state with the weights that agents have given; the state itself where none has. */
function withWeights(state: ServicePortState, verdictOf: VerdictOf): ServicePortState {
  const weights = agentWeights(state.endpoints, (endpoint) => verdictOf(endpoint)?.agentWeight)
  if (weights === undefined) return state
  const changed = new Map(
    state.endpoints.map((endpoint) => {
      const weight = weights.get(endpoint.id) ?? endpoint.weight
      return [
        endpoint.id,
        weight === endpoint.weight ? endpoint : { ...plainEndpoint(endpoint), weight },
      ]
    }),
  )
  const replace = (list: readonly Endpoint[]): readonly Endpoint[] =>
    list.map((endpoint) => changed.get(endpoint.id) ?? endpoint)
  return {
    ...state,
    endpoints: replace(state.endpoints),
    cluster: replace(state.cluster),
    local: replace(state.local),
    reachable: replace(state.reachable),
  }
}
