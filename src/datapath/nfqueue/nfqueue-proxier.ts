/**
 * The nfqueue mode: brings the kernel and the steering thread to each Snapshot.
 *
 *   Snapshot -> standby (nftables layout)       serves whatever is not steered
 *            -> slots -> map of endpoints       where a verdict leads
 *            -> steering thread                 who gets which verdict
 *            -> ipset of steered VIPs           what goes to the queue at all
 *
 * In this order, and away in the opposite one, so that no packet ever meets a verdict without an
 * endpoint or a VIP that nobody knows. A stop leaves everything in the kernel: the standby serves
 * until the next start, which adopts slots, counts and affinity (`kube-sluice cleanup` removes all).
 */
import type { Clock } from '../../lib/clock.js'
import { familyOf, type IpFamily } from '../../lib/ip-address.js'
import { SortedMap } from '../../lib/sorted-map.js'
import { together } from '../../lib/together.js'
import type { RunCommand } from '../../kernel/command.js'
import { iptablesTool, type IptablesVariant } from '../../kernel/iptables.js'
import type { LocalAddress } from '../../kernel/local-address.js'
import type { Netfilter } from '../../kernel/netfilter.js'
import { OwnedChains } from '../../kernel/owned-chains.js'
import type { Endpoint } from '../../model/endpoint.js'
import { nodePortAddressesOf } from '../../model/node-port-addresses.js'
import { podRanges } from '../../model/pod-ranges.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
import type { Vip } from '../../model/vip.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import type { RuleMetrics } from '../../observe/rule-metrics.js'
import type { RunConfig } from '../../config/run-config.js'
import { Verification } from '../userspace/capture-options.js'
import type { Datapath, SyncResult } from '../datapath.js'
import { SnapshotPart } from '../part-of-snapshot.js'
import { reconcileFlows } from '../stale-flows.js'
import { endTcpConnections } from './end-tcp.js'
import type { EndpointMap } from './endpoint-map.js'
import { type SlotElement, SlotTable } from './slot-table.js'
import type { Standby, StandbyPart } from './standby.js'
import { deleteFlowsOfSlots } from './stale-flows.js'
import { packEndpoints, type PackedPort, packVips } from './steered-port.js'
import { SteeredSet } from './steered-set.js'
import type { SteeringCounters } from './steering-counters.js'
import { steeringChains } from './steering-rules.js'
import type { SteeringThread } from './steering-thread.js'

export interface NfqueueProxierOptions {
  readonly config: RunConfig
  readonly clock: Clock
  readonly run: RunCommand
  readonly iptablesVariant: IptablesVariant
  readonly layout: MarkLayout
  readonly families: readonly IpFamily[]
  readonly netfilter: Netfilter
  readonly metrics: RuleMetrics
  readonly standby: Standby
  readonly endpointMaps: Readonly<Record<IpFamily, EndpointMap>>
  readonly thread: SteeringThread
  /** Sends a packet as it is. Does not throw. */
  readonly send: (packet: Uint8Array) => void
  readonly counters: SteeringCounters
  /** Read anew at each sync: nothing tells of address changes. */
  readonly localAddresses: () => readonly LocalAddress[]
  /** Writes net.ipv4.conf.all.route_localnet = 1. */
  readonly routeLoopback: () => void
}

/** Service ports told to the thread in one message: it serves packets between two. */
const PORTS_PER_MESSAGE = 256

interface FamilyState {
  readonly set: SteeredSet
  readonly chains: OwnedChains
  /** Slots that have gone and are still to be removed from the kernel; those of UDP also from conntrack. */
  readonly removedSlots: number[]
  readonly removedUdpSlots: number[]
  /** What the standby had at the last sync that succeeded: AppliedPorts are made of it. */
  parts: SortedMap<StandbyPart>
  /** Generation of the standby that the map of endpoints was filled in (0: by an earlier process); undefined: fill it. */
  filled: number | undefined
  /** Whether this sync has filled it: slots that have gone are not there any more. */
  isFresh: boolean
  /** Generation of the standby that steering's rules were put on top of. */
  raised: number
}

