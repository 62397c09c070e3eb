/**
 * From a Snapshot to the VIPs that this node serves: which addresses and ports, for which Service
 * port, open to whom, and what a new connection meets. Pure.
 *
 * A node port stands once for each node address that serves it, because a socket that is bound to
 * one address answers from that address: with UDP on a node of several addresses nothing else does.
 */
import {
  familyOf,
  formatAddress,
  hostRange,
  type IpFamily,
  type IpRange,
} from '../../lib/ip-address.js'
import { allowedSources } from '../../model/allowed-sources.js'
import { type LocalAddress, nodePortAddressesOf } from '../../model/node-port-addresses.js'
import { podRanges } from '../../model/pod-ranges.js'
import { servicePortName, type ServicePort } from '../../model/service-port.js'
import type { NodeState, ServicePortState, Snapshot } from '../../model/snapshot.js'
import { selectEndpoints, vipsOf, type SourceKind, type VipKind } from '../../model/vip.js'
import type { CapturedVip } from './capture.js'

/** A VIP before it has a socket. */
export interface PlannedVip extends Omit<CapturedVip, 'listen'> {
  /** `TCP 10.96.0.10:80`: unique in a plan. */
  readonly key: string
  readonly servicePortId: string
  readonly kind: VipKind
}

export interface VipPlan {
  /** By key. */
  readonly vips: ReadonlyMap<string, PlannedVip>
  /** What could not be planned, one line each. */
  readonly warnings: readonly string[]
}

export interface VipPlanOptions {
  /** The node's own addresses, both families. */
  readonly localAddresses: readonly LocalAddress[]
  readonly nodePortAddresses: 'primary' | readonly IpRange[]
  readonly localhostNodePorts: boolean
  readonly clusterCidrs: readonly IpRange[]
  readonly detectLocalMode: 'ClusterCIDR' | 'NodeCIDR'
}

/** The VIPs of a Snapshot. Two Services that claim the same one: the first by name has it. */
export function planVips(snapshot: Snapshot, options: VipPlanOptions): VipPlan {
  const vips = new Map<string, PlannedVip>()
  const warnings: string[] = []
  const pods = podRanges(snapshot.node, options)
  const local = {
    IPv4: localSourcesOf('IPv4', pods, options),
    IPv6: localSourcesOf('IPv6', pods, options),
  }
  for (const state of snapshot.servicePorts.values()) {
    const { servicePort } = state
    const { protocol } = servicePort
    if (protocol === 'SCTP') {
      warnings.push(
        `Service port ${servicePortName(servicePort)}: SCTP is not relayed in userspace mode; left out`,
      )
      continue
    }
    for (const destination of destinationsOf(servicePort, snapshot.node, options)) {
      const key = `${protocol} ${formatAddress(destination.address, destination.port)}`
      const owner = vips.get(key)
      if (owner !== undefined) {
        if (owner.servicePortId === servicePort.id) continue
        warnings.push(
          `Service port ${servicePortName(servicePort)}: ${key} belongs to ${owner.servicePortId} already; left out there`,
        )
        continue
      }
      const served = serveFor(state, destination.kind, local[servicePort.ipFamily])
      vips.set(key, {
        key,
        servicePortId: servicePort.id,
        ipFamily: servicePort.ipFamily,
        protocol,
        ...destination,
        ...served,
      })
    }
  }
  return { vips, warnings }
}

interface Destination {
  readonly kind: VipKind
  readonly address: string
  readonly port: number
  readonly isNodeAddress: boolean
}

function destinationsOf(
  servicePort: ServicePort,
  node: NodeState,
  options: VipPlanOptions,
): Destination[] {
  return vipsOf(servicePort).flatMap(({ kind, address, port }): Destination[] => {
    if (address !== undefined) return [{ kind, address, port, isNodeAddress: false }]
    return nodePortAddressesOf(servicePort.ipFamily, node, options).map((nodeAddress) => ({
      kind,
      address: nodeAddress,
      port,
      isNodeAddress: true,
    }))
  })
}

/** Of one family: the sources that count as this node's, and its own addresses. */
interface LocalSources {
  readonly ranges: readonly IpRange[]
  readonly ips: readonly string[]
}

function localSourcesOf(
  family: IpFamily,
  pods: readonly IpRange[],
  options: VipPlanOptions,
): LocalSources {
  const ips = options.localAddresses
    .map(({ address }) => address)
    .filter((address) => familyOf(address) === family)
  const own = ips.map((address) => hostRange(address))
  return { ranges: [...pods.filter((range) => range.family === family), ...own], ips }
}

/** What a new connection to a VIP of this kind meets, and from where one may come. */
function serveFor(
  state: ServicePortState,
  kind: VipKind,
  local: LocalSources,
): Pick<PlannedVip, 'action' | 'allowedSources'> {
  const allowed = allowedSources(state, kind, { localSources: local.ranges, nodeIps: local.ips })
  if (allowed !== 'all' && allowed.length === 0) return { action: 'drop', allowedSources: [] }
  const sources: readonly SourceKind[] = ['other', 'pod', 'node']
  const verdicts = sources.map((source) => selectEndpoints(state, kind, source).verdict)
  if (verdicts.includes('balance')) return { action: 'balance', allowedSources: allowed }
  const action = verdicts[0] === 'drop' ? 'drop' : 'reject'
  return { action, allowedSources: action === 'drop' ? [] : allowed }
}
