/**
 * Sends packets as they are, source address and all: SYNs as their clients have sent them, and the
 * questions of end-tcp.ts. By a raw socket with the IP header included (raw-socket: IPPROTO_RAW). They
 * enter OUTPUT, meet the steering rules like any packet of this node, and get the verdict that waits for
 * their 5-tuple.
 *
 * The package is optional. Without it nothing is sent: when a client repeats its SYN after a second, the
 * entry of the connection is deleted and the SYN dropped, and its next one, two seconds later, gets
 * another endpoint. A refusal is not held back then, see `isUsable`.
 */
import { createRequire } from 'node:module'

import { messageOf } from '../../lib/errors.js'
import { writeTcpChecksum } from '../../packet/checksum.js'
import { formatAddressWords } from '../../packet/address-words.js'

/** IPPROTO_RAW: what is sent begins with its IP header (raw(7)); nothing is received. */
const IPPROTO_RAW = 255

interface RawSocket {
  send(
    buffer: Buffer,
    offset: number,
    length: number,
    address: string,
    after: (error: Error | null) => void,
  ): void
  on(event: 'error', listener: (error: Error) => void): void
  close(): void
}

interface RawSocketPackage {
  readonly AddressFamily: { readonly IPv4: number; readonly IPv6: number }
  createSocket(options: { addressFamily: number; protocol: number }): RawSocket
}

export class SynSender {
  readonly #warn: (message: string) => void
  readonly #sockets = new Map<number, RawSocket>()
  readonly #package: RawSocketPackage | undefined
  #failures = 0
  /** Said once: it would be said for every connection. */
  #hasWarned = false

  constructor(warn: (message: string) => void) {
    this.#warn = warn
    try {
      this.#package = createRequire(import.meta.url)('raw-socket') as RawSocketPackage
    } catch {
      this.#package = undefined
    }
  }

  get isUsable(): boolean {
    return this.#package !== undefined
  }

  /** SYNs that could not be sent; their clients repeat them. */
  get failures(): number {
    return this.#failures
  }

  /** `syn` is the whole packet; its checksum is written here. Never throws. */
  send(syn: Uint8Array): void {
    const family = (syn[0] ?? 0) >> 4
    const socket = this.#socketFor(family)
    if (socket === undefined || !writeTcpChecksum(syn)) {
      this.#failed('it is not a plain TCP packet')
      return
    }
    const words = new Uint32Array(4)
    const [from, length] = family === 4 ? [16, 4] : [24, 16]
    new Uint8Array(words.buffer).set(syn.subarray(from, from + length))
    const to = formatAddressWords(words, 0, family)
    const buffer = Buffer.from(syn.buffer, syn.byteOffset, syn.length)
    socket.send(buffer, 0, buffer.length, to, (error) => {
      if (error !== null) this.#failed(messageOf(error))
    })
  }

  /** Idempotent. */
  close(): void {
    for (const socket of this.#sockets.values()) socket.close()
    this.#sockets.clear()
  }

  #socketFor(family: number): RawSocket | undefined {
    const known = this.#sockets.get(family)
    if (known !== undefined || this.#package === undefined) return known
    const { AddressFamily } = this.#package
    try {
      const socket = this.#package.createSocket({
        addressFamily: family === 4 ? AddressFamily.IPv4 : AddressFamily.IPv6,
        protocol: IPPROTO_RAW,
      })
      socket.on('error', (error) => {
        this.#failed(messageOf(error))
      })
      this.#sockets.set(family, socket)
      return socket
    } catch (error) {
      this.#failed(messageOf(error))
      return undefined
    }
  }

  #failed(reason: string): void {
    this.#failures++
    if (this.#hasWarned) return
    this.#hasWarned = true
    this.#warn(`a SYN could not be sent again: ${reason}; its client will repeat it`)
  }
}
