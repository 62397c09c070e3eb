/** Waiting for descriptors, for a thread that does nothing else, and waking it from another one. */
import { loadAddon } from './addon.js'
import { kernelCall } from './kernel-call.js'
import { closeSocket } from './socket.js'

/**
 * Blocks until one of the descriptors (at most 16) can be read, or `timeoutMs` is over. Returns a
 * bit for each one, by its place. Throws KernelError.
 */
export function waitReadable(fds: Int32Array, timeoutMs: number): number {
  return loadAddon().waitReadable(fds, timeoutMs)
}

/** Wakes a thread that waits for `fd`. It may be handed to another thread as a number. */
export class WakeUp {
  readonly fd: number

  /** A new one, or the one behind a descriptor that another thread made. */
  constructor(fd?: number) {
    this.fd = fd ?? kernelCall('open event', () => loadAddon().openEvent())
  }

  /** Makes it readable, from any thread. */
  signal(): void {
    loadAddon().signalEvent(this.fd)
  }

  /** Makes it unreadable. */
  clear(): void {
    loadAddon().clearEvent(this.fd)
  }

  /** By who made it, when nobody waits any more. */
  close(): void {
    closeSocket(this.fd)
  }
}
