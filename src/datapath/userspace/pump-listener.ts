/** TCP listeners of the pump: opened and filtered here, accepted from there. */
import type { OpenSocketArg } from '../../kernel/addon-types.js'
import type { Pump } from '../../kernel/connection-pump.js'
import { boundPort, closeSocket, openSocket } from '../../kernel/socket.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { ServedVip } from './tcp-relay.js'
import {
  BACKLOG,
  refilter,
  socketFor,
  type ListenAddress,
  type VipListener,
} from './vip-listener.js'
import type { PlannedVip } from './vip-plan.js'

/** The VIP that a connection is to; the destination is known of redirected ones only. */
export type ServesClient = (
  clientIp: string,
  destination: ListenAddress | undefined,
) => ServedVip | undefined

export interface PumpListenerOptions {
  readonly pump: Pump
  readonly onClosed?: (listener: number) => void
  /** By the pump's number of the listener. An open listener has its entry here. */
  readonly open: Map<number, ServesClient>
  readonly serves: ServesClient
}

/** The life of one listening socket. */
class PumpListener {
  readonly #options: PumpListenerOptions
  #socket: { readonly fd: number; readonly listener: number } | undefined

  constructor(options: PumpListenerOptions) {
    this.#options = options
  }

  /** undefined: not open. */
  get fd(): number | undefined {
    return this.#socket?.fd
  }

  open(options: OpenSocketArg, redirected: boolean): number {
    const { pump, open, serves } = this.#options
    const fd = openSocket(options)
    try {
      const listener = pump.listen(fd, options.family, { backlog: BACKLOG, redirected })
      this.#socket = { fd, listener }
      open.set(listener, serves)
    } catch (error) {
      closeSocket(fd)
      throw error
    }
    return fd
  }

  close(): void {
    const socket = this.#socket
    this.#socket = undefined
    if (socket === undefined) return
    this.#options.pump.unlisten(socket.listener)
    this.#options.open.delete(socket.listener)
    this.#options.onClosed?.(socket.listener)
  }
}

/** Bound to its VIP. */
export class VipPumpListener implements VipListener {
  readonly #listener: PumpListener
  #vip: PlannedVip
  #local: ListenAddress | undefined

  constructor(vip: PlannedVip, options: PumpListenerOptions) {
    this.#vip = vip
    this.#listener = new PumpListener(options)
  }

  get local(): ListenAddress | undefined {
    return this.#local
  }

  open(): Promise<void> {
    this.#listener.open({ ...socketFor(this.#vip), type: 'tcp' }, false)
    this.#local = { address: this.#vip.address, port: this.#vip.port }
    return Promise.resolve()
  }

  setVip(vip: PlannedVip): void {
    const before = this.#vip
    this.#vip = vip
    refilter(this.#listener.fd, before, vip)
  }

  close(): Promise<void> {
    this.#listener.close()
    return Promise.resolve()
  }
}

/** The one of a family that nat REDIRECT leads to. */
export class RedirectPumpListener {
  readonly #family: IpFamily
  readonly #listener: PumpListener
  #local: ListenAddress | undefined

  constructor(family: IpFamily, options: PumpListenerOptions) {
    this.#family = family
    this.#listener = new PumpListener(options)
  }

  get local(): ListenAddress | undefined {
    return this.#local
  }

  open(): Promise<void> {
    const family = this.#family
    const address = family === 'IPv4' ? '0.0.0.0' : '::'
    const fd = this.#listener.open({ type: 'tcp', family, bind: { address, port: 0 } }, true)
    this.#local = { address, port: boundPort(fd) }
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.#listener.close()
    return Promise.resolve()
  }
}
