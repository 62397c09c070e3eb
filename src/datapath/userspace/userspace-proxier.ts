/**
 * The userspace mode: plans the VIPs of each Snapshot, opens their sockets, has the capture bring
 * their traffic there, and relays it.
 *
 *   Snapshot -> vip-plan -> vip-listeners -> capture          (control: once per sync)
 *   client -> vip-listener -> tcp-relay | udp-relay -> endpoint-connect -> endpoint
 */
import type { RunConfig, UserspaceConfig } from '../../config/run-config.js'
import { NativeDatagramRelay } from '../../kernel/datagram-relay.js'
import type { Clock } from '../../lib/clock.js'
import type { Endpoint } from '../../model/endpoint.js'
import { messageOf } from '../../lib/errors.js'
import { formatAddress } from '../../lib/ip-address.js'
import { podRanges } from '../../model/pod-ranges.js'
import type { ServicePort } from '../../model/service-port.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { BalancerPlugin, PluginGuard } from '../../policy/balancer/plugin.js'
import type { EndpointPicker } from '../../policy/endpoint-picker.js'
import { RetryBudget } from '../../policy/retry-budget.js'
import type { ConnectionLog } from '../../observe/connection-log.js'
import type { DatagramCounts, PumpCounts, Traffic } from '../../observe/traffic.js'
import type { Datapath, SyncResult } from '../datapath.js'
import type { RelayedClient, RelayedConnection } from '../running-mode.js'
import type { Capture, CapturedVip, CapturePlan } from './capture.js'
import { ClientSource } from './client-source.js'
import { EndpointSockets } from './endpoint-sockets.js'
import type { StopHold } from './stop-hold.js'
import type { TcpRelay, TcpRelayOptions } from './tcp-relay.js'
import { createTcpRelay } from './tcp-relay-selection.js'
import { UdpRelay, type UdpRelayOptions } from './udp-relay.js'
import { VipListeners } from './vip-listeners.js'
import { planVips, type PlannedVip, type VipPlan } from './vip-plan.js'
import type { LocalAddress } from '../../model/node-port-addresses.js'

export interface UserspaceProxierOptions {
  readonly config: RunConfig
  readonly clock: Clock
  readonly capture: Capture
  readonly picker: EndpointPicker
  /** Of the user's own balancer, if there is one. */
  readonly plugin?: PluginGuard | undefined
  readonly traffic: Traffic
  readonly log: ConnectionLog | undefined
  /** Read anew at each sync: nothing tells of address changes. */
  readonly localAddresses: () => readonly LocalAddress[]
  /** Holds new connections for the next process; begun when this one ends for another. */
  readonly hold: Pick<StopHold, 'begin' | 'widen'>
  readonly endsForAnother: () => boolean
  readonly warn: (message: string) => void
}

/**
 * How long a VIP that rules serve from now on is still listened on: the handshakes that were under
 * way come to their end, and their connections are accepted.
 */
const HAND_OVER_MS = 1000
/** Of the drain time-out: after it new connections are not taken any more, so that those that are here can end. */
const TAKING_SHARE = 0.6
const LOOK_MS = 100

export class UserspaceProxier implements Datapath {
  readonly #options: UserspaceProxierOptions
  readonly #clientSource = new ClientSource()
  readonly #budget: RetryBudget
  readonly #tcpRelay: TcpRelay
  readonly #udpRelay: UdpRelay
  readonly #listeners: VipListeners
  #plan: VipPlan = { vips: new Map(), warnings: [] }
  #takes: (port: ServicePort) => boolean = () => true
  /** VIPs of the plan that are taken, as of the last sync. */
  #taken: ReadonlyMap<string, PlannedVip> = new Map()
  #isDraining = false

