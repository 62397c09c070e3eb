/**
 * The flat layout of a Snapshot for one family: the skeleton's text and the elements of every set,
 * Service port by Service port. Pure; a layout that is made from a previous one shares what did not
 * change, so that two layouts are compared by identity of their parts.
 */
import type { IpFamily, IpRange } from '../../lib/ip-address.js'
import { SortedMap } from '../../lib/sorted-map.js'
import { podRanges } from '../../model/pod-ranges.js'
import { servicePortName } from '../../model/service-port.js'
import type { NodeState, ServicePortState, Snapshot } from '../../model/snapshot.js'
import type { Vip } from '../../model/vip.js'
import { sameVips, VipClaims } from '../vip-claims.js'
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
  /** Clients remembered for session affinity, over all Service ports of a family; default 65536. */
  readonly affinityMaxClients?: number
  /** Whether packets that connection tracking calls invalid are not forwarded (reference 1.8). */
  readonly dropsInvalid?: boolean
}

export interface Layout {
  readonly family: IpFamily
  /** Text for `nft -f`; changes with the options and the node's pod CIDR only. */
  readonly skeleton: string
  /** By ServicePort.id, and NODE_PART: what the elements come from. */
  readonly parts: SortedMap<LayoutPart>
  /** VIPs that two Service ports claim, one line each. */
  readonly conflicts: readonly string[]
  /** What could not be laid out, one line each, the conflicts first. */
  readonly warnings: readonly string[]
  readonly options: LayoutOptions
  /** What it was computed from. */
  readonly snapshot: Snapshot
  /** Warnings about single Service ports, by id. */
  readonly oversized: SortedMap<string>
  /** Elements that `endpoints` or `vip-slots` may have, whichever has more. */
  readonly size: number
  /** For how many the skeleton has room; 0: for any number. */
  readonly room: number
}

/** The same object in the next layout when nothing of it changed. */
export interface LayoutPart {
  /** Undefined for NODE_PART. */
  readonly state: ServicePortState | undefined
  /** Destinations that the Service port has; another one may have claimed some first. */
  readonly vips: readonly Vip[]
  readonly elements: PortElements
}

/** Below it rehashing takes some milliseconds, and the memory of a table that is made for more is not worth it. */
const MIN_ROOM_SIZE = 16_384
/** As the option --affinity-max-clients. */
const DEFAULT_AFFINITY_CLIENTS = 65_536

/** Key of the part that belongs to no Service port; an id has a `/`. */
export const NODE_PART = 'node'

type PartChanges = Map<string, LayoutPart | undefined>

/** @param previous a layout of the same family: what did not change is taken from it */
export function computeLayout(
  snapshot: Snapshot,
  family: IpFamily,
  options: LayoutOptions,
  previous?: Layout,
): Layout {
  const { node } = snapshot
  const isSame = previous?.options === options && previous.snapshot.node === node
  const base = isSame ? previous : undefined
  const changedEndpoints = base && endpointChanges(base, snapshot, family)
  const { changes, conflicts } =
    base === undefined || changedEndpoints === undefined
      ? planParts(snapshot, family, base)
      : { changes: changedEndpoints, conflicts: base.conflicts }
  if (base === undefined) changes.set(NODE_PART, nodePart(family, options))
  const parts = (base?.parts ?? SortedMap.empty<LayoutPart>()).with(changes)
  const oversized = (base?.oversized ?? SortedMap.empty<string>()).with(
    new Map([...changes].map(([id, part]) => [id, oversizedWarning(part)])),
  )
  const warnings = [...conflicts, ...oversized.values()]
  const size = sizeAfter(changes, base)
  const room = roomFor(size, previous?.room)
  const skeleton =
    base?.room === room ? base.skeleton : skeletonOf(family, { ...options, room }, node)
  return { family, skeleton, parts, conflicts, warnings, options, snapshot, oversized, size, room }
}

function sizeAfter(changes: PartChanges, base: Layout | undefined): number {
  let size = base?.size ?? 0
  for (const [id, part] of changes) size += sizeOf(part) - sizeOf(base?.parts.get(id))
  return size
}

function sizeOf(part: LayoutPart | undefined): number {
  if (part === undefined) return 0
  const { elements, state } = part
  return Math.max(elements.get('vip-slots')?.count ?? 0, state?.endpoints.length ?? 0)
}

/** A table with less room is made anew: a change of a map adds before it removes. */
export function roomNeeded(size: number): number {
  return Math.ceil(size / 0.75)
}

/** One that starts with many endpoints has room for twice as many or more; with few it grows by itself. */
function roomFor(size: number, before: number | undefined): number {
  if (before === 0 || (before === undefined && size < MIN_ROOM_SIZE)) return 0
  if (before !== undefined && roomNeeded(size) <= before) return before
  return 2 ** Math.ceil(Math.log2(size * 2))
}

/** The parts of Service ports with other endpoints than in `base`; undefined when more has changed. */
function endpointChanges(
  base: Layout,
  { servicePorts, node }: Snapshot,
  family: IpFamily,
): PartChanges | undefined {
  const changes: PartChanges = new Map()
  for (const { key, before, after } of base.snapshot.servicePorts.differences(servicePorts)) {
    const isOurs = (before ?? after)?.servicePort.ipFamily === family
    if (!isOurs) continue
    // Another ServicePort may have other VIPs, which others may want or have.
    if (after === undefined || before?.servicePort !== after.servicePort) return undefined
    changes.set(key, partOf(after, base.parts.get(key)?.vips ?? [], node))
  }
  return changes
}

/** Goes through all, with their VIPs. Two Service ports that claim the same VIP: the first by id has it. */
function planParts(
  { servicePorts, node }: Snapshot,
  family: IpFamily,
  base: Layout | undefined,
): { readonly changes: PartChanges; readonly conflicts: readonly string[] } {
  const claims = new VipClaims()
  const changes: PartChanges = new Map()
  for (const id of base?.parts.keys() ?? []) {
    if (id !== NODE_PART && !servicePorts.has(id)) changes.set(id, undefined)
  }
  for (const state of servicePorts.values()) {
    const { servicePort } = state
    if (servicePort.ipFamily !== family) continue
    const vips = claims.claim(servicePort)
    const before = base?.parts.get(servicePort.id)
    const isSame = before?.state === state && sameVips(before.vips, vips)
    if (!isSame) changes.set(servicePort.id, partOf(state, vips, node))
  }
  return { changes, conflicts: claims.conflicts }
}

function partOf(state: ServicePortState, vips: readonly Vip[], node: NodeState): LayoutPart {
  return { state, vips, elements: portElements(state, vips, node.addresses) }
}

function oversizedWarning(part: LayoutPart | undefined): string | undefined {
  if (part?.state === undefined || part.state.reachable.length <= MAX_SLOTS) return undefined
  const { servicePort, reachable } = part.state
  return `Service port ${servicePortName(servicePort)}: ${reachable.length} endpoints; only the first ${MAX_SLOTS} are used`
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

function skeletonOf(
  family: IpFamily,
  options: LayoutOptions & { readonly room: number },
  node: NodeState,
): string {
  const { marks, masqueradeAll, localhostNodePorts, nodePortAddresses } = options
  return skeletonText({
    family,
    marks,
    masqueradeAll,
    localhostNodePorts,
    affinityMaxClients: options.affinityMaxClients ?? DEFAULT_AFFINITY_CLIENTS,
    dropsInvalid: options.dropsInvalid ?? false,
    room: options.room,
    podRange: podRanges(node, options).find((range) => range.family === family),
    nodePortsAtAll: nodePortAddresses === 'all',
  })
}
