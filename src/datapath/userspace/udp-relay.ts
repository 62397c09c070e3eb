/**
 * Relays UDP: one session per client address and port at a VIP. Sessions of all VIPs share one
 * table, bounded by `maxSessions`; when it is full the session that was idle longest makes room.
 *
 * Replies leave through the socket that the VIP's datagrams arrive at, so that their source is the
 * VIP on every kind of node.
 */
import type { Socket } from 'node:dgram'
import { LRUCache } from 'lru-cache'
import type { Snapshot } from '../../model/snapshot.js'
import type { Traffic } from '../../observe/traffic.js'
import { formatAddress } from '../../lib/ip-address.js'
import type { ConnectionLog } from '../../observe/connection-log.js'
import { MAX_RELAYED, type RelayedClient, type RelayedConnection } from '../running-mode.js'
import type { ClientSource } from './client-source.js'
import { UdpSession, type UdpSessionServices } from './udp-session.js'
import type { PlannedVip } from './vip-plan.js'

/** How exact the idle time-outs are. */
const SWEEP_MS = 1000

export interface UdpRelayOptions {
  readonly services: UdpSessionServices
  readonly clientSource: ClientSource
  readonly traffic: Traffic
  readonly maxSessions: number
  readonly log: ConnectionLog | undefined
}

interface Entry {
  readonly session: UdpSession
  readonly vipKey: string
}

export class UdpRelay {
  readonly #options: UdpRelayOptions
  readonly #sessions: LRUCache<string, Entry>
  readonly #sweep: NodeJS.Timeout
  #evictions = 0

  constructor(options: UdpRelayOptions) {
    this.#options = options
    this.#sessions = new LRUCache<string, Entry>({
      max: options.maxSessions,
      // After, not during: closing a session takes it out of this table.
      disposeAfter: ({ session }, _key, reason) => {
        if (reason === 'evict') this.#evictions++
        session.close()
      },
    })
    this.#sweep = setInterval(() => {
      this.#expire()
    }, SWEEP_MS)
    this.#sweep.unref()
  }

  get sessionCount(): number {
    return this.#sessions.size
  }

  /** Sessions that made room for others: a sign that maxSessions is too small. */
  get evictions(): number {
    return this.#evictions
  }

  /** A datagram from a client, at the listener socket of a VIP. */
  receive(
    listener: Socket,
    vip: PlannedVip,
    datagram: Buffer,
    client: { readonly address: string; readonly port: number },
  ): void {
    const key = `${vip.key} ${client.address} ${client.port}`
    let entry = this.#sessions.get(key)
    if (entry === undefined) {
      entry = { session: this.#newSession(listener, vip, key, client), vipKey: vip.key }
      this.#sessions.set(key, entry)
    }
    entry.session.send(datagram)
  }

  /**
   * Ends the sessions whose endpoint no longer serves (kube-proxy's conntrack cleanup, reference
   * 1.8: not "ready", and whatever the policies say), so that the client's next datagram goes to
   * one that does.
   */
  update(snapshot: Snapshot): void {
    const serving = new Map<string, ReadonlySet<string>>()
    for (const { session } of [...this.#sessions.values()]) {
      const { servicePortId } = session.connection
      let ids = serving.get(servicePortId)
      if (ids === undefined) {
        const endpoints = snapshot.servicePorts.get(servicePortId)?.endpoints ?? []
        ids = new Set(endpoints.filter(({ isServing }) => isServing).map(({ id }) => id))
        serving.set(servicePortId, ids)
      }
      if (session.endpoint !== undefined && !ids.has(session.endpoint.id)) session.close()
    }
  }

  /** Ends the sessions of a Service port that one endpoint serves: the next datagram begins anew. O(n). */
  closeEndpoint(servicePortId: string, endpointId: string): void {
    for (const { session } of [...this.#sessions.values()]) {
      const isThere = session.endpoint?.id === endpointId
      if (isThere && session.connection.servicePortId === servicePortId) session.close()
    }
  }

  /** Those of one client of a Service port, at most MAX_RELAYED. O(n). */
  sessionsOf({ servicePortId, clientIp, clientPort }: RelayedClient): RelayedConnection[] {
    const found: RelayedConnection[] = []
    for (const { session } of this.#sessions.values()) {
      const { connection, endpoint } = session
      if (connection.servicePortId !== servicePortId || connection.clientIp !== clientIp) continue
      if (clientPort !== undefined && clientPort !== connection.clientPort) continue
      found.push({ clientPort: connection.clientPort, endpoint: endpoint?.id })
      if (found.length === MAX_RELAYED) break
    }
    return found
  }

  /** Keys of the VIPs that have sessions. O(n). */
  vipsInUse(): ReadonlySet<string> {
    return new Set([...this.#sessions.values()].map(({ vipKey }) => vipKey))
  }

  /** Ends the sessions of a VIP whose socket goes away. */
  closeVip(vipKey: string): void {
    for (const entry of [...this.#sessions.values()]) {
      if (entry.vipKey === vipKey) entry.session.close()
    }
  }

  close(): void {
    clearInterval(this.#sweep)
    this.#sessions.clear()
  }

  #newSession(
    listener: Socket,
    vip: PlannedVip,
    key: string,
    client: { readonly address: string; readonly port: number },
  ): UdpSession {
    const { services, clientSource, traffic } = this.#options
    const connection = {
      servicePortId: vip.servicePortId,
      kind: vip.kind,
      source: clientSource.of(client.address),
      clientIp: client.address,
      clientPort: client.port,
    }
    const counts = traffic.servicePort(vip.servicePortId)
    const record = this.#options.log?.begin(vip.servicePortId, () => ({
      client: formatAddress(client.address, client.port),
      vip: formatAddress(vip.address, vip.port),
    }))
    const session = new UdpSession(services, connection, counts, {
      reply: (datagram) => {
        // A reply that cannot be sent is lost, as UDP allows; without a callback it would throw.
        listener.send(datagram, client.port, client.address, ignore)
      },
      ended: () => {
        const { outcome, ...end } = session.summary
        record?.end(outcome, end)
        if (this.#sessions.peek(key)?.session === session) this.#sessions.delete(key)
      },
    })
    return session
  }

  #expire(): void {
    const nowMs = this.#options.services.clock.nowMs()
    for (const { session } of [...this.#sessions.values()]) {
      if (session.isExpired(nowMs)) session.close()
    }
  }
}

function ignore(): void {
  // nothing to do
}
