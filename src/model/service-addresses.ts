/**
 * The addresses of a Service in one IP family: cluster IP, external IPs, load-balancer IPs and
 * source ranges, each parsed as leniently as kube-proxy does and printed canonically.
 * Source of the rules: kube-proxy pkg/proxy/util/utils.go and pkg/proxy/serviceport.go.
 */
import type { V1Service, V1ServiceSpec } from '@kubernetes/client-node'
import {
  familyOf,
  parseIpAddress,
  parseIpRange,
  type IpFamily,
  type IpRange,
} from '../lib/ip-address.js'
import { itemsOf, quote, textOf, type ReportField } from './object-fields.js'

/** One list for "none": most Services have no such addresses, and there may be 10,000 of them. */
const NO_ADDRESSES: readonly string[] = []
const NO_RANGES: readonly IpRange[] = []

/**
 * The cluster IP of the family, or undefined when the Service has none (GetClusterIPByFamily).
 * Two cluster IPs without ipFamilies, which the API server never sends but people write, are told
 * apart by their own families.
 */
export function clusterIpOf(
  spec: V1ServiceSpec,
  family: IpFamily,
  report: ReportField,
): string | undefined {
  const families = itemsOf(spec.ipFamilies)
  const candidates: [field: string, text: unknown][] = [['spec.clusterIP', spec.clusterIP]]
  for (const [index, text] of itemsOf(spec.clusterIPs)) {
    if (index > 0) candidates.push([`spec.clusterIPs[${index}]`, text])
  }
  if (families.length > 0) {
    const position = families.findIndex(([, name]) => name === family)
    const candidate = candidates[position]
    return candidate === undefined ? undefined : parseReported(candidate, family, report)
  }
  const found = candidates.find(([, text]) => {
    const ip = typeof text === 'string' ? parseIpAddress(text) : undefined
    return ip === undefined || familyOf(ip) === family
  })
  return found === undefined ? undefined : parseReported(found, family, report)
}

/** External IPs of the family, without repetition. */
export function externalIpsOf(
  spec: V1ServiceSpec,
  family: IpFamily,
  report: ReportField,
): readonly string[] {
  return addressesOf(
    itemsOf(spec.externalIPs).map(([index, text]) => [`spec.externalIPs[${index}]`, text]),
    family,
    report,
  )
}

/** Load-balancer IPs of the family that the node must serve: ipMode unset or VIP (IsVIPMode). */
export function loadBalancerVipsOf(
  service: V1Service,
  family: IpFamily,
  report: ReportField,
): readonly string[] {
  const ingress = itemsOf(service.status?.loadBalancer?.ingress).filter(
    // `??`, as a null in a manifest is an unset field
    ([, { ip, ipMode }]) => textOf(ip) !== undefined && (ipMode ?? 'VIP') === 'VIP',
  )
  return addressesOf(
    ingress.map(([index, { ip }]) => [`status.loadBalancer.ingress[${index}].ip`, ip]),
    family,
    report,
  )
}

/**
 * Source ranges of the family; empty means that every source may come, and so does a /0 among
 * them. A list that only names the other family is empty here, as kube-proxy has it.
 */
export function sourceRangesOf(
  spec: V1ServiceSpec,
  family: IpFamily,
  report: ReportField,
): readonly IpRange[] {
  const ranges = new Map<string, IpRange>()
  for (const [index, text] of itemsOf(spec.loadBalancerSourceRanges)) {
    const range = typeof text === 'string' ? parseIpRange(text) : undefined
    if (range === undefined) {
      report(
        `spec.loadBalancerSourceRanges[${index}]`,
        `${quote(text)} is not a CIDR range; left out`,
      )
    } else if (range.family === family) {
      ranges.set(range.text, range)
    }
  }
  const list = [...ranges.values()]
  const isOpen = list.length === 0 || list.some(({ prefixLength }) => prefixLength === 0)
  return isOpen ? NO_RANGES : list
}

function addressesOf(
  fields: readonly (readonly [field: string, text: unknown])[],
  family: IpFamily,
  report: ReportField,
): readonly string[] {
  const addresses = new Set<string>()
  for (const field of fields) {
    const ip = parseReported(field, family, report)
    if (ip !== undefined) addresses.add(ip)
  }
  return addresses.size === 0 ? NO_ADDRESSES : [...addresses]
}

/** The canonical address if it is of the family; reports what is no address at all. */
function parseReported(
  [field, text]: readonly [field: string, text: unknown],
  family: IpFamily,
  report: ReportField,
): string | undefined {
  const ip = typeof text === 'string' ? parseIpAddress(text) : undefined
  if (ip === undefined) report(field, `${quote(text)} is not an IP address; left out`)
  return ip !== undefined && familyOf(ip) === family ? ip : undefined
}
