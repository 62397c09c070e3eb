/** The endpoints that a connection may go to, and what part of such connections each gets. Pure. */
import type { Endpoint } from '../../model/endpoint.js'
import type { Foreseen } from '../../policy/endpoint-picker.js'

/** How a mode picks. */
export interface Choice {
  /** Of the balancer, or of what stands for it in a mode of rules. */
  readonly name: string
  /** Whether weights count. */
  readonly isWeighted: boolean
  /** Completes "picks one of 3, ". */
  readonly how: string
}

export interface Candidate {
  readonly address: string
  readonly pod: string | undefined
  readonly weight: number
  /**
   * Part of such connections that goes there in the long run, 0..100, rounded; for this client 100
   * or 0 when it is certain (`pinned`, `pick`).
   */
  readonly sharePercent: number
  /** 0 in modes of rules: the kernel has the connections. */
  readonly activeConnections: number
  /** false: its check says that it is down, but too few are healthy for that to count; undefined: not probed. */
  readonly isUp: boolean | undefined
  /** Passed over while there are others; undefined: it is not. */
  readonly ejectedSince: string | undefined
  /** When a connection tries it next. */
  readonly ejectedUntil: string | undefined
}

export interface CandidateFacts {
  readonly choice: Choice
  readonly foreseen: Foreseen | undefined
  readonly openOf: (endpointId: string) => number
  readonly ejectedSince: (endpointId: string) => Date | undefined
  readonly isUp: (endpointId: string) => boolean | undefined
  /** Now, milliseconds since the epoch. */
  readonly nowMs: number
}

export function candidatesOf(endpoints: readonly Endpoint[], facts: CandidateFacts): Candidate[] {
  const { foreseen, choice, openOf, ejectedSince, isUp, nowMs } = facts
  const certain = certainOf(endpoints, foreseen)
  const left = new Map(foreseen?.ejected.map(({ endpointId, leftMs }) => [endpointId, leftMs]))
  const isPassedOver = ({ id }: Endpoint): boolean => ejectedSince(id) !== undefined
  const taking = endpoints.some((one) => !isPassedOver(one))
  const lotOf = (endpoint: Endpoint): number => {
    if (certain !== undefined) return endpoint.id === certain ? 1 : 0
    if (taking && isPassedOver(endpoint)) return 0
    return choice.isWeighted ? endpoint.weight : 1
  }
  const all = endpoints.reduce((sum, endpoint) => sum + lotOf(endpoint), 0)
  return endpoints.map((endpoint) => {
    const { id, podName, weight } = endpoint
    const leftMs = left.get(id)
    return {
      address: id,
      pod: podName,
      weight,
      sharePercent: Math.round((lotOf(endpoint) * 100) / Math.max(1, all)),
      activeConnections: openOf(id),
      isUp: isUp(id),
      ejectedSince: ejectedSince(id)?.toISOString(),
      ejectedUntil: leftMs === undefined ? undefined : new Date(nowMs + leftMs).toISOString(),
    }
  })
}

/** Where the connection goes for certain, of what may take it. */
export function certainOf(
  endpoints: readonly Endpoint[],
  foreseen: Foreseen | undefined,
): string | undefined {
  const ids = new Set(endpoints.map(({ id }) => id))
  const pinned = foreseen?.pinned?.endpointId
  if (pinned !== undefined && ids.has(pinned)) return pinned
  const pick = foreseen?.pick
  return pick !== undefined && ids.has(pick) ? pick : undefined
}
