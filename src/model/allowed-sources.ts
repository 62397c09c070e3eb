/**
 * Which clients may reach a VIP at all, for datapaths that filter by source before they decide.
 * Everyone else is dropped.
 */
import { hostRange, intersectRanges, rangeContains, type IpRange } from '../lib/ip-address.js'
import type { ServicePort } from './service-port.js'
import type { ServicePortState } from './snapshot.js'
import type { VipKind } from './vip.js'

export interface SourceOptions {
  /**
   * Of this family: the ranges that the local detector matches plus the node's own addresses as
   * host ranges. Where a capture makes VIPs local addresses these belong here too, as the node's
   * own packets to such a VIP have it as their source.
   */
  readonly localSources: readonly IpRange[]
  /** Addresses of the node, canonical; those of the other family do no harm. */
  readonly nodeIps: readonly string[]
}

/**
 * The sources that may reach a VIP of that kind, by loadBalancerSourceRanges (which only guard
 * load-balancer IPs, and as in kube-proxy's iptables mode only while there is any endpoint: without
 * one everyone is refused) and by externalTrafficPolicy Local: while no local endpoint is usable but
 * others are, only pods and the node are served, by being short-circuited. An empty list drops
 * everyone.
 */
export function allowedSources(
  state: ServicePortState,
  kind: VipKind,
  options: SourceOptions,
): 'all' | readonly IpRange[] {
  const ranges =
    kind === 'load-balancer-ip' && state.hasAny
      ? loadBalancerSources(state.servicePort, options.nodeIps)
      : 'all'
  const onlyShortCircuited =
    kind !== 'cluster-ip' &&
    state.servicePort.externalPolicyLocal &&
    state.hasAny &&
    state.local.length === 0
  if (!onlyShortCircuited) return ranges
  return ranges === 'all' ? options.localSources : intersectRanges(ranges, options.localSources)
}

/** For whoever asks allowedSources about loadBalancerSourceRanges alone. */
export function withoutPolicy(state: ServicePortState): ServicePortState {
  return { ...state, servicePort: { ...state.servicePort, externalPolicyLocal: false } }
}

/**
 * Who may reach a load-balancer IP: loadBalancerSourceRanges; when they let the node in, each
 * load-balancer IP as well, because a host's own packet to a VIP that is a local address has that
 * VIP as its source (kube-proxy's allowFromNode).
 */
export function loadBalancerSources(
  { loadBalancerSourceRanges: ranges, loadBalancerVips }: ServicePort,
  nodeIps: readonly string[],
): 'all' | readonly IpRange[] {
  if (ranges.length === 0) return 'all'
  const letsNodeIn = ranges.some((range) => nodeIps.some((ip) => rangeContains(range, ip)))
  return letsNodeIn ? [...ranges, ...loadBalancerVips.map(hostRange)] : ranges
}
