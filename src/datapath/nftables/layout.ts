/**
 * The flat layout of a Snapshot for one family: the skeleton's text and the elements of every set,
 * Service port by Service port. Pure; a layout that is made from a previous one shares what did not
 * change, so that two layouts are compared by identity of their parts.
 */
import { formatAddress, type IpFamily, type IpRange } from '../../lib/ip-address.js'
import { podRanges } from '../../model/pod-ranges.js'
import { servicePortName, type ServicePort } from '../../model/service-port.js'
import type { NodeState, ServicePortState, Snapshot } from '../../model/snapshot.js'
import { vipsOf, type Vip } from '../../model/vip.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import { addressElements } from './elements.js'
import { portElements, type PortElements } from './port-elements.js'
import { skeletonText } from './skeleton.js'
import { MAX_SLOTS } from './slot-classes.js'

export interface LayoutOptions {
  readonly marks: MarkLayout
  readonly masqueradeAll: boolean
  readonly clusterCidrs: readonly IpRange[]
  readonly detectLocalMode: 'ClusterCIDR' | 'NodeCIDR'
  /** Addresses that serve node ports, resolved, both families; or every local address. */
  readonly nodePortAddresses: 'all' | readonly string[]
  readonly localhostNodePorts: boolean
}

export interface Layout {
  readonly family: IpFamily
  /** Text for `nft -f`; changes with the options and the node's pod CIDR only. */
  readonly skeleton: string
  /** By ServicePort.id, and NODE_PART: what the elements come from. */
  readonly parts: ReadonlyMap<string, LayoutPart>
  /** VIPs that two Service ports claim, one line each. */
  readonly conflicts: readonly string[]
  /** What could not be laid out, one line each, the conflicts first. */
  readonly warnings: readonly string[]
  readonly options: LayoutOptions
  readonly node: NodeState
}

/** The same object in the next layout when nothing of it changed. */
export interface LayoutPart {
  /** Undefined for NODE_PART. */
  readonly state: ServicePortState | undefined
  /** Destinations that the Service port has; another one may have claimed some first. */
  readonly vips: readonly Vip[]
  readonly elements: PortElements
}

/** Key of the part that belongs to no Service port; an id has a `/`. */
export const NODE_PART = 'node'

/** @param previous a layout of the same family: what did not change is taken from it */
export function computeLayout(
  snapshot: Snapshot,
  family: IpFamily,
  options: LayoutOptions,
  previous?: Layout,
): Layout {
  const { node } = snapshot
  const base = previous?.options === options && previous.node === node ? previous : undefined
  const states = [...snapshot.servicePorts.values()].filter(
    ({ servicePort }) => servicePort.ipFamily === family,
  )
  const changed = base && changedEndpoints(base, states)
  const { parts, conflicts } =
    changed === undefined
      ? planParts(states, base, node)
      : { parts: replaceParts(base, changed, node), conflicts: base?.conflicts ?? [] }
  if (base === undefined) parts.set(NODE_PART, nodePart(family, options))
  const warnings = [...conflicts, ...states.filter(hasTooManyEndpoints).map(tooManyEndpoints)]
  const skeleton = base?.skeleton ?? skeletonOf(family, options, node)
  return { family, skeleton, parts, conflicts, warnings, options, node }
}

/** The states with other endpoints than in `base`; undefined when more than endpoints changed. */
function changedEndpoints(
  { parts }: Layout,
  states: readonly ServicePortState[],
): readonly ServicePortState[] | undefined {
  if (parts.size !== states.length + 1) return undefined
  const changed: ServicePortState[] = []
  for (const state of states) {
    const before = parts.get(state.servicePort.id)?.state
    if (before === state) continue
    // Another ServicePort may have other VIPs, which others may want or have.
    if (before?.servicePort !== state.servicePort) return undefined
    changed.push(state)
  }
  return changed
}

function replaceParts(
  base: Layout | undefined,
  changed: readonly ServicePortState[],
  node: NodeState,
): Map<string, LayoutPart> {
  const parts = new Map(base?.parts)
  for (const state of changed) {
    const vips = parts.get(state.servicePort.id)?.vips ?? []
    parts.set(state.servicePort.id, partOf(state, vips, node))
  }
  return parts
}

/** Every part, with its VIPs. Two Service ports that claim the same VIP: the first by id has it. */
function planParts(
  states: readonly ServicePortState[],
  base: Layout | undefined,
  node: NodeState,
): { readonly parts: Map<string, LayoutPart>; readonly conflicts: readonly string[] } {
  const owners = new Map<string, ServicePort>()
  const conflicts: string[] = []
  const parts = new Map<string, LayoutPart>()
  const common = base?.parts.get(NODE_PART)
  if (common !== undefined) parts.set(NODE_PART, common)
  for (const state of states) {
    const { servicePort } = state
    const vips = vipsOf(servicePort).filter((vip) => {
      const key = vipKey(servicePort, vip)
      const owner = owners.get(key)
      if (owner === undefined) owners.set(key, servicePort)
      else conflicts.push(conflictWarning(servicePort, key, owner))
      return owner === undefined
    })
    const before = base?.parts.get(servicePort.id)
    const isSame = before?.state === state && sameVips(before.vips, vips)
    parts.set(servicePort.id, isSame ? before : partOf(state, vips, node))
  }
  return { parts, conflicts }
}

function partOf(state: ServicePortState, vips: readonly Vip[], node: NodeState): LayoutPart {
  return { state, vips, elements: portElements(state, vips, node.addresses) }
}

function conflictWarning(servicePort: ServicePort, key: string, owner: ServicePort): string {
  return `Service port ${servicePortName(servicePort)}: ${key} belongs to ${owner.id} already; left out there`
}

/** `TCP 10.96.0.10:80`, `TCP node port 30080` */
function vipKey({ protocol }: ServicePort, { address, port }: Vip): string {
  const at = address === undefined ? `node port ${port}` : formatAddress(address, port)
  return `${protocol} ${at}`
}

function hasTooManyEndpoints({ reachable }: ServicePortState): boolean {
  return reachable.length > MAX_SLOTS
}

function tooManyEndpoints({ servicePort, reachable }: ServicePortState): string {
  return `Service port ${servicePortName(servicePort)}: ${reachable.length} endpoints; only the first ${MAX_SLOTS} are used`
}

function sameVips(a: readonly Vip[], b: readonly Vip[]): boolean {
  if (a === b) return true
  return (
    a.length === b.length &&
    a.every(({ kind, address, port }, index) => {
      const other = b[index]
      return kind === other?.kind && address === other.address && port === other.port
    })
  )
}

function nodePart(family: IpFamily, { nodePortAddresses }: LayoutOptions): LayoutPart {
  const isIpv6 = family === 'IPv6'
  const own =
    nodePortAddresses === 'all'
      ? []
      : [...new Set(nodePortAddresses)].filter((address) => address.includes(':') === isIpv6)
  const elements: PortElements =
    own.length === 0 ? new Map() : new Map([['nodeport-ips', addressElements(own, family)]])
  return { state: undefined, vips: [], elements }
}

function skeletonOf(family: IpFamily, options: LayoutOptions, node: NodeState): string {
  const { marks, masqueradeAll, localhostNodePorts, nodePortAddresses } = options
  return skeletonText({
    family,
    marks,
    masqueradeAll,
    localhostNodePorts,
    podRange: podRanges(node, options).find((range) => range.family === family),
    nodePortsAtAll: nodePortAddresses === 'all',
  })
}