interface SteeredPort {
  readonly state: ServicePortState
  readonly vips: readonly Vip[]
}

/** A Service port as it is in force. */
interface AppliedPort extends SteeredPort {
  /** What it has in the ipset: `10.96.0.10,tcp:80`. */
  readonly entries: readonly string[]
}

/** What one sync has to do. */
interface Changes {
  readonly snapshot: Snapshot
  readonly addresses: readonly LocalAddress[]
  readonly changed: readonly SteeredPort[]
  readonly removed: readonly AppliedPort[]
  readonly isVerifying: boolean
}

export class NfqueueProxier implements Datapath {
  readonly #options: NfqueueProxierOptions
  readonly #slots: SlotTable
  readonly #verification: Verification
  readonly #families = new Map<IpFamily, FamilyState>()
  #applied = new Map<string, AppliedPort>()
  /** What the addresses of this node were, as text: when they change, every port changes. */
  #addresses = ''
  #takes: (port: ServicePort) => boolean = () => true
  readonly #part = new SnapshotPart()
  /** Whether the standby serves what is not taken. */
  #standbyServesOthers = true
  #isAdopted = false
  #isClosed = false

  constructor(options: NfqueueProxierOptions) {
    this.#options = options
    const { endpointMaps, counters, families, run, netfilter, iptablesVariant, clock } = options
    const capacity = Math.min(...families.map((family) => endpointMaps[family].capacity))
    this.#slots = new SlotTable(capacity, (slot) => (counters.open[slot] ?? 0) > 0)
    this.#verification = new Verification(clock)
    for (const family of families) {
      this.#families.set(family, {
        set: new SteeredSet(run, netfilter, family),
        chains: new OwnedChains(run, iptablesTool(family, iptablesVariant)),
        removedSlots: [],
        removedUdpSlots: [],
        parts: SortedMap.empty(),
        filled: 0,
        isFresh: false,
        raised: 0,
      })
    }
  }

  /** VIPs as the last sync brought them into force. */
  *vips(): Iterable<Vip & { readonly servicePortId: string }> {
    for (const [servicePortId, { vips }] of this.#applied) {
      for (const vip of vips) yield { ...vip, servicePortId }
    }
  }

  /** Each endpoint of a Service port that has a slot. */
  visitSlots(servicePortId: string, visit: (endpointId: string, slot: number) => void): void {
    this.#slots.visit(servicePortId, visit)
  }

  /**
   * From the next sync on only these Service ports are steered; no connection is touched.
   * @param standbyServesOthers false: rules elsewhere serve them, and are in force by then
   */
  take(takes: (port: ServicePort) => boolean, standbyServesOthers: boolean): void {
    this.#takes = takes
    this.#standbyServesOthers = standbyServesOthers
    // The whole set is compared then.
    this.#verification.reset()
  }

  async sync(snapshot: Snapshot): Promise<SyncResult> {
    if (this.#isClosed) return { warnings: [] }
    const isVerifying = this.#verification.isDue()
    try {
      // Before the standby may make its tables anew.
      if (!this.#isAdopted) await this.#readSlots()
      const warnings = await this.#prepare(snapshot, isVerifying)
      const changes = this.#changesTo(snapshot, isVerifying)
      await this.#assignSlots(changes)
      await this.#tellThread(changes)
      await together(this.#families.keys(), (family) => this.#steer(family, changes))
      await this.#forget(changes)
      this.#apply(changes)
      if (isVerifying) this.#verification.done()
      return { warnings: [...warnings, ...this.#fullWarning()] }
    } catch (error) {
      // Whatever was done is done again: all of it may be.
      this.#addresses = ''
      for (const family of this.#families.values()) family.filled = undefined
      this.#verification.reset()
      throw error
    }
  }

  reconfigure(): void {
    const { config, thread } = this.#options
    const { balancers, health } = config
    thread.tell({ type: 'defaults', balancers, ejection: health.ejection })
  }

  /** The next datagram of a UDP flow is steered anew; TCP connections are reset. Throws KernelError. */
  async endConnections(servicePortId: string, { id }: Endpoint): Promise<void> {
    const { netfilter, layout } = this.#options
    const slot = this.#slots.slotOf(servicePortId, id)
    const port = this.#applied.get(servicePortId)?.state.servicePort
    if (slot === undefined || port === undefined) return
    if (port.protocol === 'TCP') {
      await endTcpConnections(this.#options, port.ipFamily, slot)
    } else {
      const mark = slot * 2 ** layout.slotShift
      netfilter.deleteMarkedConnections(port.ipFamily, mark, layout.slotMask)
    }
  }

  /** Nothing to wait for: connections are the kernel's. */
  drain(): Promise<void> {
    return Promise.resolve()
  }

  /** Ends steering; what is in the kernel goes on without us. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#options.thread.stop()
  }

  /** The standby, and meanwhile the sets, which do not depend on it. Returns its warnings. */
  async #prepare(snapshot: Snapshot, isVerifying: boolean): Promise<readonly string[]> {
    let warnings: readonly string[] = []
    const standby = async (): Promise<void> => {
      const result = await this.#options.standby.sync(this.#inStandby(snapshot), isVerifying)
      warnings = result.warnings
    }
    const sets = isVerifying ? [...this.#families.values()].map(({ set }) => set) : []
    await together([standby, ...sets.map((set) => () => set.open())], (work) => work())
    return warnings
  }

  #inStandby(snapshot: Snapshot): Snapshot {
    return this.#standbyServesOthers ? snapshot : this.#part.of(snapshot, this.#takes)
  }

  #changesTo(snapshot: Snapshot, isVerifying: boolean): Changes {
    const { standby } = this.#options
    const addresses = this.#options.localAddresses()
    const text = JSON.stringify([addresses, snapshot.node])
    const isMoved = text !== this.#addresses
    this.#addresses = text
    const changed: SteeredPort[] = []
    const removed: AppliedPort[] = []
    for (const [family, { parts: before }] of this.#families) {
      const parts = standby.partsOf(family)
      for (const { key, after } of before.differences(parts)) {
        const applied = this.#applied.get(key)
        if (after === undefined && applied !== undefined) removed.push(applied)
        else if (!isMoved && isSteered(after)) changed.push(after)
      }
      for (const part of isMoved ? parts.values() : []) if (isSteered(part)) changed.push(part)
    }
    return { snapshot, addresses, changed, removed, isVerifying }
  }

  /** Gives endpoints their slots, and fills the maps with the new ones. */
  async #assignSlots({ changed, removed, isVerifying, snapshot }: Changes): Promise<void> {
    const { counters } = this.#options
    for (const { state } of removed) {
      const { id, ipFamily } = state.servicePort
      const slots = this.#slots.assign(id, []).removed
      // Its flows go on where rules elsewhere serve it from now on.
      if (snapshot.servicePorts.has(id)) this.#families.get(ipFamily)?.removedSlots.push(...slots)
      else this.#noteRemoved(ipFamily, id, slots)
    }
    for (const [family, familyState] of this.#families) {
      const added: SlotElement[] = []
      for (const { state } of changed) {
        const { id, ipFamily } = state.servicePort
        if (ipFamily !== family) continue
        const changes = this.#slots.assign(id, slottedEndpoints(state))
        for (const element of changes.added) {
          counters.resetSlot(element.slot)
          added.push(element)
        }
        this.#noteRemoved(family, id, changes.removed)
      }
      await this.#fillMap(family, familyState, added, isVerifying)
    }
    if (this.#isAdopted) return
    // Nobody asked for these: their endpoints went while nobody was looking.
    for (const { slot, comment, ip } of this.#slots.releaseUnclaimed()) {
      this.#noteRemoved(familyOf(ip), comment, [slot])
    }
  }

  async #fillMap(
    family: IpFamily,
    state: FamilyState,
    added: readonly SlotElement[],
    isVerifying: boolean,
  ): Promise<void> {
    const map = this.#options.endpointMaps[family]
    const generation = this.#options.standby.generation(family)
    const isLost =
      state.filled !== generation || (this.#isAdopted && isVerifying && !(await map.isIntact()))
    if (isLost) await map.fill(this.#slots.elements(family))
    else await map.add(added)
    state.isFresh = isLost
    state.filled = generation
  }

  async #readSlots(): Promise<void> {
    const { families, endpointMaps } = this.#options
    for (const family of families) this.#slots.adopt(await endpointMaps[family].read())
  }

  #noteRemoved(family: IpFamily, servicePortId: string, slots: readonly number[]): void {
    const state = this.#families.get(family)
    for (const slot of slots) {
      state?.removedSlots.push(slot)
      if (servicePortId.includes('/UDP/')) state?.removedUdpSlots.push(slot)
    }
  }

  async #tellThread(changes: Changes): Promise<void> {
    const { thread, config } = this.#options
    const { snapshot, addresses, changed, removed } = changes
    const pods = podRanges(snapshot.node, config).map(({ text }) => text)
    const node = addresses.map(({ address }) => address)
    thread.tell({ type: 'sources', pods, node, hasLocalDetector: pods.length > 0 })
    const remove = removed.map(({ state }) => state.servicePort.id)
    if (remove.length > 0) thread.tell({ type: 'ports', set: [], remove })
    for (let i = 0; i < changed.length; i += PORTS_PER_MESSAGE) {
      const part = changed.slice(i, i + PORTS_PER_MESSAGE)
      thread.tell({
        type: 'ports',
        set: part.map((port) => this.#pack(port, changes)),
        remove: [],
      })
    }
    if (!this.#isAdopted) thread.tell({ type: 'adopt' })
    this.#isAdopted = true
    await thread.settled()
  }

  #pack({ state, vips: all }: SteeredPort, changes: Changes): PackedPort {
    const { servicePort, hasAny } = state
    const endpoints = packEndpoints(state, ({ id }) => this.#slots.slotOf(servicePort.id, id))
    const vips = packVips(state, all, nodeIpsOf(changes))
    // IpRange holds bytes that need not cross: VIPs carry their ranges as text.
    return {
      servicePort: { ...servicePort, loadBalancerSourceRanges: [] },
      hasAny,
      endpoints,
      vips,
    }
  }

  /** Rules and set: from here on new connections are steered. */
  async #steer(family: IpFamily, changes: Changes): Promise<void> {
    const { layout, config, standby, routeLoopback } = this.#options
    const state = this.#families.get(family)
    if (state === undefined) return
    const { changed, removed, isVerifying } = changes
    const own = this.#nodePortAddresses(family, changes)
    const isOurs = (port: SteeredPort): boolean => port.state.servicePort.ipFamily === family
    const wanted = changed.filter(isOurs).flatMap((port) => this.#entriesOf(port, own))
    const before = [
      ...changed.map(({ state }) => this.#applied.get(state.servicePort.id)),
      ...removed,
    ]
      .filter((applied) => applied !== undefined && isOurs(applied))
      .flatMap((applied) => applied?.entries ?? [])
    const servesNodePorts = changed.some(
      (one) => isOurs(one) && one.state.servicePort.nodePort !== undefined,
    )
    if (servesNodePorts && own.includes('127.0.0.1')) routeLoopback()
    const { queueFirst: first, queueCount: count } = config.nfqueue
    const chains = steeringChains(
      {
        layout,
        queues: { first, count },
        hasNftables: standby.doesNat,
        guardsLoopback: config.localhostNodePorts && !standby.doesNat,
      },
      family,
    )
    // The set, which these rules name, has been opened.
    await state.chains.sync(chains, isVerifying)
    const generation = standby.generation(family)
    if (!standby.doesNat && state.raised !== generation) await state.chains.raise(chains)
    state.raised = generation
    if (!isVerifying) {
      state.set.change(wanted, before)
      return
    }
    const all = [...standby.partsOf(family).values()].filter(isSteered)
    state.set.sync(new Set(all.flatMap((port) => this.#entriesOf(port, own))))
  }

  #nodePortAddresses(family: IpFamily, { snapshot, addresses }: Changes): readonly string[] {
    const { config } = this.#options
    return nodePortAddressesOf(family, snapshot.node, { ...config, localAddresses: addresses })
  }

  /** Slots that nobody uses any more, and the UDP flows that still lead there. */
  async #forget({ changed, removed, snapshot }: Changes): Promise<void> {
    const { netfilter, layout, endpointMaps, clock, metrics } = this.#options
    const isUdp = ({ servicePort }: ServicePortState): boolean => servicePort.protocol === 'UDP'
    for (const [family, state] of this.#families) {
      const slots = state.removedSlots.splice(0)
      if (!state.isFresh) await endpointMaps[family].remove(slots)
      this.#slots.free(slots)
      const udpSlots = state.removedUdpSlots.splice(0)
      await deleteFlowsOfSlots(netfilter, layout, family, udpSlots)
      const isStale = [...changed, ...removed].some(
        ({ state: one }) =>
          isUdp(one) &&
          one.servicePort.ipFamily === family &&
          this.#applied.get(one.servicePort.id)?.state.endpoints !== one.endpoints,
      )
      if (!isStale && udpSlots.length === 0) continue
      await reconcileFlows({ netfilter, clock, metrics, keptFlows: undefined }, family, snapshot)
    }
  }

  #apply(changes: Changes): void {
    for (const { state } of changes.removed) this.#applied.delete(state.servicePort.id)
    const own = new Map(
      [...this.#families.keys()].map((family) => [
        family,
        this.#nodePortAddresses(family, changes),
      ]),
    )
    for (const port of changes.changed) {
      const { state, vips } = port
      const { id, ipFamily } = state.servicePort
      const entries = this.#entriesOf(port, own.get(ipFamily) ?? [])
      // A copy has no room to grow: most Service ports have one entry, and there may be 10,000.
      this.#applied.set(id, { state, vips, entries: entries.slice() })
    }
    for (const [family, state] of this.#families) {
      state.parts = this.#options.standby.partsOf(family)
    }
  }

  /**
   * What a Service port has in the set: nothing, when endpoints of it found no slot. The standby
   * spreads its connections over all of them then.
   */
  #entriesOf(port: SteeredPort, nodePortAddresses: readonly string[]): string[] {
    const { servicePort, reachable } = port.state
    if (!this.#takes(servicePort)) return []
    if (this.#slots.isComplete) return entriesOf(port, nodePortAddresses)
    const hasSlot = ({ id }: { readonly id: string }) =>
      this.#slots.slotOf(servicePort.id, id) !== undefined
    return reachable.every(hasSlot) ? entriesOf(port, nodePortAddresses) : []
  }

  #fullWarning(): string[] {
    const { capacity, size } = this.#slots
    if (size < capacity) return []
    const remedy =
      capacity < this.#options.layout.maxSlot
        ? 'iptables rules hold no more, nftables does (--nfqueue-dnat)'
        : 'widen --conntrack-mark-mask'
    return [
      `all ${capacity} slots are taken: Services with endpoints beyond are not steered, the standby serves them; ${remedy}`,
    ]
  }
}

/** Addresses of this node: what its Node object says, else what its devices have. */
function nodeIpsOf({ snapshot, addresses }: Changes): readonly string[] {
  if (snapshot.node.addresses.length > 0) return snapshot.node.addresses
  return addresses.filter(({ isLoopback }) => !isLoopback).map(({ address }) => address)
}

function isSteered(part: StandbyPart | undefined): part is SteeredPort {
  return part?.state !== undefined
}

/** What a Service port has in the set. */
function entriesOf({ state, vips }: SteeredPort, nodePortAddresses: readonly string[]): string[] {
  const protocol = state.servicePort.protocol.toLowerCase()
  return vips.flatMap(({ address, port }) => {
    const at = address === undefined ? nodePortAddresses : [address]
    return at.map((one) => `${one},${protocol}:${port}`)
  })
}

/** Those that may get connections, and those that still serve the ones they have. */
function slottedEndpoints({ endpoints, reachable }: ServicePortState) {
  if (reachable === endpoints || endpoints.every((endpoint) => endpoint.isServing)) return endpoints
  const inUse = new Set(reachable)
  return endpoints.filter((endpoint) => endpoint.isServing || inUse.has(endpoint))
}
