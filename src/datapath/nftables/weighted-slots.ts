/**
 * Weights as slots: an endpoint of weight w has w slots, so that it is drawn as often. Weights are
 * reduced to the smallest whole numbers of the same proportion; beyond MAX_WEIGHTED_SLOTS they are
 * rounded, and every endpoint keeps one slot at least. Pure.
 */
import type { Endpoint } from '../../model/endpoint.js'

/** Slots of one Service port whose weights differ: the error of a share is below 1 in 2,048. */
export const MAX_WEIGHTED_SLOTS = 4096

/** The endpoints, each as often as it has slots; the list itself when all weights are equal. */
export function weightedSlots(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const [first] = endpoints
  if (first === undefined) return endpoints
  if (endpoints.every(({ weight }) => weight === first.weight)) return endpoints
  const total = endpoints.reduce((sum, { weight }) => sum + weight, 0)
  const common = endpoints.reduce((divisor, { weight }) => commonDivisor(divisor, weight), 0)
  const limit = Math.max(MAX_WEIGHTED_SLOTS, endpoints.length)
  const scale = total / common <= limit ? 1 / common : limit / total
  return endpoints.flatMap((endpoint) => {
    const count = endpoint.weight === 0 ? 0 : Math.max(1, Math.round(endpoint.weight * scale))
    return Array.from({ length: count }, () => endpoint)
  })
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b)
}
