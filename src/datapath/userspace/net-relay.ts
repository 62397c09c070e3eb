/** Relays TCP connections with Node's own sockets, for where there is no native addon. */
import type { Socket } from 'node:net'
import type { Clock } from '../../lib/clock.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { ServicePortCounts } from '../../observe/traffic.js'
import type { NewConnection } from '../../policy/endpoint-picker.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { ConnectionOutcome, ConnectionRecord } from '../../observe/connection-log.js'
import { MAX_RELAYED, type RelayedClient, type RelayedConnection } from '../running-mode.js'
import { EndpointConnect } from './endpoint-connect.js'
import { joinSockets } from './join-sockets.js'
import { NetDialer, type Connected } from './net-dialer.js'
import { RedirectNetListener, VipNetListener } from './net-listener.js'
import {
  connectionTo,
  recordOf,
  type ServedVip,
  type ServesDestination,
  type ServesVip,
  type TcpRelay,
  type TcpRelayOptions,
} from './tcp-relay.js'
import type { PlannedVip } from './vip-plan.js'

export interface NetRelayParts {
  readonly clock: Clock
  /** Starts a connect; the socket reports by its events. May throw. */
  readonly connect: (endpoint: Endpoint, connection: NewConnection) => Socket
}

interface Client {
  readonly vipAddress: string
  readonly servicePortId: string
  /** undefined while one is being looked for. */
  endpointId: string | undefined
  /** Endpoints tried so far. */
  attempts: () => number
  readonly record: ConnectionRecord | undefined
}

interface JoinOutcome {
  readonly ended: () => void
  readonly untouched: () => void
}

export class NetRelay implements TcpRelay {
  readonly #options: TcpRelayOptions
  readonly #parts: NetRelayParts
  /** Every client that is connected. */
  readonly #clients = new Map<Socket, Client>()
  #onIdle: (() => void) | undefined

  constructor(options: TcpRelayOptions, parts: NetRelayParts) {
    this.#options = options
    this.#parts = parts
  }

  readonly pumpCounts = undefined
  readonly pipesMissed = 0

  get connectionCount(): number {
    return this.#clients.size
  }

  addressesInUse(): ReadonlySet<string> {
    return new Set([...this.#clients.values()].map(({ vipAddress }) => vipAddress))
  }

  vipListener(vip: PlannedVip, serves: ServesVip): VipNetListener {
    return new VipNetListener(vip, (client) => {
      this.#accept(client, serves(client.remoteAddress ?? ''))
    })
  }

  redirectListener(family: IpFamily, serves: ServesDestination): RedirectNetListener {
    return new RedirectNetListener(family, (client, destination) => {
      this.#accept(client, serves(destination, client.remoteAddress ?? ''))
    })
  }

  /** Takes a connection that was just accepted (paused, half-open allowed) on the VIP. */
  #accept(client: Socket, vip: ServedVip | undefined): void {
    const { traffic, clientSource, maxConnections, log } = this.#options
    const { remoteAddress, remotePort } = client
    if (remoteAddress === undefined || remotePort === undefined) {
      client.destroy() // It was reset while it waited to be accepted.
      return
    }
    if (vip === undefined) {
      client.resetAndDestroy()
      return
    }
    const counts = traffic.servicePort(vip.servicePortId)
    const peer = { address: remoteAddress, port: remotePort }
    const record = recordOf(log, vip, peer)
    if (this.#clients.size >= maxConnections) {
      traffic.rejectedByLimit++
      counts.failedConnections++
      record?.end('limit', { endpoint: undefined, attempts: 0 })
      client.resetAndDestroy()
      return
    }
    const entry: Client = {
      vipAddress: vip.address,
      servicePortId: vip.servicePortId,
      endpointId: undefined,
      attempts: () => 0,
      record,
    }
    this.#clients.set(client, entry)
    this.#serve(client, entry, connectionTo(vip, peer, clientSource))
  }

  #serve(client: Socket, entry: Client, connection: NewConnection): void {
    const { services, traffic } = this.#options
    const { clock, connect } = this.#parts
    const counts = traffic.servicePort(connection.servicePortId)
    const dialer = new NetDialer({
      clock,
      connect: (endpoint) => connect(endpoint, connection),
      done: (result) => {
        client.off('close', giveUp)
        if (result === undefined) {
          this.#refuse(client, counts)
          return
        }
        const { endpoint } = result
        const ended = counts.opened(endpoint.id)
        entry.endpointId = endpoint.id
        this.#join(client, result, {
          ended: () => {
            ended()
            services.picker.closed(connection.servicePortId, endpoint)
          },
          untouched: () => {
            entry.endpointId = undefined
            client.once('close', giveUp)
            endpointConnect.again(endpoint)
          },
        })
      },
    })
    const endpointConnect = new EndpointConnect(services, connection, counts, dialer)
    entry.attempts = () => endpointConnect.attempts
    const giveUp = () => {
      endpointConnect.cancel()
      this.#forget(client, 'client-gone')
    }
    client.on('error', ignore)
    client.once('close', giveUp)
    endpointConnect.start()
  }

  repick(): void {
    // Each is picked when it comes.
  }

  openNow(): () => number {
    const then = [...this.#clients.keys()]
    return () => then.filter((client) => this.#clients.has(client)).length
  }

  async idle(): Promise<void> {
    if (this.#clients.size === 0) return
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
    })
  }

  resetAll(): void {
    for (const client of this.#clients.keys()) client.resetAndDestroy()
  }

  resetEndpoint(servicePortId: string, endpointId: string): void {
    for (const [client, entry] of this.#clients) {
      if (entry.endpointId === endpointId && entry.servicePortId === servicePortId) {
        client.resetAndDestroy()
      }
    }
  }

  connectionsOf({ servicePortId, clientIp, clientPort }: RelayedClient): RelayedConnection[] {
    const found: RelayedConnection[] = []
    for (const [{ remoteAddress, remotePort = 0 }, entry] of this.#clients) {
      if (entry.servicePortId !== servicePortId || remoteAddress !== clientIp) continue
      if (clientPort !== undefined && clientPort !== remotePort) continue
      found.push({ clientPort: remotePort, endpoint: entry.endpointId })
      if (found.length === MAX_RELAYED) break
    }
    return found
  }

  close(): void {
    this.resetAll()
  }

  #refuse(client: Socket, counts: ServicePortCounts): void {
    counts.failedConnections++
    client.once('close', () => {
      this.#forget(client, 'no-endpoint')
    })
    client.resetAndDestroy()
  }

  #join(client: Socket, { socket }: Connected, on: JoinOutcome): void {
    joinSockets(client, socket, this.#options, {
      closed: (end) => {
        on.ended()
        this.#forget(client, end)
      },
      untouched: () => {
        on.ended()
        on.untouched()
      },
    })
  }

  #forget(client: Socket, outcome: ConnectionOutcome): void {
    const entry = this.#clients.get(client)
    entry?.record?.end(outcome, {
      endpoint: entry.endpointId,
      attempts: entry.attempts(),
      bytesToEndpoint: client.bytesRead,
      bytesToClient: client.bytesWritten,
    })
    this.#clients.delete(client)
    if (this.#clients.size === 0) this.#onIdle?.()
  }
}

/** A socket's error is followed by its 'close', which is what is acted on. */
function ignore(): void {
  // nothing to do
}