  constructor(options: UserspaceProxierOptions) {
    this.#options = options
    const { clock, capture, picker, traffic, log } = options
    const { userspace, masqueradeAll } = options.config // Read by getters: a reload changes it.
    this.#budget = retryBudget(userspace)
    const { keepsClientAddress } = capture
    const clientSource = this.#clientSource
    const sockets = new EndpointSockets({ picker, clientSource, keepsClientAddress, masqueradeAll })
    const { relay, maxPipes } = userspace
    const tcp: TcpRelayOptions = {
      clientSource,
      traffic,
      log,
      get maxConnections() {
        return userspace.maxConnections
      },
      get idleMs() {
        return userspace.tcpIdleTimeoutMs
      },
      get halfClosedMs() {
        return userspace.tcpHalfCloseTimeoutMs
      },
      services: {
        picker,
        budget: this.#budget,
        attempts: userspace.connectAttempts,
        get timeoutMs() {
          return userspace.connectTimeoutMs
        },
        openConnections: () => this.#tcpRelay.connectionCount,
      },
    }
    this.#tcpRelay = createTcpRelay(relay, tcp, { clock, sockets, maxPipes, warn: options.warn })
    this.#udpRelay = new UdpRelay(udpOptions(options, clientSource, sockets))
    this.#listeners = new VipListeners({
      bindsToVip: capture.bindsToVip,
      tcpRelay: this.#tcpRelay,
      udpRelay: this.#udpRelay,
    })
  }

  /** VIPs as the last sync brought them into force, by key. */
  get vips(): ReadonlyMap<string, PlannedVip> {
    return this.#plan.vips
  }

  get tcpConnections(): number {
    return this.#tcpRelay.connectionCount
  }

  get pumpCounts(): PumpCounts | undefined {
    return this.#tcpRelay.pumpCounts
  }

  get udpSessions(): number {
    return this.#udpRelay.sessionCount
  }

  /** undefined while there was no UDP Service. */
  get datagrams(): DatagramCounts | undefined {
    return this.#udpRelay.datagrams()
  }

  /** Connections of a client, for people. O(n). */
  relayed(client: RelayedClient): readonly RelayedConnection[] {
    return client.protocol === 'UDP'
      ? this.#udpRelay.sessionsOf(client)
      : this.#tcpRelay.connectionsOf(client)
  }

  /** Option that bounds something -> how often it did. */
  get boundsHit(): Readonly<Record<string, number>> {
    return {
      'max-connections': this.#options.traffic.rejectedByLimit,
      'retry-budget': this.#budget.refused,
      'userspace-max-pipes': this.#tcpRelay.pipesMissed,
      'udp-max-sessions': this.#udpRelay.evictions,
      'log-connections-rate': this.#options.log?.dropped ?? 0,
    }
  }

  /** Destinations of UDP sessions, `10.96.0.10:53`. */
  sessionDestinations(): ReadonlySet<string> {
    const vips = [...this.#udpRelay.vipsInUse()].flatMap((key) => this.#plan.vips.get(key) ?? [])
    return new Set(vips.map(({ address, port }) => formatAddress(address, port)))
  }

  /**
   * From the next sync on only these Service ports are captured: rules serve the others, and are in
   * force by then. Connections and sessions that are here go on.
   */
  take(takes: (port: ServicePort) => boolean): void {
    this.#takes = takes
  }

  async sync(snapshot: Snapshot): Promise<SyncResult> {
    if (this.#isDraining) return { warnings: [] }
    const { config, capture, picker, traffic } = this.#options
    const localAddresses = this.#options.localAddresses()
    const plan = planVips(snapshot, { ...config, localAddresses })
    // Endpoints first: the moment a listener opens, it knows where to send.
    picker.update(snapshot)
    this.#tcpRelay.repick('changed')
    const own = new Set(localAddresses.map(({ address }) => address))
    for (const vip of plan.vips.values()) own.add(vip.address)
    this.#clientSource.update(own, podRanges(snapshot.node, config))
    this.#udpRelay.update(snapshot)

    const { taken, released } = this.#split(plan, snapshot)
    const leaving = [...released.keys()].filter((key) => this.#taken.has(key))
    if (leaving.length > 0) {
      const addresses = leaving.map((key) => released.get(key)?.address ?? '')
      await capture.sync(this.#capturePlan(taken, localAddresses, addresses))
      await this.#pause(HAND_OVER_MS)
    }
    const warnings = await this.#listeners.open({ vips: taken }, localAddresses, released)
    await capture.sync(this.#capturePlan(taken, localAddresses))
    await this.#listeners.closeRemoved()
    this.#plan = plan
    this.#taken = taken
    traffic.prune(snapshot)
    return { warnings: [...plan.warnings, ...warnings] }
  }

  reconfigure(): void {
    this.#options.picker.reconfigure()
    this.#udpRelay.reconfigure()
    this.#tcpRelay.repick('all')
  }

  replacePlugin(plugin: BalancerPlugin): void {
    this.#options.plugin?.replace(plugin)
    this.#options.picker.renewPlugin()
  }

  endConnections(servicePortId: string, { id }: Endpoint): Promise<void> {
    this.#tcpRelay.resetEndpoint(servicePortId, id)
    this.#udpRelay.closeEndpoint(servicePortId, id)
    return Promise.resolve()
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#isDraining = true
    await this.#outlast(signal)
    await this.#takeNoMore()
    if (signal.aborted) return
    let stop: (() => void) | undefined
    const aborted = new Promise<void>((resolve) => {
      stop = resolve
      signal.addEventListener('abort', stop, { once: true })
    })
    await Promise.race([this.#tcpRelay.idle(), aborted])
    if (stop !== undefined) signal.removeEventListener('abort', stop)
  }

  /** Until what is open now has ended new connections are taken: their clients have nobody else yet. */
  async #outlast(signal: AbortSignal): Promise<void> {
    const { clock, config } = this.#options
    const endMs = clock.nowMs() + config.drainTimeoutMs * TAKING_SHARE
    const stillOpen = this.#tcpRelay.openNow()
    while (stillOpen() > 0 && clock.nowMs() < endMs && !signal.aborted) await this.#pause(LOOK_MS)
  }

  /** Clients are not refused but get no answer: they try again, when the next process serves. */
  async #takeNoMore(): Promise<void> {
    const { capture, warn } = this.#options
    if (await this.#holds()) {
      // Handshakes that were under way come to their end, also those of far clients.
      await this.#pause(HAND_OVER_MS)
      return
    }
    try {
      if (capture.bindsToVip) this.#listeners.mute()
      else await capture.sync({ vips: [], drainingAddresses: [] })
    } catch (error) {
      warn(`new connections are refused while this ends: ${messageOf(error)}`)
    }
    await this.#pause(LOOK_MS)
  }

  async #holds(): Promise<boolean> {
    const { hold, endsForAnother, warn } = this.#options
    if (!endsForAnother()) return false
    try {
      return await hold.begin(this.#taken.values())
    } catch (error) {
      warn(`new connections to node ports are refused until the next process: ${messageOf(error)}`)
      return false
    }
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#options.clock.after(ms, resolve)
    })
  }

  async close(): Promise<void> {
    this.#isDraining = true
    this.#tcpRelay.resetAll()
    // What fails here costs datagrams between two processes an answer that they should not get.
    await this.#options.hold.widen().catch(() => undefined)
    try {
      // Before the sockets: a VIP that is still an address of this node refuses without one.
      await this.#options.capture.close()
    } finally {
      await this.#listeners.close()
      this.#tcpRelay.close()
      this.#udpRelay.close()
    }
  }

  #addressOf(vipKey: string): string {
    return this.#plan.vips.get(vipKey)?.address ?? ''
  }

  #split({ vips }: VipPlan, { servicePorts }: Snapshot) {
    const taken = new Map<string, PlannedVip>()
    const released = new Map<string, PlannedVip>()
    for (const [key, vip] of vips) {
      const port = servicePorts.get(vip.servicePortId)?.servicePort
      const isTaken = port === undefined || this.#takes(port)
      ;(isTaken ? taken : released).set(key, vip)
    }
    return { taken, released }
  }

  /** @param leaving addresses that connections may still be on their way to */
  #capturePlan(
    vips: ReadonlyMap<string, PlannedVip>,
    localAddresses: readonly LocalAddress[],
    leaving: readonly string[] = [],
  ): CapturePlan {
    const planned = new Set<string>()
    const captured: CapturedVip[] = []
    for (const vip of vips.values()) {
      planned.add(vip.address)
      const listen = vip.action === 'balance' ? this.#listeners.listenOf(vip) : undefined
      // Its socket could not be opened: nothing to capture, the warning says why.
      if (vip.action === 'balance' && listen === undefined) continue
      const { ipFamily, protocol, address, port, action, isNodeAddress, allowedSources } = vip
      captured.push({
        ipFamily,
        protocol,
        address,
        port,
        action,
        isNodeAddress,
        allowedSources,
        listen,
      })
    }
    const own = new Set(localAddresses.map(({ address }) => address))
    const sessions = [...this.#udpRelay.vipsInUse()].map((key) => this.#addressOf(key))
    const inUse = new Set([...this.#tcpRelay.addressesInUse(), ...sessions, ...leaving])
    const drainingAddresses = [...inUse].filter(
      (address) => address !== '' && !planned.has(address) && !own.has(address),
    )
    return { vips: captured, drainingAddresses }
  }
}

function udpOptions(
  { config: { userspace }, picker, clock, traffic, log, warn }: UserspaceProxierOptions,
  clientSource: ClientSource,
  { sourceFor }: EndpointSockets,
): UdpRelayOptions {
  const maxSessions = userspace.udpMaxSessions
  return {
    picker,
    clock,
    clientSource,
    traffic,
    log,
    warn,
    maxSessions,
    sourceFor,
    attempts: userspace.connectAttempts,
    get retryWithinMs() {
      return userspace.connectTimeoutMs
    },
    get timeoutMs() {
      return userspace.udpTimeoutMs
    },
    get streamTimeoutMs() {
      return userspace.udpStreamTimeoutMs
    },
    start: (events) => new NativeDatagramRelay(maxSessions, events),
  }
}

function retryBudget(userspace: UserspaceConfig): RetryBudget {
  return new RetryBudget({
    get percent() {
      return userspace.retryBudgetPercent
    },
    get minConcurrency() {
      return userspace.retryMinConcurrency
    },
  })
}
