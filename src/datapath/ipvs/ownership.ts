/**
 * Whose a virtual server is that was there before us: ours, or kube-proxy's, when its address is
 * bound for virtual servers, or it is at a node port of the sets. Everybody else's is left alone.
 * Source: design.md, ground rules; kube-proxy would delete whatever is not in excludeCIDRs.
 */
import { type IpRange, rangeContains } from '../../lib/ip-address.js'
import type { VirtualServer, VirtualServers } from '../../kernel/ipvs.js'
import type { IpvsSetName } from './sets.js'

export interface OwnershipRecord {
  /** Addresses on our device, our local routes, and those in KUBE-IPVS-IPS. */
  readonly bound: ReadonlySet<string>
  /** `TCP 30080` */
  readonly nodePorts: ReadonlySet<string>
  /** Addresses of the node: where node ports are. */
  readonly ownAddresses: ReadonlySet<string>
  /** Never ours. */
  readonly excludeCidrs: readonly IpRange[]
}

/** Sets that tell of node ports. */
export const NODE_PORT_SETS = [
  'KUBE-NODE-PORT-TCP',
  'KUBE-NODE-PORT-LOCAL-TCP',
  'KUBE-NODE-PORT-UDP',
  'KUBE-NODE-PORT-LOCAL-UDP',
  'KUBE-NODE-PORT-SCTP-HASH',
  'KUBE-NODE-PORT-LOCAL-SCTP-HASH',
] as const satisfies readonly IpvsSetName[]

/** `TCP 30080` for an entry of one of those sets. */
export function nodePortOf(set: (typeof NODE_PORT_SETS)[number], entry: string): string {
  const protocol = ['TCP', 'UDP'].find((name) => set.endsWith(name)) ?? 'SCTP'
  return `${protocol} ${entry.slice(entry.lastIndexOf(':') + 1)}`
}

export function isOurs(server: VirtualServer, record: OwnershipRecord): boolean {
  const { address, protocol, port } = server
  if (record.excludeCidrs.some((range) => rangeContains(range, address))) return false
  if (record.bound.has(address)) return true
  return record.ownAddresses.has(address) && record.nodePorts.has(`${protocol} ${port}`)
}

/** The table in two parts. */
export function splitByOwner(
  servers: VirtualServers,
  isOwn: (server: VirtualServer, key: string) => boolean,
): { readonly ours: Map<string, VirtualServer>; readonly foreign: Map<string, VirtualServer> } {
  const ours = new Map<string, VirtualServer>()
  const foreign = new Map<string, VirtualServer>()
  for (const [key, server] of servers) (isOwn(server, key) ? ours : foreign).set(key, server)
  return { ours, foreign }
}
