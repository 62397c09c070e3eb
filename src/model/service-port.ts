/**
 * The Service port: the unit that is balanced, one per (namespace, name, port name, protocol,
 * IP family). Immutable; made once from a v1 Service by translate-service.ts.
 */
import type { IpFamily, IpRange } from '../lib/ip-address.js'

export type Protocol = 'TCP' | 'UDP' | 'SCTP'

export interface ServicePort {
  /** Unique key: `ns/name:port/TCP/IPv4`, or `ns/name/TCP/IPv4` when the port has no name. */
  readonly id: string
  readonly namespace: string
  readonly name: string
  /** Name of the port; '' when it has none, as in the API. */
  readonly portName: string
  readonly protocol: Protocol
  /** `appProtocol` of the port, as it is written; undefined when it has none. */
  readonly appProtocol: string | undefined
  readonly ipFamily: IpFamily
  /** Cluster IP of this family, printed canonically. */
  readonly clusterIp: string
  /** 1..65535 */
  readonly port: number
  /** 1..65535; undefined when the Service has none. */
  readonly nodePort: number | undefined
  /** Of this family, canonical, invalid ones left out. */
  readonly externalIps: readonly string[]
  /** `status.loadBalancer.ingress[].ip` of this family whose ipMode is unset or VIP. */
  readonly loadBalancerVips: readonly string[]
  /** Of this family; empty allows every source (a list with a /0 in it is empty too). */
  readonly loadBalancerSourceRanges: readonly IpRange[]
  /** ClientIP session affinity time-out in seconds (1..86400); undefined without affinity. */
  readonly affinityTimeoutSeconds: number | undefined
  /** internalTrafficPolicy: Local */
  readonly internalPolicyLocal: boolean
  /** externalTrafficPolicy: Local, where it has a meaning (reference, section 1.2). */
  readonly externalPolicyLocal: boolean
  /** Served only for LoadBalancer Services with externalTrafficPolicy Local. */
  readonly healthCheckNodePort: number | undefined
  /** The Service's `kube-sluice.io/...` annotations, keys without the prefix. */
  readonly annotations: Readonly<Record<string, string>>
}

/** `ns/name:port`, the name that kube-proxy prints in rules and logs (`ns/name` without a port name). */
export function servicePortName(
  port: Pick<ServicePort, 'namespace' | 'name' | 'portName'>,
): string {
  const service = `${port.namespace}/${port.name}`
  return port.portName === '' ? service : `${service}:${port.portName}`
}

/** Whether anything but the cluster IP leads to this port (reference 1.2, ExternallyAccessible). */
export function isExternallyAccessible(port: ServicePort): boolean {
  return (
    port.nodePort !== undefined || port.loadBalancerVips.length > 0 || port.externalIps.length > 0
  )
}

/** Whether some destination of this port is served from the whole cluster's endpoints. */
export function usesClusterEndpoints(port: ServicePort): boolean {
  return !port.internalPolicyLocal || isExternallyAccessible(port)
}

/** Whether some destination of this port is served from this node's endpoints only. */
export function usesLocalEndpoints(port: ServicePort): boolean {
  return port.internalPolicyLocal || (port.externalPolicyLocal && isExternallyAccessible(port))
}
