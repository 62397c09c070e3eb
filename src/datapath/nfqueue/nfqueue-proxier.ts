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
import type { IpFamily } from '../../lib/ip-address.js'
import type { RunCommand } from '../../kernel/command.js'
import { iptablesTool, type IptablesVariant } from '../../kernel/iptables.js'
import type { LocalAddress } from '../../kernel/local-address.js'
import type { Netfilter } from '../../kernel/netfilter.js'
import { OwnedChains } from '../../kernel/owned-chains.js'
import { nodePortAddressesOf } from '../../model/node-port-addresses.js'
import { podRanges } from '../../model/pod-ranges.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
import { allowedSources } from '../../model/allowed-sources.js'
import type { Vip } from '../../model/vip.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import type { RunConfig } from '../../config/run-config.js'
import { Verification } from '../userspace/capture-options.js'
import type { Datapath, SyncResult } from '../datapath.js'
import type { EndpointMap } from './endpoint-map.js'
import { type SlotElement, SlotTable } from './slot-table.js'
import type { Standby } from './standby.js'
import { deleteFlowsOfSlots, deleteStaleFlows } from './stale-flows.js'
import { packEndpoints, type PackedPort, type PackedVip } from './steered-port.js'
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
  readonly standby: Standby
  readonly endpointMaps: Readonly<Record<IpFamily, EndpointMap>>
  readonly thread: SteeringThread
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
}

export class NfqueueProxier implements Datapath {
  readonly #options: NfqueueProxierOptions
  readonly #slots: SlotTable
  readonly #verification: Verification
  readonly #families = new Map<IpFamily, FamilyState>()
  /** As the thread knows them. */
  #told = new Map<string, { state: ServicePortState; vips: string }>()
  #sources = ''
  /** Generation of the standby that the maps of endpoints were filled in. */
  readonly #filled = new Map<IpFamily, number>()
  /** Slots that have gone and are still to be removed from the kernel. */
  readonly #removals: ReadonlyMap<IpFamily, Removal>
  /** UDP Service ports of the last Snapshot. */
  #udpStates: ReadonlyMap<string, ServicePortState> = new Map()
  #isAdopted = false
  #isClosed = false
  #vips: readonly (Vip & { readonly servicePortId: string })[] = []

