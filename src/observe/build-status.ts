/** Makes the status document from what the running proxy knows. Pure. */
import { formatAddress } from '../lib/ip-address.js'
import { servicePortName } from '../model/service-port.js'
import type { ServicePortState, Snapshot } from '../model/snapshot.js'
import type { EndpointStatus, ProxyStatus, ServicePortStatus } from './status.js'
import type { ServicePortCounts, Traffic } from './traffic.js'

export interface StatusVip {
  readonly servicePortId: string
  readonly kind: string
  readonly address: string
  readonly port: number
  readonly action: string
}

export interface StatusInputs extends Omit<ProxyStatus, 'generation' | 'totals' | 'services'> {
  readonly snapshot: Snapshot
  readonly traffic: Traffic
  readonly vips: Iterable<StatusVip>
  readonly balancerOf: (servicePortId: string) => string
  readonly udpSessions: number
  readonly affinityClients: number
}

export function buildStatus(inputs: StatusInputs): ProxyStatus {
  const { snapshot, traffic, vips, balancerOf, udpSessions, affinityClients, ...rest } = inputs
  const vipsByPort = new Map<string, ServicePortStatus['vips'][number][]>()
  for (const { servicePortId, kind, address, port, action } of vips) {
    const list = vipsByPort.get(servicePortId) ?? []
    list.push({ kind, address: formatAddress(address, port), action })
    vipsByPort.set(servicePortId, list)
  }
  const states = [...snapshot.servicePorts.values()]
  return {
    ...rest,
    generation: snapshot.generation,
    totals: {
      ...traffic.totals(),
      servicePorts: states.length,
      endpoints: states.reduce((sum, { endpoints }) => sum + endpoints.length, 0),
      udpSessions,
      affinityClients,
    },
    services: states.map((state) => {
      const { id } = state.servicePort
      const counts = traffic.servicePort(id)
      return servicePortStatus(state, counts, vipsByPort.get(id) ?? [], balancerOf(id))
    }),
  }
}

function servicePortStatus(
  state: ServicePortState,
  counts: ServicePortCounts,
  vips: ServicePortStatus['vips'],
  balancer: string,
): ServicePortStatus {
  const { servicePort, endpoints, reachable } = state
  const inUse = new Set(reachable.map(({ id }) => id))
  return {
    name: servicePortName(servicePort),
    protocol: servicePort.protocol,
    ipFamily: servicePort.ipFamily,
    vips,
    balancer,
    activeConnections: counts.activeConnections,
    totalConnections: counts.totalConnections,
    failedConnections: counts.failedConnections,
    retries: counts.retries,
    endpoints: endpoints.map((endpoint): EndpointStatus => {
      const { activeConnections, totalConnections, connectFailures } = counts.endpoint(endpoint.id)
      return {
        address: endpoint.id,
        pod: endpoint.podName,
        node: endpoint.nodeName,
        zone: endpoint.zone,
        ready: endpoint.isReady,
        serving: endpoint.isServing,
        terminating: endpoint.isTerminating,
        local: endpoint.isLocal,
        inUse: inUse.has(endpoint.id),
        weight: endpoint.weight,
        activeConnections,
        totalConnections,
        connectFailures,
      }
    }),
  }
}
