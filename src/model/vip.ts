/**
 * The VIPs of a Service port, and where a new connection to one of them goes.
 * Source of the rules: kube-proxy pkg/proxy/iptables/proxier.go (KUBE-SERVICES, KUBE-EXT-*).
 */
import type { Endpoint } from './endpoint.js'
import type { ServicePort } from './service-port.js'
import type { ServicePortState } from './snapshot.js'

export type VipKind = 'cluster-ip' | 'external-ip' | 'load-balancer-ip' | 'node-port'

export interface Vip {
  readonly kind: VipKind
  /** Canonical; undefined for a node port, which is reached at any address of the node that may serve node ports. */
  readonly address: string | undefined
  readonly port: number
}

/**
 * Where a client is, as far as policies care. `pod` beats `node`: it is whatever the local detector
 * (--detect-local-mode) matches; `node` is any other address of this node itself.
 */
export type SourceKind = 'pod' | 'node' | 'other'

/** What a new connection meets. */
export type Selection =
  | {
      readonly verdict: 'balance'
      readonly scope: 'cluster' | 'local'
      readonly endpoints: readonly Endpoint[]
    }
  | { readonly verdict: 'reject' }
  | { readonly verdict: 'drop' }

/**
 * Every VIP of a port, in the order in which kube-proxy's rules match: cluster IP, external IPs,
 * load-balancer IPs, node port last. An address that is listed twice appears once, with the kind
 * that matches first.
 */
export function vipsOf(servicePort: ServicePort): readonly Vip[] {
  const { port, nodePort } = servicePort
  const kinds = new Map<string, VipKind>()
  for (const address of servicePort.loadBalancerVips) kinds.set(address, 'load-balancer-ip')
  for (const address of servicePort.externalIps) kinds.set(address, 'external-ip')
  kinds.set(servicePort.clusterIp, 'cluster-ip')
  const addresses = [
    servicePort.clusterIp,
    ...servicePort.externalIps,
    ...servicePort.loadBalancerVips,
  ]
  const vips = [...new Set(addresses)].map((address): Vip => {
    return { kind: kinds.get(address) ?? 'cluster-ip', address, port }
  })
  if (nodePort === undefined) return vips
  return [...vips, { kind: 'node-port', address: undefined, port: nodePort }]
}

/**
 * The endpoints for a new connection from such a source to such a VIP of the port.
 *
 * internalTrafficPolicy decides about the cluster IP and externalTrafficPolicy about the others.
 * Under externalTrafficPolicy Local, pods and the node itself are short-circuited to the cluster's
 * endpoints: what they send need not come back through this node's door. With no usable endpoint
 * anywhere the client is told (reject); with some, but none for a Local policy, it is not (drop).
 */
export function selectEndpoints(
  state: ServicePortState,
  kind: VipKind,
  source: SourceKind,
): Selection {
  if (!state.hasAny) return { verdict: 'reject' }
  const scope = scopeOf(state.servicePort, kind, source)
  const endpoints = state[scope]
  return endpoints.length === 0 ? { verdict: 'drop' } : { verdict: 'balance', scope, endpoints }
}

/** Which endpoints a policy lets such a connection have. */
export function scopeOf(
  servicePort: ServicePort,
  kind: VipKind,
  source: SourceKind,
): 'cluster' | 'local' {
  const isLocal =
    kind === 'cluster-ip'
      ? servicePort.internalPolicyLocal
      : servicePort.externalPolicyLocal && source === 'other'
  return isLocal ? 'local' : 'cluster'
}
