/** Checks the fields of an object that the model reads, as the API server would have. */
import { quote } from '../../model/object-fields.js'
import type { ObjectKind } from '../cluster-source.js'

export interface FieldProblem {
  readonly path: readonly (string | number)[]
  readonly message: string
}

type Check = (value: unknown) => string | undefined

const integer =
  (min: number, max: number): Check =>
  (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      ? undefined
      : `must be an integer from ${min} to ${max}, is ${quote(value)}`
const text: Check = (value) =>
  typeof value === 'string' ? undefined : `must be text, is ${quote(value)}`
const flag: Check = (value) =>
  typeof value === 'boolean' ? undefined : `must be true or false, is ${quote(value)}`
const list: Check = (value) =>
  Array.isArray(value) ? undefined : `must be a list, is ${quote(value)}`
const record: Check = (value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? undefined
    : `must be an object, is ${quote(value)}`
const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value as string)
      ? undefined
      : `must be one of ${words.join(', ')}, is ${quote(value)}`

interface Field {
  /** `*` stands for every element of a list. */
  readonly path: readonly string[]
  readonly check: Check
  readonly isRequired?: boolean
}

const field = (path: string, check: Check, isRequired = false): Field => ({
  path: path.split('.'),
  check,
  isRequired,
})
const port = integer(1, 65_535)
const protocol = oneOf('TCP', 'UDP', 'SCTP')
const metadata = [
  field('metadata.labels', record),
  field('metadata.annotations', record),
  field('metadata.namespace', text),
]

/** Outer fields stand before inner ones, so that the message names the outermost that is wrong. */
const FIELDS: Readonly<Record<ObjectKind, readonly Field[]>> = {
  Service: [
    ...metadata,
    field('spec', record, true),
    field('spec.type', oneOf('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName')),
    field('spec.clusterIP', text),
    field('spec.clusterIPs', list),
    field('spec.clusterIPs.*', text),
    field('spec.ipFamilies', list),
    field('spec.ipFamilies.*', oneOf('IPv4', 'IPv6')),
    field('spec.externalIPs', list),
    field('spec.externalIPs.*', text),
    field('spec.loadBalancerSourceRanges', list),
    field('spec.loadBalancerSourceRanges.*', text),
    field('spec.internalTrafficPolicy', oneOf('Cluster', 'Local')),
    field('spec.externalTrafficPolicy', oneOf('Cluster', 'Local')),
    field('spec.sessionAffinity', oneOf('None', 'ClientIP')),
    field('spec.sessionAffinityConfig', record),
    field('spec.sessionAffinityConfig.clientIP', record),
    field('spec.sessionAffinityConfig.clientIP.timeoutSeconds', integer(1, 86_400)),
    field('spec.healthCheckNodePort', integer(0, 65_535)),
    field('spec.ports', list),
    field('spec.ports.*', record),
    field('spec.ports.*.name', text),
    field('spec.ports.*.port', port, true),
    field('spec.ports.*.protocol', protocol),
    field('spec.ports.*.nodePort', integer(0, 65_535)),
    field('status', record),
    field('status.loadBalancer', record),
    field('status.loadBalancer.ingress', list),
    field('status.loadBalancer.ingress.*', record),
    field('status.loadBalancer.ingress.*.ip', text),
    field('status.loadBalancer.ingress.*.ipMode', text),
  ],
  EndpointSlice: [
    ...metadata,
    field('addressType', oneOf('IPv4', 'IPv6', 'FQDN'), true),
    field('endpoints', list),
    field('endpoints.*', record),
    field('endpoints.*.addresses', list, true),
    field('endpoints.*.addresses.*', text),
    field('endpoints.*.nodeName', text),
    field('endpoints.*.zone', text),
    field('endpoints.*.conditions', record),
    field('endpoints.*.conditions.ready', flag),
    field('endpoints.*.conditions.serving', flag),
    field('endpoints.*.conditions.terminating', flag),
    field('endpoints.*.hints', record),
    field('endpoints.*.hints.forZones', list),
    field('endpoints.*.hints.forZones.*', record),
    field('endpoints.*.hints.forNodes', list),
    field('endpoints.*.hints.forNodes.*', record),
    field('ports', list),
    field('ports.*', record),
    field('ports.*.name', text),
    field('ports.*.port', integer(0, 65_535)),
    field('ports.*.protocol', protocol),
  ],
  Node: [
    ...metadata,
    field('spec', record),
    field('spec.podCIDRs', list),
    field('spec.podCIDRs.*', text),
    field('status', record),
    field('status.addresses', list),
    field('status.addresses.*', record),
  ],
}

/** The first field that is wrong, or undefined. Fields that are not used may hold anything. */
export function problemOf(kind: ObjectKind, object: object): FieldProblem | undefined {
  for (const { path, check, isRequired } of FIELDS[kind]) {
    const problem = walk(object, path, [], { check, isRequired: isRequired === true })
    if (problem !== undefined) return problem
  }
  return undefined
}

interface Rule {
  readonly check: Check
  readonly isRequired: boolean
}

function walk(
  value: unknown,
  rest: readonly string[],
  at: readonly (string | number)[],
  rule: Rule,
): FieldProblem | undefined {
  const [part, ...deeper] = rest
  if (part === undefined) {
    if (value === undefined || value === null) {
      return rule.isRequired ? { path: at, message: 'is missing' } : undefined
    }
    const message = rule.check(value)
    return message === undefined ? undefined : { path: at, message }
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (part !== '*') {
    return walk((value as Record<string, unknown>)[part], deeper, [...at, part], rule)
  }
  if (!Array.isArray(value)) return undefined
  for (const [index, element] of value.entries()) {
    const problem = walk(element, deeper, [...at, index], rule)
    if (problem !== undefined) return problem
  }
  return undefined
}
