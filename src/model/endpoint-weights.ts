/**
 * Weights of endpoints, from the annotation `kube-sluice.io/weights` of their EndpointSlice: a JSON
 * object of addresses and whole numbers from 0 to 256, as HAProxy's `weight`. An address that is not
 * in the slice is nothing to complain about: endpoints come and go.
 */
import { parseIpAddress } from '../lib/ip-address.js'
import { quote, type ReportField } from './object-fields.js'

export const WEIGHTS_ANNOTATION = 'kube-sluice.io/weights'
export const DEFAULT_WEIGHT = 1
export const MAX_WEIGHT = 256

const NONE: ReadonlyMap<string, number> = new Map()

/** Weights by canonical address. A bad entry is reported and left out, the others stay. */
export function endpointWeights(
  annotations: Readonly<Record<string, string>> | undefined,
  report: ReportField,
): ReadonlyMap<string, number> {
  const text: unknown = annotations?.[WEIGHTS_ANNOTATION]
  if (text === undefined) return NONE
  const field = `metadata.annotations["${WEIGHTS_ANNOTATION}"]`
  const entries = parseObject(text)
  if (entries === undefined) {
    report(
      field,
      `${quote(text)} is not a JSON object such as {"10.0.0.1": 10}; every endpoint has weight ${DEFAULT_WEIGHT}`,
    )
    return NONE
  }
  const weights = new Map<string, number>()
  for (const [address, weight] of entries) {
    const ip = parseIpAddress(address)
    if (ip === undefined) {
      report(field, `${quote(address)} is not an IP address; the entry is left out`)
    } else if (!isWeight(weight)) {
      report(
        field,
        `the weight of ${ip} must be an integer from 0 to ${MAX_WEIGHT}, is ${quote(weight)}; ${DEFAULT_WEIGHT} is used`,
      )
    } else {
      weights.set(ip, weight)
    }
  }
  return weights
}

function isWeight(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_WEIGHT
}

function parseObject(text: unknown): [string, unknown][] | undefined {
  if (typeof text !== 'string') return undefined
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    return Object.entries(value)
  } catch {
    return undefined
  }
}
