/**
 * Relays TCP connections from a VIP's listener to endpoints. Accepting never waits for a connect:
 * each connection finds its endpoint by itself (endpoint-connect.ts), meanwhile nothing is read
 * from the client, so nothing is buffered here either.
 *
 * Bound: `maxConnections`; more are reset and counted.
 */
import type { Socket } from 'node:net'
import type { NewConnection } from '../../policy/endpoint-picker.js'
import type { ServicePortCounts, Traffic } from '../../observe/traffic.js'
import { formatAddress } from '../../lib/ip-address.js'
import type {
  ConnectionLog,
  ConnectionOutcome,
  ConnectionRecord,
} from '../../observe/connection-log.js'
import { MAX_RELAYED, type RelayedClient, type RelayedConnection } from '../running-mode.js'
import type { ClientSource } from './client-source.js'
import { EndpointConnect, type Connected, type ConnectServices } from './endpoint-connect.js'
import { joinSockets, type JoinTimeouts } from './join-sockets.js'
import type { PlannedVip } from './vip-plan.js'

export interface TcpRelayOptions extends JoinTimeouts {
  readonly services: ConnectServices
  readonly clientSource: ClientSource
  readonly traffic: Traffic
  readonly maxConnections: number
  readonly log: ConnectionLog | undefined
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

export class TcpRelay {
  readonly #options: TcpRelayOptions
  /** Every client that is connected. */
  readonly #clients = new Map<Socket, Client>()
  #onIdle: (() => void) | undefined

  constructor(options: TcpRelayOptions) {
    this.#options = options
  }

  get connectionCount(): number {
    return this.#clients.size
  }

  /** VIP addresses that connections were made to and still use. O(n). */
  addressesInUse(): ReadonlySet<string> {
    return new Set([...this.#clients.values()].map(({ vipAddress }) => vipAddress))
  }

  /** Takes a connection that was just accepted (paused, half-open allowed) on the VIP. */
  accept(
    client: Socket,
    vip: Pick<PlannedVip, 'servicePortId' | 'kind' | 'address' | 'port'>,
  ): void {
    const { traffic, clientSource, maxConnections } = this.#options
    const { remoteAddress, remotePort } = client
    if (remoteAddress === undefined || remotePort === undefined) {
      client.destroy() // It was reset while it waited to be accepted.
      return
    }
    const counts = traffic.servicePort(vip.servicePortId)
    const record = this.#options.log?.begin(vip.servicePortId, () => ({
      client: formatAddress(remoteAddress, remotePort),
      vip: formatAddress(vip.address, vip.port),
    }))
    if (this.#clients.size >= maxConnections) {
      traffic.rejectedByLimit++
      counts.failedConnections++
      record?.end('limit', { endpoint: undefined, attempts: 0 })
      client.resetAndDestroy()
      return
    }
    const connection: NewConnection = {
      servicePortId: vip.servicePortId,
      kind: vip.kind,
      source: clientSource.of(remoteAddress),
      clientIp: remoteAddress,
      clientPort: remotePort,
    }
    const entry: Client = {
      vipAddress: vip.address,
      servicePortId: vip.servicePortId,
      endpointId: undefined,
      attempts: () => 0,
      record,
    }
    this.#clients.set(client, entry)
    this.#serve(client, entry, connection)
  }

  #serve(client: Socket, entry: Client, connection: NewConnection): void {
    const { services, traffic } = this.#options
    const counts = traffic.servicePort(connection.servicePortId)
    const connect = new EndpointConnect(services, connection, counts, (result) => {
      client.off('close', giveUp)
      if (result === undefined) {
        this.#refuse(client, counts)
        return
      }
      const ended = counts.opened(result.endpoint.id)
      entry.endpointId = result.endpoint.id
      this.#join(client, result, {
        ended: () => {
          ended()
          services.picker.closed(connection.servicePortId, result.endpoint)
        },
        untouched: () => {
          entry.endpointId = undefined
          client.once('close', giveUp)
          connect.again(result)
        },
      })
    })
    entry.attempts = () => connect.attempts
    const giveUp = () => {
      connect.cancel()
      this.#forget(client, 'client-gone')
    }
    client.on('error', ignore)
    client.once('close', giveUp)
    connect.start()
  }

  /** Resolves when no connection is left. */
  async idle(): Promise<void> {
    if (this.#clients.size === 0) return
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
    })
  }

  /** Resets every connection. */
  resetAll(): void {
    for (const client of this.#clients.keys()) client.resetAndDestroy()
  }

  /** Resets the connections of a Service port that one endpoint serves. O(n). */
  resetEndpoint(servicePortId: string, endpointId: string): void {
    for (const [client, entry] of this.#clients) {
      if (entry.endpointId === endpointId && entry.servicePortId === servicePortId) {
        client.resetAndDestroy()
      }
    }
  }

  /** Those of one client of a Service port, at most MAX_RELAYED. O(n). */
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
