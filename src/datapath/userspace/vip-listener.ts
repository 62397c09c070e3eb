/** The three kinds of sockets that VIPs are served on; vip-listeners.ts decides which VIP gets one. */
import type { Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import {
  fileDescriptorOf,
  openSocket,
  originalDestination,
  setSocketFilter,
} from '../../kernel/socket.js'
import { SluiceError } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import { compileSourceFilter } from '../../packet/source-filter.js'
import {
  bindDescriptor,
  KEEP_ALIVE_AFTER_MS,
  newDatagramSocket,
  UDP_BUFFER_BYTES,
} from './endpoint-sockets.js'
import type { PlannedVip } from './vip-plan.js'

/** As many as the kernel allows by default (net.core.somaxconn). */
const BACKLOG = 4096

export interface ListenAddress {
  readonly address: string
  readonly port: number
}

export interface VipListener {
  /** Known once it is open. */
  readonly local: ListenAddress | undefined
  /** Throws KernelError or SluiceError ERR_LISTEN. */
  open(): Promise<void>
  /** The VIP's sources or action have changed. Throws KernelError. */
  setVip(vip: PlannedVip): void
  /** Takes no new connections; idempotent. */
  close(): Promise<void>
}

/** A TCP listener bound to its VIP. */
export class TcpVipListener implements VipListener {
  readonly #server: Server
  #vip: PlannedVip
  #local: ListenAddress | undefined

  constructor(vip: PlannedVip, onConnection: (client: Socket) => void) {
    this.#vip = vip
    this.#server = newServer(onConnection)
  }

  get local(): ListenAddress | undefined {
    return this.#local
  }

  async open(): Promise<void> {
    const fd = openSocket({ ...socketFor(this.#vip), type: 'tcp' })
    await listen(this.#server, fd)
    this.#local = { address: this.#vip.address, port: this.#vip.port }
  }

  setVip(vip: PlannedVip): void {
    const before = this.#vip
    this.#vip = vip
    refilter(this.#server, before, vip)
  }

  async close(): Promise<void> {
    await closeServer(this.#server)
  }
}

export type DatagramHandler = (
  socket: DatagramSocket,
  datagram: Buffer,
  client: ListenAddress,
) => void

/** A UDP socket bound to its VIP, or, for redirect, to a node address and a port of the kernel's choice. */
export class UdpVipListener implements VipListener {
  readonly #socket: DatagramSocket
  readonly #nodeAddress: string | undefined
  #vip: PlannedVip
  #local: ListenAddress | undefined
  #isClosed = false

  constructor(vip: PlannedVip, nodeAddress: string | undefined, onDatagram: DatagramHandler) {
    this.#vip = vip
    this.#nodeAddress = nodeAddress
    this.#socket = newDatagramSocket(vip.address)
    this.#socket.on('message', (datagram, client) => {
      onDatagram(this.#socket, datagram, client)
    })
    // An ICMP error for a reply to a client that has gone: nothing to be done about it.
    this.#socket.on('error', ignore)
  }

  get local(): ListenAddress | undefined {
    return this.#local
  }

  async open(): Promise<void> {
    const bind =
      this.#nodeAddress === undefined
        ? socketFor(this.#vip)
        : { family: this.#vip.ipFamily, bind: { address: this.#nodeAddress, port: 0 } }
    const fd = openSocket({ ...bind, type: 'udp' })
    const listening = once(this.#socket, 'listening')
    bindDescriptor(this.#socket, fd)
    await listening
    this.#socket.setRecvBufferSize(UDP_BUFFER_BYTES)
    this.#socket.setSendBufferSize(UDP_BUFFER_BYTES)
    const { address, port } = this.#socket.address()
    this.#local = { address, port }
  }

  setVip(vip: PlannedVip): void {
    const before = this.#vip
    this.#vip = vip
    // Redirected datagrams were filtered by the firewall chain.
    if (this.#nodeAddress === undefined) refilter(this.#socket, before, vip)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await new Promise<void>((resolve) => {
      this.#socket.close(resolve)
    })
  }
}

/** The one TCP listener of a family that nat REDIRECT leads to. */
export class RedirectTcpListener {
  readonly #family: IpFamily
  readonly #server: Server
  #local: ListenAddress | undefined

  constructor(
    family: IpFamily,
    onConnection: (client: Socket, destination: ListenAddress) => void,
  ) {
    this.#family = family
    this.#server = newServer((client) => {
      const fd = fileDescriptorOf(client)
      const destination = fd === undefined ? undefined : originalDestination(fd, family)
      // Not redirected: somebody found the port by himself.
      if (destination === undefined) client.resetAndDestroy()
      else onConnection(client, destination)
    })
  }

  get local(): ListenAddress | undefined {
    return this.#local
  }

  async open(): Promise<void> {
    const address = this.#family === 'IPv4' ? '0.0.0.0' : '::'
    const fd = openSocket({ type: 'tcp', family: this.#family, bind: { address, port: 0 } })
    await listen(this.#server, fd)
    const bound = this.#server.address()
    if (bound === null || typeof bound === 'string') {
      throw new SluiceError(
        'ERR_LISTEN',
        'redirect listener: the kernel gave it no port; try again',
      )
    }
    this.#local = { address, port: bound.port }
  }

  async close(): Promise<void> {
    await closeServer(this.#server)
  }
}

function newServer(onConnection: (client: Socket) => void): Server {
  return createServer(
    {
      allowHalfOpen: true,
      pauseOnConnect: true,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_AFTER_MS,
    },
    onConnection,
  )
}

async function listen(server: Server, fd: number): Promise<void> {
  const listening = once(server, 'listening')
  server.listen({ fd, backlog: BACKLOG })
  await listening
  // From here on: an accept that failed (out of descriptors); libuv tries again.
  server.on('error', ignore)
}

/** Stops listening at once; does not wait for the connections that it accepted. */
async function closeServer(server: Server): Promise<void> {
  if (!server.listening) return
  await new Promise<void>((resolve) => {
    // server.close() calls back only when the last connection has ended, which is not our business.
    server.close()
    setImmediate(resolve)
  })
}

function socketFor(vip: PlannedVip): {
  readonly family: IpFamily
  readonly bind: ListenAddress
  readonly freebind: boolean
  readonly filter?: Uint8Array
} {
  const filter = filterFor(vip)
  return {
    family: vip.ipFamily,
    bind: { address: vip.address, port: vip.port },
    // The capture makes the VIP a local address only when its socket is there.
    freebind: true,
    ...(filter === undefined || filter.length === 0 ? {} : { filter }),
  }
}

function filterFor(vip: PlannedVip): Uint8Array | undefined {
  return compileSourceFilter(vip.action === 'drop' ? [] : vip.allowedSources, vip.ipFamily)
}

function refilter(socket: Server | DatagramSocket, before: PlannedVip, vip: PlannedVip): void {
  const isSame = before.action === vip.action && sourcesText(before) === sourcesText(vip)
  const fd = isSame ? undefined : fileDescriptorOf(socket)
  if (fd !== undefined) setSocketFilter(fd, filterFor(vip) ?? new Uint8Array())
}

function sourcesText({ allowedSources }: PlannedVip): string {
  return allowedSources === 'all' ? 'all' : allowedSources.map(({ text }) => text).join()
}

function ignore(): void {
  // nothing to do
}
