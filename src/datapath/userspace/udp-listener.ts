/** The UDP socket of a VIP: opened and filtered here, read by the native relay. */
import type { DatagramRelay } from '../../kernel/datagram-relay.js'
import { boundPort, closeSocket, openSocket } from '../../kernel/socket.js'
import {
  isForSame,
  refilter,
  socketFor,
  type ListenAddress,
  type VipListener,
} from './vip-listener.js'
import type { PlannedVip } from './vip-plan.js'

/** Room for a burst of whole datagrams; without CAP_NET_ADMIN the kernel caps it at net.core.rmem_max. */
const BUFFER_BYTES = 4 * 1024 * 1024

/** The VIP as it is served now; undefined when not for this client. */
export type ServesUdpClient = (clientIp: string) => PlannedVip | undefined

export interface UdpListenerOptions {
  /** Throws when it cannot be started. */
  readonly relay: () => DatagramRelay
  /** By the relay's number of the listener. An open listener has its entry here. */
  readonly open: Map<number, ServesUdpClient>
  readonly serves: ServesUdpClient
  /** Whom the VIP serves has changed. */
  readonly recheck: () => void
}

/** Bound to its VIP, or, for redirect, to a node address and a port of the kernel's choice. */
export class UdpVipListener implements VipListener {
  readonly #options: UdpListenerOptions
  readonly #nodeAddress: string | undefined
  #vip: PlannedVip
  #local: ListenAddress | undefined
  #socket: { readonly fd: number; readonly listener: number } | undefined

  constructor(vip: PlannedVip, nodeAddress: string | undefined, options: UdpListenerOptions) {
    this.#vip = vip
    this.#nodeAddress = nodeAddress
    this.#options = options
  }

  get local(): ListenAddress | undefined {
    return this.#local
  }

  open(): Promise<void> {
    const { relay, open, serves } = this.#options
    const vip = this.#vip
    const address = this.#nodeAddress ?? vip.address
    const fd = openSocket({
      ...(this.#nodeAddress === undefined
        ? socketFor(vip)
        : { family: vip.ipFamily, bind: { address, port: 0 } }),
      type: 'udp',
    })
    try {
      const port = boundPort(fd)
      const listener = relay().listen(fd, BUFFER_BYTES)
      this.#socket = { fd, listener }
      open.set(listener, serves)
      this.#local = { address, port }
    } catch (error) {
      closeSocket(fd)
      throw error
    }
    return Promise.resolve()
  }

  setVip(vip: PlannedVip): void {
    const before = this.#vip
    this.#vip = vip
    // Redirected datagrams were filtered by the firewall chain.
    if (this.#nodeAddress === undefined) refilter(this.#socket?.fd, before, vip)
    if (!isForSame(before, vip)) this.#options.recheck()
  }

  close(): Promise<void> {
    const socket = this.#socket
    this.#socket = undefined
    if (socket !== undefined) {
      this.#options.open.delete(socket.listener)
      this.#options.relay().unlisten(socket.listener)
    }
    return Promise.resolve()
  }
}
