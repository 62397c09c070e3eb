/**
 * The weights of a Service port's endpoints once agents have spoken. A share of a small weight would
 * be lost in rounding, so all weights of the port are made larger together first, as far as 256 allows:
 * only their relation means something.
 */
import type { Endpoint } from '../../model/endpoint.js'

const MAX_WEIGHT = 256

export interface AgentWeight {
  readonly weight?: number
  readonly weightPercent?: number
}

/** By endpoint id; undefined when no agent has said anything. 0 stays 0, everything else is at least 1. */
export function agentWeights(
  endpoints: readonly Endpoint[],
  agentWeightOf: (endpoint: Endpoint) => AgentWeight | undefined,
): ReadonlyMap<string, number> | undefined {
  const wanted = new Map<string, number>()
  let hasSpoken = false
  for (const endpoint of endpoints) {
    const agent = agentWeightOf(endpoint)
    if (agent !== undefined) hasSpoken = true
    const share = (agent?.weightPercent ?? 100) / 100
    wanted.set(endpoint.id, (agent?.weight ?? endpoint.weight) * share)
  }
  if (!hasSpoken) return undefined
  const largest = Math.max(...wanted.values())
  const isWhole = [...wanted.values()].every(Number.isInteger)
  const factor = largest > MAX_WEIGHT || !isWhole ? MAX_WEIGHT / largest : 1
  for (const [id, weight] of wanted) {
    wanted.set(id, weight === 0 ? 0 : Math.max(1, Math.round(weight * factor)))
  }
  return wanted
}
