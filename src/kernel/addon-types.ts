/**
 * The native addon, call by call. The same comments stand in native/binding. Arguments are
 * validated by the callers in src/kernel; native code re-checks what memory safety needs.
 *
 * Every call throws an Error with `code` (errno name, e.g. `EADDRINUSE`) and `syscall` when the
 * kernel refuses; src/kernel turns it into a KernelError. Every call throws a TypeError with the code
 * ERR_INVALID_ARG_TYPE for arguments of another type or number than here, for arrays that are too short,
 * and for handles that are closed. File descriptors that are returned
 * belong to the caller, are non-blocking and close-on-exec.
 */
import type { DatagramAddon } from './datagram-addon-types.js'
import type { NetfilterAddon } from './netfilter-addon-types.js'
import type { PumpAddon } from './pump-addon-types.js'
import type { QueueAddon } from './queue-addon-types.js'

export interface SocketAddressArg {
  readonly address: string
  /** 0 lets the kernel choose. */
  readonly port: number
}

export interface OpenSocketArg {
  readonly type: 'tcp' | 'udp'
  /** Address to bind to; IPv6 sockets are v6only. Undefined: not bound. */
  readonly bind?: SocketAddressArg
  /** IP_TRANSPARENT / IPV6_TRANSPARENT: may bind to, and send from, addresses that are not local. */
  readonly transparent?: boolean
  /** IP_FREEBIND: may bind to an address that is not (yet) local. */
  readonly freebind?: boolean
  /** SO_REUSEADDR; default true for tcp, false for udp. */
  readonly reuseAddress?: boolean
  /** IP_BIND_ADDRESS_NO_PORT: with bind.port 0, the port is chosen at connect, per destination. */
  readonly bindAddressNoPort?: boolean
  /** SO_MARK; 0 leaves it alone. */
  readonly mark?: number
  /** Classic BPF program (struct sock_filter[], 8 bytes each, host byte order), attached before bind. */
  readonly filter?: Uint8Array
  /** 'IPv4' or 'IPv6'. */
  readonly family: 'IPv4' | 'IPv6'
}

export interface NativeAddon extends QueueAddon, NetfilterAddon, PumpAddon, DatagramAddon {
  /** Socket with the given options, bound when asked, not listening and not connected. Returns the fd. */
  openSocket(options: OpenSocketArg): number
  /** close(2), for a descriptor that was never handed to Node. */
  closeSocket(fd: number): void
  /** Replaces the socket's filter in one step; an empty program detaches it. */
  setSocketFilter(fd: number, filter: Uint8Array): void
  /** The local port of a socket. */
  boundPort(fd: number): number
  /** SO_ORIGINAL_DST / IP6T_SO_ORIGINAL_DST of an accepted TCP socket. Throws ENOENT when the connection was not translated. */
  originalDestination(fd: number, family: 'IPv4' | 'IPv6'): { address: string; port: number }
  /** Begins a TCP connect; a descriptor, or -errno. `resets`: its close sends a RST. */
  dial(family: 'IPv4' | 'IPv6', to: { address: string; port: number }, resets: boolean): number
  /**
   * Looks at `count` descriptors that wait for their connect (wants 0) or for bytes (1), without blocking.
   * results: 0 not yet, 1 yes, -errno of a connect that failed. Returns how many are not 0.
   */
  dialPoll(fds: Int32Array, wants: Uint8Array, results: Int32Array, count: number): number
  /** Bytes that went out, or that came in (0: the end), or -errno. */
  dialSend(fd: number, bytes: Uint8Array): number
  dialReceive(fd: number, bytes: Uint8Array): number
  /** Raises RLIMIT_NOFILE (soft, and hard where allowed) towards `wanted`; returns the soft limit now in force. */
  raiseFileLimit(wanted: number): number
  /** Gives free pages of malloc's back to the system; whether there were any. */
  releaseMemory(): boolean
}
