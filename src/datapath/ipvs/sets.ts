/**
 * The ipsets of the ipvs mode. Names, types and comments are kube-proxy's; KUBE-SLUICE- ones are
 * what it does not have. Source: kube-proxy pkg/proxy/ipvs/ipset.go, proxier.go (ipsetInfo).
 */
import type { IpFamily } from '../../lib/ip-address.js'
import type { IpSet } from '../../kernel/ipset.js'

type SetDefinition = readonly [type: IpSet['type'], comment: string]

export const IPVS_SETS = {
  'KUBE-LOOP-BACK': [
    'hash:ip,port,ip',
    'Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose',
  ],
  'KUBE-CLUSTER-IP': [
    'hash:ip,port',
    'Kubernetes service cluster ip + port for masquerade purpose',
  ],
  'KUBE-EXTERNAL-IP': [
    'hash:ip,port',
    'Kubernetes service external ip + port for masquerade and filter purpose',
  ],
  'KUBE-EXTERNAL-IP-LOCAL': [
    'hash:ip,port',
    'Kubernetes service external ip + port with externalTrafficPolicy=local',
  ],
  'KUBE-LOAD-BALANCER': ['hash:ip,port', 'Kubernetes service lb portal'],
  'KUBE-LOAD-BALANCER-LOCAL': [
    'hash:ip,port',
    'Kubernetes service load balancer ip + port with externalTrafficPolicy=local',
  ],
  'KUBE-LOAD-BALANCER-FW': [
    'hash:ip,port',
    'Kubernetes service load balancer ip + port for load balancer with sourceRange',
  ],
  'KUBE-LOAD-BALANCER-SOURCE-IP': [
    'hash:ip,port,ip',
    'Kubernetes service load balancer ip + port + source IP for packet filter purpose',
  ],
  'KUBE-LOAD-BALANCER-SOURCE-CIDR': [
    'hash:ip,port,net',
    'Kubernetes service load balancer ip + port + source cidr for packet filter purpose',
  ],
  'KUBE-NODE-PORT-TCP': ['bitmap:port', 'Kubernetes nodeport TCP port for masquerade purpose'],
  'KUBE-NODE-PORT-LOCAL-TCP': [
    'bitmap:port',
    'Kubernetes nodeport TCP port with externalTrafficPolicy=local',
  ],
  'KUBE-NODE-PORT-UDP': ['bitmap:port', 'Kubernetes nodeport UDP port for masquerade purpose'],
  'KUBE-NODE-PORT-LOCAL-UDP': [
    'bitmap:port',
    'Kubernetes nodeport UDP port with externalTrafficPolicy=local',
  ],
  'KUBE-NODE-PORT-SCTP-HASH': [
    'hash:ip,port',
    "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'",
  ],
  'KUBE-NODE-PORT-LOCAL-SCTP-HASH': [
    'hash:ip,port',
    "Kubernetes nodeport SCTP port with externalTrafficPolicy=local with type 'hash ip:port'",
  ],
  'KUBE-HEALTH-CHECK-NODE-PORT': ['bitmap:port', 'Kubernetes health check node port'],
  /** Addresses that are bound for virtual servers: nothing else of the node is reached at them. */
  'KUBE-IPVS-IPS': ['hash:ip', 'Kubernetes service addresses on the node'],
  /** VIPs whose Local policy leaves them without an endpoint: dropped, as in the iptables mode. */
  'KUBE-SLUICE-DROP': ['hash:ip,port', 'no local endpoints'],
  /** VIPs with externalTrafficPolicy Local: pods and this node go to the cluster's endpoints. */
  'KUBE-SLUICE-LOCAL': ['hash:ip,port', 'externalTrafficPolicy Local, for pods and this node'],
} as const satisfies Record<string, SetDefinition>

export type IpvsSetName = keyof typeof IPVS_SETS

export const IPVS_SET_NAMES = Object.keys(IPVS_SETS) as readonly IpvsSetName[]

/** The sets of one family with their entries. `bound`: what KUBE-IPVS-IPS holds. */
export function ipSetsOf(
  family: IpFamily,
  entries: ReadonlyMap<IpvsSetName, ReadonlySet<string>>,
  bound: ReadonlySet<string>,
): readonly IpSet[] {
  return IPVS_SET_NAMES.map((name) => ({
    name,
    type: IPVS_SETS[name][0],
    family,
    entries: [...(name === 'KUBE-IPVS-IPS' ? bound : (entries.get(name) ?? []))],
  }))
}
