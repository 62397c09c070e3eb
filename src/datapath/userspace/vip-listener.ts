/**
 * What VIPs are served on; vip-listeners.ts decides which VIP gets one. Those of TCP belong to the
 * relay (net-listener.ts, pump-listener.ts), the one of UDP is here.
 */
import type { Socket as DatagramSocket } from 'node:dgram'
import { once } from 'node:events'
import type { Server } from 'node:net'
import { fileDescriptorOf, openSocket, setSocketFilter } from '../../kernel/socket.js'
import type { IpFamily } from '../../lib/ip-address.js'
import { compileSourceFilter } from '../../packet/source-filter.js'
import { bindDescriptor, newDatagramSocket, UDP_BUFFER_BYTES } from './endpoint-sockets.js'
import type { PlannedVip } from './vip-plan.js'

/** As many as the kernel allows by default (net.core.somaxconn). */
export const BACKLOG = 4096

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

/** How to open the socket of a VIP. */
export function socketFor(vip: PlannedVip): {
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

/** Brings the filter of a socket up to date; undefined: it is closed. */
export function refilter(
  socket: Server | DatagramSocket | number | undefined,
  before: PlannedVip,
  vip: PlannedVip,
): void {
  if (socket === undefined) return
  if (before.action === vip.action && sourcesText(before) === sourcesText(vip)) return
  const fd = typeof socket === 'number' ? socket : fileDescriptorOf(socket)
  if (fd !== undefined) setSocketFilter(fd, filterFor(vip) ?? new Uint8Array())
}

function sourcesText({ allowedSources }: PlannedVip): string {
  return allowedSources === 'all' ? 'all' : allowedSources.map(({ text }) => text).join()
}

function ignore(): void {
  // nothing to do
}
