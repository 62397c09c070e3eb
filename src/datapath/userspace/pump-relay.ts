/**
 * Relays TCP connections by the native pump: it accepts, connects and moves the bytes; what is
 * decided here is whether a client is served, by which endpoint, and by which one next.
 */
import type { PumpCounts } from '../../observe/traffic.js'
import type { Pump, PumpEnd, PumpEvents, PumpTarget } from '../../kernel/connection-pump.js'
import { familyOf, type IpFamily } from '../../lib/ip-address.js'
import type { Endpoint } from '../../model/endpoint.js'
import { addressWords } from '../../packet/address-words.js'
import type { NewConnection } from '../../policy/endpoint-picker.js'
import { MAX_RELAYED, type RelayedClient, type RelayedConnection } from '../running-mode.js'
import { AheadPicks } from './ahead-picks.js'
import type { DialTimes } from './endpoint-connect.js'
import { PumpedConnection, type PumpedServices } from './pumped-connection.js'
import { RedirectPumpListener, VipPumpListener, type ServesClient } from './pump-listener.js'
import {
  connectionTo,
  recordOf,
  type ServedVip,
  type ServesDestination,
  type ServesVip,
  type TcpRelay,
  type TcpRelayOptions,
} from './tcp-relay.js'
import type { ListenAddress } from './vip-listener.js'
import type { PlannedVip } from './vip-plan.js'

export interface PumpRelayParts {
  /** Starts the pump. */
  readonly start: (events: PumpEvents) => Pump
  /** The address that an endpoint is to see; undefined: this node's own. */
  readonly sourceFor: (endpoint: Endpoint, connection: NewConnection) => string | undefined
  /** Whether endpoints are never to see the client's address. */
  readonly hidesClients: boolean
}

interface AcceptedClient {
  readonly client: ListenAddress
  readonly destination: ListenAddress | undefined
  readonly isPicked: boolean
}

export class PumpRelay implements TcpRelay, PumpEvents {
  readonly #options: TcpRelayOptions
  readonly #sourceFor: PumpRelayParts['sourceFor']
  readonly #pump: Pump
  readonly #listeners = new Map<number, ServesClient>()
  /** By slot. */
  readonly #connections = new Map<number, PumpedConnection>()
  /** Addresses of endpoints as the pump has them. */
  readonly #words = new WeakMap<Endpoint, Uint32Array>()
  readonly #services: PumpedServices
  readonly #ahead: AheadPicks
  readonly #picksAhead: boolean
  #idleMs = 0
  #halfClosedMs = 0
  #onIdle: (() => void) | undefined

  constructor(options: TcpRelayOptions, { start, sourceFor, hidesClients }: PumpRelayParts) {
    this.#options = options
    this.#sourceFor = sourceFor
    this.#pump = start(this)
    this.#services = {
      connect: options.services,
      dial: (slot, endpoint, connection, times) => {
        this.#dial(slot, endpoint, connection, times)
      },
      wait: (slot) => {
        this.#pump.wait(slot)
      },
      reset: (slot) => {
        this.#pump.reset(slot)
      },
    }
    // Lines of the connection log have times: their connections are told at once.
    this.#picksAhead = hidesClients && options.log === undefined
    this.#ahead = this.#newAheadPicks()
    this.#setTimeouts()
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  get pipesMissed(): number {
    return this.#pump.counters().pipesMissed
  }

  get pumpCounts(): PumpCounts {
    return this.#pump.counters()
  }