  constructor(options: NfqueueProxierOptions) {
    this.#options = options
    const { layout, counters, families, run, netfilter, iptablesVariant, clock } = options
    this.#slots = new SlotTable(layout.maxSlot, (slot) => (counters.open[slot] ?? 0) > 0)
    this.#verification = new Verification(clock)
    this.#removals = new Map(families.map((family) => [family, newRemoval()]))
    for (const family of families) {
      this.#families.set(family, {
        set: new SteeredSet(run, netfilter, family),
        chains: new OwnedChains(run, iptablesTool(family, iptablesVariant)),
      })
    }
  }

  /** VIPs as the last sync brought them into force. */
  get vips(): readonly (Vip & { readonly servicePortId: string })[] {
    return this.#vips
  }

  /** The slot of an endpoint, undefined when it has none. */
  slotOf(servicePortId: string, endpointId: string): number | undefined {
    return this.#slots.slotOf(servicePortId, endpointId)
  }

  async sync(snapshot: Snapshot): Promise<SyncResult> {
    if (this.#isClosed) return { warnings: [] }
    const { standby, families, localAddresses } = this.#options
    const isVerifying = this.#verification.isDue()
    const addresses = localAddresses()
    const { warnings } = await standby.sync(snapshot, isVerifying)
    if (!this.#isAdopted) this.#readSlots()
    await this.#assignSlots(snapshot)
    await this.#tellThread(snapshot, addresses)
    for (const family of families) await this.#steer(family, snapshot, addresses, isVerifying)
    await this.#removeSlots()
    await this.#forgetStaleFlows(snapshot)
    if (isVerifying) this.#verification.done()
    const full = this.#slots.size >= this.#slots.capacity ? [this.#fullWarning()] : []
    return { warnings: [...warnings, ...full] }
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

  #readSlots(): void {
    const { families, endpointMaps } = this.#options
    for (const family of families) this.#slots.adopt(endpointMaps[family].read())
  }

  /** Gives endpoints their slots, and fills the maps with the new ones. */
  async #assignSlots(snapshot: Snapshot): Promise<void> {
    const { families, endpointMaps, counters } = this.#options
    const removed = this.#removals
    const note = (id: string, slots: readonly number[]): void => {
      const removal = removed.get(id.endsWith('/IPv6') ? 'IPv6' : 'IPv4')
      removal?.slots.push(...slots)
      if (id.includes('/UDP/')) removal?.udpSlots.push(...slots)
    }
    for (const id of [...this.#slots.servicePortIds()]) {
      if (!snapshot.servicePorts.has(id)) note(id, this.#slots.assign(id, []).removed)
    }
    for (const family of families) {
      const added = this.#lostElements(family)
      for (const [id, state] of snapshot.servicePorts) {
        if (state.servicePort.ipFamily !== family || this.#told.get(id)?.state === state) continue
        const changes = this.#slots.assign(id, slottedEndpoints(state))
        for (const { slot } of changes.added) counters.resetSlot(slot)
        added.push(...changes.added)
        note(id, changes.removed)
      }
      await endpointMaps[family].add(added)
    }
    if (this.#isAdopted) return
    // Nobody asked for these: their endpoints went while nobody was looking.
    const unclaimed = new Set(this.#slots.releaseUnclaimed())
    for (const family of families) {
      const left = endpointMaps[family].read().filter(({ slot }) => unclaimed.has(slot))
      for (const { slot, comment } of left) {
        removed.get(family)?.slots.push(slot)
        if (comment.includes('/UDP/')) removed.get(family)?.udpSlots.push(slot)
      }
    }
  }

  /** Every slot of a family whose map was made anew since it was filled. */
  #lostElements(family: IpFamily): SlotElement[] {
    const generation = this.#options.standby.generation(family)
    if (this.#filled.get(family) === generation) return []
    this.#filled.set(family, generation)
    return this.#isAdopted ? this.#slots.elements(family) : []
  }

  async #tellThread(snapshot: Snapshot, addresses: readonly LocalAddress[]): Promise<void> {
    const { thread, config } = this.#options
    const pods = podRanges(snapshot.node, config).map(({ text }) => text)
    const node = addresses.map(({ address }) => address)
    const sources = JSON.stringify([pods, node])
    if (sources !== this.#sources) {
      thread.tell({ type: 'sources', pods, node, hasLocalDetector: pods.length > 0 })
      this.#sources = sources
    }
    const remove = [...this.#told.keys()].filter((id) => !snapshot.servicePorts.has(id))
    for (const id of remove) this.#told.delete(id)
    let set: PackedPort[] = []
    if (remove.length > 0) thread.tell({ type: 'ports', set, remove })
    for (const [id, state] of snapshot.servicePorts) {
      const vips = this.#packVips(state, snapshot, addresses)
      const text = JSON.stringify(vips)
      const before = this.#told.get(id)
      if (before?.state === state && before.vips === text) continue
      this.#told.set(id, { state, vips: text })
      set.push(this.#packPort(state, vips))
      if (set.length < PORTS_PER_MESSAGE) continue
      thread.tell({ type: 'ports', set, remove: [] })
      set = []
    }
    if (set.length > 0) thread.tell({ type: 'ports', set, remove: [] })
    if (!this.#isAdopted) thread.tell({ type: 'adopt' })
    this.#isAdopted = true
    await thread.settled()
  }

  #packPort(state: ServicePortState, vips: readonly PackedVip[]): PackedPort {
    const { servicePort, hasAny } = state
    const endpoints = packEndpoints(state, ({ id }) => this.#slots.slotOf(servicePort.id, id))
    // IpRange holds bytes that need not cross: VIPs carry their ranges as text.
    return {
      servicePort: { ...servicePort, loadBalancerSourceRanges: [] },
      hasAny,
      endpoints,
      vips,
    }
  }

  #packVips(
    state: ServicePortState,
    snapshot: Snapshot,
    addresses: readonly LocalAddress[],
  ): readonly PackedVip[] {
    const { standby } = this.#options
    const { loadBalancerSourceRanges } = state.servicePort
    const nodeIps =
      snapshot.node.addresses.length > 0
        ? snapshot.node.addresses
        : addresses.filter(({ isLoopback }) => !isLoopback).map(({ address }) => address)
    return standby.vipsOf(state.servicePort).map(({ kind, address, port }) => {
      if (kind !== 'load-balancer-ip' || loadBalancerSourceRanges.length === 0) {
        return { kind, address, port, allowedSources: undefined }
      }
      // The policy is the picker's: of what allowedSources says only the ranges matter here.
      const open = { ...state, hasAny: false }
      const ranges = allowedSources(open, kind, { localSources: [], nodeIps })
      const texts = ranges === 'all' ? undefined : ranges.map(({ text }) => text)
      return { kind, address, port, allowedSources: texts }
    })
  }

  /** Rules and set: from here on new connections are steered. */
  async #steer(
    family: IpFamily,
    snapshot: Snapshot,
    addresses: readonly LocalAddress[],
    isVerifying: boolean,
  ): Promise<void> {
    const { layout, config, standby, routeLoopback } = this.#options
    const state = this.#families.get(family)
    if (state === undefined) return
    const nodeAddresses = nodePortAddressesOf(family, snapshot.node, {
      ...config,
      localAddresses: addresses,
    })
    const entries = new Set<string>()
    let servesLoopback = false
    for (const { servicePort } of snapshot.servicePorts.values()) {
      if (servicePort.ipFamily !== family) continue
      const protocol = servicePort.protocol.toLowerCase()
      for (const { address, port } of standby.vipsOf(servicePort)) {
        if (address !== undefined) entries.add(`${address},${protocol}:${port}`)
        else for (const own of nodeAddresses) entries.add(`${own},${protocol}:${port}`)
        if (address === undefined) servesLoopback ||= nodeAddresses.includes('127.0.0.1')
      }
    }
    if (servesLoopback) routeLoopback()
    const { queueFirst: first, queueCount: count } = config.nfqueue
    const chains = steeringChains(
      {
        layout,
        queues: { first, count },
        hasNftables: standby.doesNat,
        guardsLoopback: family === 'IPv4' && config.localhostNodePorts && !standby.doesNat,
      },
      family,
    )
    // The set before the rules that name it.
    if (isVerifying) await state.set.open()
    await state.chains.sync(chains, isVerifying)
    await state.set.sync(entries, false)
    this.#vips = [...snapshot.servicePorts.values()].flatMap(({ servicePort }) =>
      standby.vipsOf(servicePort).map((vip) => ({ ...vip, servicePortId: servicePort.id })),
    )
  }

  async #removeSlots(): Promise<void> {
    for (const [family, { slots }] of this.#removals) {
      await this.#options.endpointMaps[family].remove(slots)
      slots.length = 0
    }
  }

  async #forgetStaleFlows(snapshot: Snapshot): Promise<void> {
    const { netfilter, layout, families } = this.#options
    for (const family of families) {
      const udpSlots = this.#removals.get(family)?.udpSlots ?? []
      await deleteFlowsOfSlots(netfilter, layout, family, udpSlots)
      if (this.#hasUdpChanges(snapshot, family, udpSlots)) {
        await deleteStaleFlows(netfilter, family, snapshot)
      }
      udpSlots.length = 0
    }
    this.#udpStates = new Map(
      [...snapshot.servicePorts].filter(([, { servicePort }]) => servicePort.protocol === 'UDP'),
    )
  }

  #hasUdpChanges(snapshot: Snapshot, family: IpFamily, udpSlots: readonly number[]): boolean {
    if (udpSlots.length > 0) return true
    for (const [id, state] of snapshot.servicePorts) {
      const { protocol, ipFamily } = state.servicePort
      if (protocol !== 'UDP' || ipFamily !== family) continue
      if (this.#udpStates.get(id)?.endpoints !== state.endpoints) return true
    }
    return false
  }

  #fullWarning(): string {
    const { capacity } = this.#slots
    return `all ${capacity} slots are taken: endpoints beyond get no steered connections; widen --conntrack-mark-mask`
  }
}

interface Removal {
  readonly slots: number[]
  readonly udpSlots: number[]
}

function newRemoval(): Removal {
  return { slots: [], udpSlots: [] }
}

/** Those that may get connections, and those that still serve the ones they have. */
function slottedEndpoints({ endpoints, reachable }: ServicePortState) {
  const inUse = new Set(reachable)
  return endpoints.filter((endpoint) => endpoint.isServing || inUse.has(endpoint))
}
