/** Makes the status document from what the running proxy knows. Pure. */
import { formatAddress } from '../lib/ip-address.js'
import { servicePortName } from '../model/service-port.js'
import type { ServicePortState, Snapshot } from '../model/snapshot.js'
import { endpointState } from './endpoint-state.js'
import type {
  EndpointStatus,
  EndpointHealthStatus,
  ProxyStatus,
  ServicePortStatus,
} from './status.js'
import type { ServicePortCounts, Traffic } from './traffic.js'

export interface StatusVip {
  readonly servicePortId: string
  readonly kind: string
  readonly address: string
  readonly port: number
  readonly action: string
}

/** As the status has it, but for the date. */
export interface EndpointHealth extends Omit<EndpointHealthStatus, 'since'> {
  readonly since: Date | undefined
}

export interface StatusInputs extends Omit<ProxyStatus, 'generation' | 'totals' | 'services'> {
  readonly snapshot: Snapshot
  readonly traffic: Traffic
  readonly vips: Iterable<StatusVip>
  readonly balancerOf: (servicePortId: string) => string
  readonly healthOf: (servicePortId: string, endpointId: string) => EndpointHealth | undefined
  readonly ejectedSince: (servicePortId: string, endpointId: string) => Date | undefined
  readonly udpSessions: number
  readonly affinityClients: number
}

export function buildStatus(inputs: StatusInputs): ProxyStatus {
  const {
    snapshot,
    traffic,
    vips,
    balancerOf,
    healthOf,
    ejectedSince,
    udpSessions,
    affinityClients,
    ...rest
  } = inputs
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
      return servicePortStatus(state, {
        counts: traffic.servicePort(id),
        vips: vipsByPort.get(id) ?? [],
        balancer: balancerOf(id),
        healthOf: (endpointId) => healthOf(id, endpointId),
        ejectedSince: (endpointId) => ejectedSince(id, endpointId),
      })
    }),
  }
}

interface ServicePortParts {
  readonly counts: ServicePortCounts
  readonly vips: ServicePortStatus['vips']
  readonly balancer: string
  readonly healthOf: (endpointId: string) => EndpointHealth | undefined
  readonly ejectedSince: (endpointId: string) => Date | undefined
}

function servicePortStatus(
  state: ServicePortState,
  { counts, vips, balancer, healthOf, ejectedSince }: ServicePortParts,
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
      const health = healthOf(endpoint.id)
      const ejected = ejectedSince(endpoint.id)
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
        state: endpointState(endpoint, {
          isInUse: inUse.has(endpoint.id),
          isUp: health?.isUp,
          isEjected: ejected !== undefined,
        }),
        weight: endpoint.weight,
        activeConnections,
        totalConnections,
        connectFailures,
        ejectedSince: ejected?.toISOString(),
        health: health && { ...health, since: health.since?.toISOString() },
      }
    }),
  }
}