  addressesInUse(): ReadonlySet<string> {
    return new Set([...this.#connections.values()].map(({ vipAddress }) => vipAddress))
  }

  vipListener(vip: PlannedVip, serves: ServesVip): VipPumpListener {
    return new VipPumpListener(vip, {
      pump: this.#pump,
      open: this.#listeners,
      onClosed: (listener) => {
        this.#ahead.closed(listener)
      },
      serves,
    })
  }

  redirectListener(family: IpFamily, serves: ServesDestination): RedirectPumpListener {
    return new RedirectPumpListener(family, {
      pump: this.#pump,
      open: this.#listeners,
      // Without a destination it was not redirected: somebody found the port by himself.
      serves: (clientIp, destination) => destination && serves(destination, clientIp),
    })
  }

  openNow(): () => number {
    const then = [...this.#connections]
    return () => then.filter(([slot, one]) => this.#connections.get(slot) === one).length
  }

  async idle(): Promise<void> {
    if (this.#connections.size === 0) return
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
    })
  }

  resetAll(): void {
    for (const connection of this.#connections.values()) connection.reset()
  }

  resetEndpoint(servicePortId: string, endpointId: string): void {
    for (const entry of this.#connections.values()) {
      if (entry.endpointId === endpointId && entry.connection.servicePortId === servicePortId) {
        entry.reset()
      }
    }
  }

  repick(which: 'changed' | 'all'): void {
    if (which === 'all') this.#ahead.forgetAll()
    else this.#ahead.forgetChanged()
  }

  connectionsOf({ servicePortId, clientIp, clientPort }: RelayedClient): RelayedConnection[] {
    const found: RelayedConnection[] = []
    for (const { connection, endpointId } of this.#connections.values()) {
      if (connection.servicePortId !== servicePortId || connection.clientIp !== clientIp) continue
      if (clientPort !== undefined && clientPort !== connection.clientPort) continue
      found.push({ clientPort: connection.clientPort, endpoint: endpointId })
      if (found.length === MAX_RELAYED) break
    }
    return found
  }

  close(): void {
    this.#pump.close()
    for (const slot of [...this.#connections.keys()]) this.closed(slot, 'reset', 0, 0)
  }

  accepted(
    slot: number,
    listener: number,
    client: ListenAddress,
    destination: ListenAddress | undefined,
  ): void {
    this.#accepted(slot, listener, { client, destination, isPicked: false })
  }

  acceptedPicked(slot: number, listener: number, client: ListenAddress): void {
    this.#accepted(slot, listener, { client, destination: undefined, isPicked: true })
  }

  #accepted(
    slot: number,
    listener: number,
    { client, destination, isPicked }: AcceptedClient,
  ): void {
    const { traffic, clientSource, log } = this.#options
    // Undefined also when the listener was closed while the connection was on its way here.
    const vip = this.#listeners.get(listener)?.(client.address, destination)
    const picked = isPicked ? this.#ahead.take(listener, vip?.servicePortId) : undefined
    if (vip === undefined || (isPicked && picked === undefined)) {
      this.#pump.reset(slot)
      return
    }
    const counts = traffic.servicePort(vip.servicePortId)
    const record = recordOf(log, vip, client)
    if (this.#isFull(isPicked)) {
      traffic.rejectedByLimit++
      counts.failedConnections++
      record?.end('limit', { endpoint: undefined, attempts: 0 })
      this.#pump.reset(slot)
      return
    }
    this.#setTimeouts()
    const connection = connectionTo(vip, client, clientSource)
    const entry = new PumpedConnection(slot, this.#services, counts, {
      connection,
      vipAddress: vip.address,
      record,
    })
    this.#connections.set(slot, entry)
    entry.start(picked)
    if (destination === undefined) this.#pickAhead(listener, vip, connection)
  }

  batchSeen(): void {
    this.#ahead.refill()
  }

  connected(slot: number, connectMs: number): void {
    this.#connections.get(slot)?.connected(connectMs)
  }

  failed(slot: number, errnoName: string): void {
    this.#repickOf(slot)
    this.#connections.get(slot)?.failed(errnoName)
  }

  returned(slot: number): void {
    this.#repickOf(slot)
    this.#connections.get(slot)?.returned()
  }

  silent(slot: number): void {
    this.#repickOf(slot)
    this.#connections.get(slot)?.silent()
  }

  spoke(slot: number): void {
    this.#connections.get(slot)?.spoke()
  }

  mute(slot: number): void {
    this.#connections.get(slot)?.mute()
  }

  closed(slot: number, end: PumpEnd, bytesUp: number, bytesDown: number): void {
    const connection = this.#connections.get(slot)
    if (connection === undefined) return
    connection.closed(end, bytesUp, bytesDown)
    this.#connections.delete(slot)
    if (this.#connections.size === 0) this.#onIdle?.()
  }

  #dial(slot: number, endpoint: Endpoint, connection: NewConnection, times: DialTimes): void {
    const source = this.#sourceFor(endpoint, connection)
    this.#pump.connect(slot, {
      ...this.#targetOf(endpoint, times),
      source: source === undefined ? undefined : addressWords(source),
    })
  }

  #targetOf(endpoint: Endpoint, times: DialTimes): PumpTarget {
    return {
      family: familyOf(endpoint.ip),
      address: this.#wordsOf(endpoint),
      port: endpoint.port,
      source: undefined,
      ...times,
    }
  }

  #newAheadPicks(): AheadPicks {
    const { services } = this.#options
    const { picker } = services
    return new AheadPicks({
      pump: this.#pump,
      picker,
      targetOf: (servicePortId, endpoint) => {
        const { timeoutMs } = services
        const patienceMs = picker.patienceMs(servicePortId, endpoint) ?? timeoutMs
        return this.#targetOf(endpoint, { timeoutMs, patienceMs, firstByteMs: 0 })
      },
      room: () => this.#options.maxConnections - this.#connections.size - this.#ahead.size,
    })
  }

  /** Whether there is no room for one more. A picked one has had its place before. */
  #isFull(isPicked: boolean): boolean {
    const { maxConnections } = this.#options
    if (isPicked) return this.#connections.size >= maxConnections
    if (this.#connections.size + this.#ahead.size >= maxConnections) this.#ahead.forgetAll()
    return this.#connections.size + this.#ahead.size >= maxConnections
  }

  #pickAhead(listener: number, vip: ServedVip, connection: NewConnection): void {
    // Who is served has to be looked at here where the kernel's filter may not have done it.
    if (this.#picksAhead && vip.allowedSources === 'all') this.#ahead.came(listener, connection)
  }

  /** An endpoint of it failed: those that were picked ahead did not know. */
  #repickOf(slot: number): void {
    const connection = this.#connections.get(slot)?.connection
    if (connection !== undefined) this.#ahead.forgetPort(connection.servicePortId)
  }

  #wordsOf(endpoint: Endpoint): Uint32Array {
    let words = this.#words.get(endpoint)
    if (words === undefined) {
      words = addressWords(endpoint.ip)
      this.#words.set(endpoint, words)
    }
    return words
  }

  /** They may be changed while the proxy runs. */
  #setTimeouts(): void {
    const { idleMs, halfClosedMs } = this.#options
    if (idleMs === this.#idleMs && halfClosedMs === this.#halfClosedMs) return
    this.#idleMs = idleMs
    this.#halfClosedMs = halfClosedMs
    this.#pump.setTimeouts(idleMs, halfClosedMs)
  }
}
