/**
 * icmp: an echo request (RFC 792, RFC 4443), over one raw socket for each family, from the optional
 * package raw-socket.
 *
 * Bound: MAX_PENDING requests without a reply.
 */
import { createRequire } from 'node:module'
import { isIPv6 } from 'node:net'
import { messageOf } from '../../../lib/errors.js'
import { healthy, unhealthy, type ProbeDone, type RunningProbe, type StartProbe } from './probe.js'

const MAX_PENDING = 65_536
const ECHO = {
  4: { protocol: 1, request: 8, reply: 0 },
  6: { protocol: 58, request: 128, reply: 129 },
}
const ECHO_BYTES = 16

interface RawSocket {
  send(
    buffer: Buffer,
    offset: number,
    length: number,
    address: string,
    after: (error: Error | null) => void,
  ): void
  close(): void
  on(event: 'error', listener: (error: Error) => void): void
  on(event: 'message', listener: (message: Buffer, source: string) => void): void
}

interface RawSocketPackage {
  readonly AddressFamily: { readonly IPv4: number; readonly IPv6: number }
  createSocket(options: { addressFamily: number; protocol: number }): RawSocket
  createChecksum(buffer: Buffer): number
}

type Family = 4 | 6

/** Sends echo requests for every probe of the process. */
export class Pinger {
  readonly #identifier: number
  #package: RawSocketPackage | undefined
  readonly #sockets = new Map<Family, RawSocket>()
  /** By sequence number. */
  readonly #pending = new Map<number, ProbeDone>()
  #sequence = 0

  /** @param identifier of our requests, 0..65535 */
  constructor(identifier: number) {
    this.#identifier = identifier
  }

  readonly start: StartProbe = ({ ip }, done): RunningProbe => {
    const family = isIPv6(ip) ? 6 : 4
    const socket = this.#socketFor(family)
    if (this.#pending.size >= MAX_PENDING) throw new Error('too many echo requests without a reply')
    do this.#sequence = (this.#sequence + 1) & 0xffff
    while (this.#pending.has(this.#sequence))
    const sequence = this.#sequence
    this.#pending.set(sequence, done)
    const request = this.#request(family, sequence)
    socket.send(request, 0, request.length, ip, (error) => {
      if (error !== null)
        this.#end(sequence, (end) => {
          end(unhealthy(messageOf(error)))
        })
    })
    return {
      cancel: () => {
        this.#pending.delete(sequence)
        return 'echo reply'
      },
    }
  }

  /** Idempotent; requests under way get no result. */
  close(): void {
    for (const socket of this.#sockets.values()) socket.close()
    this.#sockets.clear()
  }

  #end(sequence: number, tell: (done: ProbeDone) => void): void {
    const done = this.#pending.get(sequence)
    this.#pending.delete(sequence)
    if (done !== undefined) tell(done)
  }

  /** Throws when there is no raw-socket, or it may not be opened. */
  #socketFor(family: Family): RawSocket {
    const known = this.#sockets.get(family)
    if (known !== undefined) return known
    this.#package ??= loadRawSocket()
    const { AddressFamily } = this.#package
    const socket = this.#package.createSocket({
      addressFamily: family === 4 ? AddressFamily.IPv4 : AddressFamily.IPv6,
      protocol: ECHO[family].protocol,
    })
    socket.on('error', () => {
      // The probe that it belongs to runs into its time-out.
    })
    socket.on('message', (message) => {
      this.#received(family, message)
    })
    this.#sockets.set(family, socket)
    return socket
  }

  #request(family: Family, sequence: number): Buffer {
    const request = Buffer.alloc(ECHO_BYTES)
    request[0] = ECHO[family].request
    request.writeUInt16BE(this.#identifier, 4)
    request.writeUInt16BE(sequence, 6)
    // The kernel writes the checksum of ICMPv6 (RFC 3542, 3.1).
    if (family === 4) request.writeUInt16BE(this.#package?.createChecksum(request) ?? 0, 2)
    return request
  }

  /** IPv4 comes with its header, IPv6 without. */
  #received(family: Family, message: Buffer): void {
    const header = family === 4 ? ((message[0] ?? 0) & 15) * 4 : 0
    const echo = message.subarray(header)
    if (echo.length < 8 || echo[0] !== ECHO[family].reply) return
    if (echo.readUInt16BE(4) !== this.#identifier) return
    this.#end(echo.readUInt16BE(6), (done) => {
      done(healthy('echo reply'))
    })
  }
}

function loadRawSocket(): RawSocketPackage {
  try {
    return createRequire(import.meta.url)('raw-socket') as RawSocketPackage
  } catch (error) {
    throw new Error('raw-socket is not installed; type: npm install raw-socket', { cause: error })
  }
}
