/**
 * What relays the TCP connections to VIPs, from their listeners to the endpoints. There are two:
 * pump-relay.ts leaves accepting, connecting and the bytes to a native thread and only decides;
 * net-relay.ts does all of it with Node's own sockets.
 *
 * Accepting never waits for a connect, and nothing is read from a client before it has its endpoint.
 * Bound: `maxConnections`; more are reset and counted.
 */
import { formatAddress, type IpFamily } from '../../lib/ip-address.js'
import type { ConnectionLog, ConnectionRecord } from '../../observe/connection-log.js'
import type { PumpCounts, Traffic } from '../../observe/traffic.js'
import type { NewConnection } from '../../policy/endpoint-picker.js'
import type { RelayedClient, RelayedConnection } from '../running-mode.js'
import type { ClientSource } from './client-source.js'
import type { ConnectServices } from './endpoint-connect.js'
import type { ListenAddress, VipListener } from './vip-listener.js'
import type { PlannedVip } from './vip-plan.js'

/** Read at each connection: they may change. */
export interface TcpRelayOptions {
  readonly services: ConnectServices
  readonly clientSource: ClientSource
  readonly traffic: Traffic
  readonly maxConnections: number
  readonly log: ConnectionLog | undefined
  /** Both sides are closed when no byte came for that long ... */
  readonly idleMs: number
  /** ... or for that long once one side has ended. */
  readonly halfClosedMs: number
}

export type ServedVip = Pick<
  PlannedVip,
  'servicePortId' | 'kind' | 'address' | 'port' | 'allowedSources'
>

/** The VIP as it is served now; undefined when not for this client. */
export type ServesVip = (clientIp: string) => ServedVip | undefined
export type ServesDestination = (
  destination: ListenAddress,
  clientIp: string,
) => ServedVip | undefined

export interface TcpRelay {
  /** Clients that are connected, those without an endpoint included. */
  readonly connectionCount: number
  /** Times that bytes were copied because no pipe was left. */
  readonly pipesMissed: number
  /** Undefined: no native thread relays. */
  readonly pumpCounts: PumpCounts | undefined
  /** VIP addresses that connections were made to and still use. O(n). */
  addressesInUse(): ReadonlySet<string>
  /** A listener bound to its VIP. */
  vipListener(vip: PlannedVip, serves: ServesVip): VipListener
  /** The one listener of a family that nat REDIRECT leads to. */
  redirectListener(
    family: IpFamily,
    serves: ServesDestination,
  ): Pick<VipListener, 'local' | 'open' | 'close'>
  /** How many of the connections that are open now are still open, each time it is called. O(n). */
  openNow(): () => number
  /** Resolves when no connection is left. */
  idle(): Promise<void>
  /** Resets every connection. */
  resetAll(): void
  /** Resets the connections of a Service port that one endpoint serves. O(n). */
  resetEndpoint(servicePortId: string, endpointId: string): void
  /** Those of one client of a Service port, at most MAX_RELAYED. O(n). */
  connectionsOf(client: RelayedClient): RelayedConnection[]
  /**
   * Endpoints have changed, or with `all` what they are chosen by: connections that come from here on
   * have none that was picked before.
   */
  repick(which: 'changed' | 'all'): void
  /** Resets every connection and gives up what the relay holds. Idempotent. */
  close(): void
}

/** A client's connection to a VIP, as policy sees it. */
export function connectionTo(
  vip: ServedVip,
  client: ListenAddress,
  clientSource: ClientSource,
): NewConnection {
  return {
    servicePortId: vip.servicePortId,
    kind: vip.kind,
    source: clientSource.of(client.address),
    clientIp: client.address,
    clientPort: client.port,
  }
}

/** Its line in the connection log; undefined: it gets none. */
export function recordOf(
  log: ConnectionLog | undefined,
  vip: ServedVip,
  client: ListenAddress,
): ConnectionRecord | undefined {
  return log?.begin(vip.servicePortId, () => ({
    client: formatAddress(client.address, client.port),
    vip: formatAddress(vip.address, vip.port),
  }))
}
