/**
 * Opens the relay's own sockets toward endpoints. With the tproxy capture they carry the client's
 * address, wherever kube-proxy would not masquerade (reference 1.4); the port is the kernel's choice,
 * because the client's own may be in use toward the same endpoint.
 */
import { connect, type Socket } from 'node:net'
import { connectFromSocket } from '../../kernel/dial-socket.js'
import { openSocket } from '../../kernel/socket.js'
import { familyOf } from '../../lib/ip-address.js'
import type { Endpoint } from '../../model/endpoint.js'
import { needsMasquerade } from '../../model/masquerade.js'
import type { EndpointPicker, NewConnection } from '../../policy/endpoint-picker.js'
import type { ClientSource } from './client-source.js'

/** Dead peers are noticed after this and the kernel's probes, also on connections that are idle. */
export const KEEP_ALIVE_AFTER_MS = 120_000

export interface EndpointSocketsOptions {
  readonly picker: EndpointPicker
  readonly clientSource: ClientSource
  readonly keepsClientAddress: boolean
  readonly masqueradeAll: boolean
}

export class EndpointSockets {
  readonly #options: EndpointSocketsOptions

  constructor(options: EndpointSocketsOptions) {
    this.#options = options
  }

  /** Whether some endpoints see the client's address. */
  get keepsClientAddress(): boolean {
    return this.#options.keepsClientAddress
  }

  /** A TCP socket that is connecting; failure is its 'error' event. Throws KernelError. */
  readonly connectTcp = (endpoint: Endpoint, connection: NewConnection): Socket => {
    const source = this.sourceFor(endpoint, connection)
    const to = { host: endpoint.ip, port: endpoint.port, allowHalfOpen: true, noDelay: true }
    if (source === undefined) {
      return connect({ ...to, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_AFTER_MS })
    }
    const fd = openSocket({
      type: 'tcp',
      family: familyOf(source),
      bind: { address: source, port: 0 },
      transparent: true,
      bindAddressNoPort: true,
    })
    const socket = connectFromSocket(fd, to)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, KEEP_ALIVE_AFTER_MS)
    return socket
  }

  /** The client's address when the endpoint is to see it, undefined for the node's own. */
  readonly sourceFor = (endpoint: Endpoint, connection: NewConnection): string | undefined => {
    const { keepsClientAddress, picker, clientSource, masqueradeAll } = this.#options
    if (!keepsClientAddress || connection.source === 'node') return undefined
    // An endpoint in the host network answers by OUTPUT, where nothing diverts it to the relay.
    if (clientSource.isOwn(endpoint.ip)) return undefined
    const state = picker.stateOf(connection.servicePortId)
    if (state === undefined) return undefined
    const masquerades = needsMasquerade({
      servicePort: state.servicePort,
      kind: connection.kind,
      source: connection.source,
      isHairpin: connection.clientIp === endpoint.ip,
      options: { masqueradeAll, hasLocalDetector: clientSource.hasLocalDetector },
    })
    return masquerades ? undefined : connection.clientIp
  }
}
