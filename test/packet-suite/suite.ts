/** All topics, and their cases one by one. */
import type { IpFamily } from '../../src/lib/ip-address.js'
import { affinity } from './cases/affinity.js'
import { clusterIps } from './cases/cluster-ips.js'
import { endpointConditions } from './cases/endpoint-conditions.js'
import { externalPolicyCluster, externalPolicyLocal } from './cases/external-policy.js'
import { internalPolicy } from './cases/internal-policy.js'
import { masquerade } from './cases/masquerade.js'
import { slices } from './cases/slices.js'
import { sourceRanges } from './cases/source-ranges.js'
import { topology } from './cases/topology.js'
import { sctp } from './cases/sctp.js'
import { healthCheckNodePorts } from './cases/health-check-node-ports.js'
import { nodePorts, vips } from './cases/vips.js'
import type { Destination, PacketCase, Protocol, SuiteService, Topic } from './packet-case.js'
import { FAMILIES } from './place.js'

export const TOPICS: readonly Topic[] = [
  clusterIps,
  endpointConditions,
  internalPolicy,
  externalPolicyCluster,
  externalPolicyLocal,
  vips,
  nodePorts,
  sourceRanges,
  masquerade,
  affinity,
  topology,
  slices,
  sctp,
  healthCheckNodePorts,
]

/** A Service of the suite, and its number: what its addresses are made of. */
export interface NumberedService {
  readonly topic: Topic
  readonly service: SuiteService
  readonly number: number
}

export const SERVICES: readonly NumberedService[] = TOPICS.flatMap((topic) =>
  topic.services.map((service) => ({ topic, service })),
).map((entry, index) => ({ ...entry, number: index + 1 }))

/** One case: its destinations are several only where one expectation is about all of them. */
export interface SingleCase extends Omit<PacketCase, 'to'> {
  readonly name: string
  readonly to: readonly Destination[]
  readonly protocols: readonly Protocol[]
  readonly families: readonly IpFamily[]
}

export function casesOf({ topic, service }: NumberedService): SingleCase[] {
  return service.cases.flatMap((one) => {
    const destinations = typeof one.to === 'string' ? [one.to] : one.to
    const groups = one.expect.kind === 'sticky' ? [destinations] : destinations.map((to) => [to])
    const protocols = one.protocols ?? (['TCP', 'UDP'] as const)
    const families = one.families ?? service.families ?? FAMILIES
    return groups.map((to) => ({
      ...one,
      to,
      protocols,
      families,
      name: [
        `${topic.title}: ${service.title}: ${one.from} to ${to.join(', ')}`,
        ...(protocols.length === 1 ? protocols : []),
        ...(one.families === undefined ? [] : families),
      ].join(', '),
    }))
  })
}
