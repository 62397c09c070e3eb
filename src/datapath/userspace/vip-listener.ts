/**
 * What VIPs are served on; vip-listeners.ts decides which VIP gets one. They belong to the relays:
 * net-listener.ts, pump-listener.ts, udp-listener.ts.
 */
import type { Server } from 'node:net'
import { fileDescriptorOf, setSocketFilter } from '../../kernel/socket.js'
import type { IpFamily } from '../../lib/ip-address.js'
import { compileSourceFilter } from '../../packet/source-filter.js'
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
  socket: Server | number | undefined,
  before: PlannedVip,
  vip: PlannedVip,
): void {
  if (socket === undefined) return
  if (isForSame(before, vip)) return
  const fd = typeof socket === 'number' ? socket : fileDescriptorOf(socket)
  if (fd !== undefined) setSocketFilter(fd, filterFor(vip) ?? new Uint8Array())
}

/** Whether both take the same clients. */
export function isForSame(before: PlannedVip, vip: PlannedVip): boolean {
  return before.action === vip.action && sourcesText(before) === sourcesText(vip)
}

function sourcesText({ allowedSources }: PlannedVip): string {
  return allowedSources === 'all' ? 'all' : allowedSources.map(({ text }) => text).join()
}
