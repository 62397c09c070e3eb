/** Which relay TCP connections have: the native pump, or Node's own sockets. */
import type { RelayName } from '../../config/run-config.js'
import { ConnectionPump } from '../../kernel/connection-pump.js'
import type { Clock } from '../../lib/clock.js'
import { messageOf } from '../../lib/errors.js'
import type { EndpointSockets } from './endpoint-sockets.js'
import { NetRelay } from './net-relay.js'
import { PumpRelay } from './pump-relay.js'
import type { TcpRelay, TcpRelayOptions } from './tcp-relay.js'
import { BACKLOG } from './vip-listener.js'

export interface RelayParts {
  readonly clock: Clock
  readonly sockets: EndpointSockets
  readonly maxPipes: number
  readonly warn: (message: string) => void
}

/** The largest value of --max-connections, which may be changed while the pump runs. */
const MOST_CONNECTIONS = 10_000_000

/** The relay that is asked for; Node's sockets when the pump cannot be started. */
export function createTcpRelay(
  name: RelayName,
  options: TcpRelayOptions,
  { clock, sockets, maxPipes, warn }: RelayParts,
): TcpRelay {
  const netRelay = () => new NetRelay(options, { clock, connect: sockets.connectTcp })
  if (name === 'node') return netRelay()
  const pump = {
    splice: name === 'splice',
    maxPipes,
    maxConnections: MOST_CONNECTIONS,
    maxWaiting: BACKLOG,
  }
  try {
    return new PumpRelay(options, {
      start: (events) => new ConnectionPump(pump, events),
      sourceFor: sockets.sourceFor,
      hidesClients: !sockets.keepsClientAddress,
    })
  } catch (error) {
    warn(`userspace relay: ${name} cannot be used: ${messageOf(error)}; using Node's own sockets`)
    return netRelay()
  }
}
