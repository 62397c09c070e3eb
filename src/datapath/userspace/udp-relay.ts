/**
 * Relays UDP: one session per client address and port at a VIP. A native thread has the sessions and
 * moves their datagrams; it asks here where a new one goes. Sessions of all VIPs share one table,
 * bounded by `maxSessions`; when it is full the session that its client has not used for longest makes room.
 *
 * Replies leave through the socket that the VIP's datagrams arrive at, so that their source is the
 * VIP on every kind of node.
 */
import type { DatagramEnd, DatagramEvents, DatagramRelay } from '../../kernel/datagram-relay.js'
import { familyOf, formatAddress } from '../../lib/ip-address.js'
import type { Clock } from '../../lib/clock.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { ConnectionLog } from '../../observe/connection-log.js'
import type { DatagramCounts, Traffic } from '../../observe/traffic.js'
import { addressWords } from '../../packet/address-words.js'
import type { EndpointPicker, NewConnection } from '../../policy/endpoint-picker.js'
import { MAX_RELAYED, type RelayedClient, type RelayedConnection } from '../running-mode.js'
import type { ClientSource } from './client-source.js'
import { UdpSession, type UdpSessionServices } from './udp-session.js'
import { UdpVipListener, type ServesUdpClient } from './udp-listener.js'
import type { ListenAddress } from './vip-listener.js'
import type { PlannedVip } from './vip-plan.js'

/** How often a full table is told of. */
const WARN_MS = 60_000

/** Time-outs are read again and again: they may change. */
export interface UdpRelayOptions {
  readonly picker: EndpointPicker
  readonly clock: Clock
  readonly attempts: number
  /** Older datagrams are not sent to a second endpoint. */
  readonly retryWithinMs: number
  /** Idle time-outs before and after the first reply: nf_conntrack_udp_timeout, and _stream. */
  readonly timeoutMs: number
  readonly streamTimeoutMs: number
  readonly maxSessions: number
  readonly clientSource: ClientSource
  readonly traffic: Traffic
  readonly log: ConnectionLog | undefined
  readonly warn: (message: string) => void
  /** Starts the thread. */
  readonly start: (events: DatagramEvents) => DatagramRelay
  /** The address that an endpoint is to see; undefined: this node's own. */
  readonly sourceFor: (endpoint: Endpoint, connection: NewConnection) => string | undefined
}

export class UdpRelay implements DatagramEvents {
  readonly #options: UdpRelayOptions
  /** By slot. */
  readonly #sessions = new Map<number, UdpSession>()
  /** By the relay's number of the listener. */
  readonly #listeners = new Map<number, ServesUdpClient>()
  /** Addresses of endpoints as the relay has them. */
  readonly #words = new WeakMap<Endpoint, Uint32Array>()
  readonly #services: UdpSessionServices
  /** Started by the first listener. */
  #relay: DatagramRelay | undefined
  #timeouts = { idleMs: 0, streamMs: 0, retryWithinMs: 0 }
  #evictions = 0
  #warnedMs = -Infinity

  constructor(options: UdpRelayOptions) {
    this.#options = options
    const { picker, attempts } = options
    this.#services = {
      picker,
      attempts,
      connect: (slot, endpoint, connection, attempt) => {
        this.#connect(slot, endpoint, connection, attempt)
      },
      stop: (slot) => {
        this.#relay?.stop(slot)
      },
    }
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  /** Sessions that made room for others: a sign that maxSessions is too small. */
  get evictions(): number {
    return this.#evictions
  }

  /** Undefined when the thread was never needed. */
  datagrams(): DatagramCounts | undefined {
    const counters = this.#relay?.counters()
    if (counters === undefined) return undefined
    return {
      toEndpoint: counters.sentUp,
      toClient: counters.sentDown,
      dropped: {
        full: counters.droppedFull,
        error: counters.droppedError,
        'too-long': counters.droppedTooLong,
        behind: counters.droppedNoSession,
      },
    }
  }

  /** The socket of a VIP, or, for redirect, one on an address of the node. */
  vipListener(
    vip: PlannedVip,
    nodeAddress: string | undefined,
    serves: (clientIp: string) => PlannedVip | undefined,
  ): UdpVipListener {
    return new UdpVipListener(vip, nodeAddress, {
      relay: () => this.#started(),
      open: this.#listeners,
      serves,
      recheck: () => {
        this.#recheck(vip.key, serves)
      },
    })
  }

  /**
   * Ends the sessions whose endpoint no longer serves (kube-proxy's conntrack cleanup, reference
   * 1.8: not "ready", and whatever the policies say), so that the client's next datagram goes to
   * one that does.
   */
  update(snapshot: Snapshot): void {
    const serving = new Map<string, ReadonlySet<string>>()
    for (const session of this.#sessions.values()) {
      const { endpoint } = session
      if (endpoint === undefined) continue
      const { servicePortId } = session.connection
      let ids = serving.get(servicePortId)
      if (ids === undefined) {
        const endpoints = snapshot.servicePorts.get(servicePortId)?.endpoints ?? []
        ids = new Set(endpoints.filter(({ isServing }) => isServing).map(({ id }) => id))
        serving.set(servicePortId, ids)
      }
      if (!ids.has(endpoint.id)) session.stop()
    }
  }

