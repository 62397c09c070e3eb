/**
 * Sockets with options that Node does not have, as plain descriptors. What the addon throws becomes
 * a KernelError here, so that the rest of the program sees one kind of error.
 *
 * A descriptor that openSocket returned belongs to the caller until Node takes it
 * (`server.listen({ fd })`, connectFromSocket); Node closes it from then on,
 * and closeSocket must not be called any more.
 */
import type { Server, Socket } from 'node:net'

import { KernelError } from '../lib/errors.js'
import type { IpFamily } from '../lib/ip-address.js'
import { loadAddon } from './addon.js'
import { kernelCall } from './kernel-call.js'
import type { OpenSocketArg, SocketAddressArg } from './addon-types.js'

/**
 * Opens a socket, bound when `options.bind` is given, not listening and not connected.
 * @throws KernelError, e.g. EADDRINUSE, EADDRNOTAVAIL (not local and neither freebind nor
 *   transparent), EPERM (transparent and mark need CAP_NET_ADMIN)
 */
export function openSocket(options: OpenSocketArg): number {
  const at = options.bind === undefined ? '' : ` ${describe(options.bind)}`
  return kernelCall(`open ${options.type} socket${at}`, () => loadAddon().openSocket(options))
}

/** Closes a descriptor that was never handed to Node. */
export function closeSocket(fd: number): void {
  kernelCall(`close socket ${fd}`, () => {
    loadAddon().closeSocket(fd)
  })
}

/**
 * Replaces the filter of a socket in one step, no packet passes in between; an empty program takes
 * it off. Accepted sockets inherit the listener's filter as it was when they were made.
 * @throws KernelError; ENOMEM when the program is larger than net.core.optmem_max allows
 */
export function setSocketFilter(fd: number, filter: Uint8Array): void {
  kernelCall(`filter socket ${fd}`, () => {
    loadAddon().setSocketFilter(fd, filter)
  })
}

/** The local port of a bound socket. */
export function boundPort(fd: number): number {
  return kernelCall(`port of socket ${fd}`, () => loadAddon().boundPort(fd))
}

/**
 * Where an accepted TCP connection was going before nat REDIRECT; undefined when it was not
 * translated (SO_ORIGINAL_DST, linux/netfilter_ipv4.h).
 */
export function originalDestination(fd: number, family: IpFamily): SocketAddressArg | undefined {
  try {
    return kernelCall(`original destination of socket ${fd}`, () =>
      loadAddon().originalDestination(fd, family),
    )
  } catch (error) {
    // ENOPROTOOPT: this kernel or namespace has no connection tracking, so nothing is translated.
    const isUntranslated =
      error instanceof KernelError && ['ENOENT', 'ENOPROTOOPT'].includes(error.errnoName)
    if (isUntranslated) return undefined
    throw error
  }
}

/**
 * Raises the limit of open files towards `wanted` (1..2^32-1) as far as this process may.
 * @returns the soft limit now in force
 */
export function raiseFileLimit(wanted: number): number {
  return kernelCall(`raise limit of open files to ${wanted}`, () =>
    loadAddon().raiseFileLimit(wanted),
  )
}

/**
 * The descriptor behind a Node socket, undefined when it is closed or not open yet. This is the
 * one place that touches `_handle`, which Node does not document but has had since 0.10.
 */
export function fileDescriptorOf(socket: Socket | Server): number | undefined {
  const fd = (socket as { readonly _handle?: Handle | null })._handle?.fd
  return typeof fd === 'number' && fd >= 0 ? fd : undefined
}

interface Handle {
  readonly fd?: unknown
}

function describe({ address, port }: SocketAddressArg): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