  /** Time-outs may have changed. */
  reconfigure(): void {
    const { timeoutMs, streamTimeoutMs, retryWithinMs } = this.#options
    const before = this.#timeouts
    if (
      timeoutMs === before.idleMs &&
      streamTimeoutMs === before.streamMs &&
      retryWithinMs === before.retryWithinMs
    ) {
      return
    }
    this.#timeouts = { idleMs: timeoutMs, streamMs: streamTimeoutMs, retryWithinMs }
    this.#relay?.setTimeouts(this.#timeouts)
  }

  /** Ends the sessions of a Service port that one endpoint serves: the next datagram begins anew. O(n). */
  closeEndpoint(servicePortId: string, endpointId: string): void {
    for (const session of this.#sessions.values()) {
      const isThere = session.endpoint?.id === endpointId
      if (isThere && session.connection.servicePortId === servicePortId) session.stop()
    }
  }

  /** Those of one client of a Service port, at most MAX_RELAYED. O(n). */
  sessionsOf({ servicePortId, clientIp, clientPort }: RelayedClient): RelayedConnection[] {
    const found: RelayedConnection[] = []
    for (const { connection, endpoint, isOver } of this.#sessions.values()) {
      if (connection.servicePortId !== servicePortId || connection.clientIp !== clientIp) continue
      if (isOver || (clientPort !== undefined && clientPort !== connection.clientPort)) continue
      found.push({ clientPort: connection.clientPort, endpoint: endpoint?.id })
      if (found.length === MAX_RELAYED) break
    }
    return found
  }

  /** Keys of the VIPs that have sessions. O(n). */
  vipsInUse(): ReadonlySet<string> {
    const keys = new Set<string>()
    for (const { vipKey, isOver } of this.#sessions.values()) if (!isOver) keys.add(vipKey)
    return keys
  }

  /** Ends the sessions of a VIP whose socket goes away. */
  closeVip(vipKey: string): void {
    for (const session of this.#sessions.values()) if (session.vipKey === vipKey) session.stop()
  }

  close(): void {
    this.#relay?.close()
    const end = { reason: 'ended', errnoName: undefined, hasReply: false } as const
    for (const slot of [...this.#sessions.keys()]) {
      this.closed(slot, { ...end, bytesToEndpoint: 0, bytesToClient: 0 })
    }
  }

  created(slot: number, listener: number, client: ListenAddress): void {
    // Undefined also when the listener was closed while the session was on its way here.
    const vip = this.#listeners.get(listener)?.(client.address)
    if (vip === undefined) {
      this.#relay?.stop(slot)
      return
    }
    const { clientSource, traffic, log } = this.#options
    this.reconfigure()
    const connection = {
      servicePortId: vip.servicePortId,
      kind: vip.kind,
      source: clientSource.of(client.address),
      clientIp: client.address,
      clientPort: client.port,
    }
    const record = log?.begin(vip.servicePortId, () => ({
      client: formatAddress(client.address, client.port),
      vip: formatAddress(vip.address, vip.port),
    }))
    const session = new UdpSession(slot, this.#services, traffic.servicePort(vip.servicePortId), {
      connection,
      vipKey: vip.key,
      record,
    })
    this.#sessions.set(slot, session)
    session.start()
  }

  connected(slot: number, attempt: number): void {
    this.#sessions.get(slot)?.connected(attempt)
  }

  answered(slot: number, attempt: number, latencyMs: number | undefined): void {
    this.#sessions.get(slot)?.answered(attempt, latencyMs)
  }

  refused(slot: number, attempt: number, isOver: boolean): void {
    this.#sessions.get(slot)?.refused(attempt, isOver)
  }

  silent(slot: number, attempt: number): void {
    this.#sessions.get(slot)?.silent(attempt)
  }

  closed(slot: number, end: DatagramEnd): void {
    if (end.reason === 'evicted') this.#evicted()
    const session = this.#sessions.get(slot)
    this.#sessions.delete(slot)
    session?.closed(end)
  }

  #started(): DatagramRelay {
    if (this.#relay === undefined) {
      this.#relay = this.#options.start(this)
      this.#timeouts = { idleMs: 0, streamMs: 0, retryWithinMs: 0 }
      this.reconfigure()
    }
    return this.#relay
  }

  #connect(slot: number, endpoint: Endpoint, connection: NewConnection, attempt: number): void {
    const source = this.#options.sourceFor(endpoint, connection)
    let address = this.#words.get(endpoint)
    if (address === undefined) {
      address = addressWords(endpoint.ip)
      this.#words.set(endpoint, address)
    }
    this.#relay?.connect(slot, {
      family: familyOf(endpoint.ip),
      address,
      port: endpoint.port,
      source: source === undefined ? undefined : addressWords(source),
      attempt,
    })
  }

  /** Sessions of clients that the VIP does not serve any more end. */
  #recheck(vipKey: string, serves: ServesUdpClient): void {
    for (const session of this.#sessions.values()) {
      if (session.vipKey === vipKey && serves(session.connection.clientIp) === undefined) {
        session.stop()
      }
    }
  }

  #evicted(): void {
    this.#evictions++
    const { clock, maxSessions, warn } = this.#options
    const nowMs = clock.nowMs()
    if (nowMs - this.#warnedMs < WARN_MS) return
    this.#warnedMs = nowMs
    warn(
      `UDP: all ${maxSessions} sessions are in use (--udp-max-sessions): each new client ends the session ` +
        `that was idle longest, ${this.#evictions} so far; raise the limit, or lower --udp-timeout`,
    )
  }
}
