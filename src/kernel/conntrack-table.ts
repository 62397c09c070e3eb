/**
 * The kernel's table of connections, read in chunks: what happens to it (events), and all that is in
 * it (a dump). Both fill `records` with CONNTRACK_WORDS words each (conntrack-word.ts), and both are
 * made to be waited for by `fd` and read without blocking.
 */
import { KernelError } from '../lib/errors.js'
import type { IpFamily } from '../lib/ip-address.js'
import { CONNTRACK_WORDS } from '../packet/conntrack-word.js'
import { loadAddon } from './addon.js'
import { kernelCall } from './kernel-call.js'
import type { ConntrackHandle } from './netfilter-addon-types.js'

/** Events by one call; entries of a dump by one call. */
const EVENT_BATCH = 64
const DUMP_BATCH = 512

export class ConntrackEvents {
  readonly records = new Uint32Array(EVENT_BATCH * CONNTRACK_WORDS)
  readonly fd: number
  /** Receive buffer of the socket, as the kernel granted it. */
  readonly bufferBytes: number
  readonly #handle: ConntrackHandle
  readonly #markMask: number

  /**
   * Of connections whose mark has a bit of `markMask`: new, closing and destroyed ones, and with `answers`
   * TCP connections whose SYN has been answered. Throws KernelError.
   */
  constructor(options: {
    readonly markMask: number
    readonly bufferBytes: number
    readonly answers?: boolean
  }) {
    const addon = loadAddon()
    const { markMask, bufferBytes, answers = false } = options
    this.#markMask = markMask
    this.#handle = kernelCall('subscribe to conntrack events', () =>
      addon.conntrackEvents(markMask, bufferBytes, answers),
    )
    this.fd = addon.conntrackFd(this.#handle)
    this.bufferBytes = addon.conntrackBufferBytes(this.#handle)
  }

  /** From now on with or without answered SYNs. Throws KernelError. */
  setAnswers(answers: boolean): void {
    kernelCall('choose conntrack events', () => {
      loadAddon().conntrackAnswers(this.#handle, this.#markMask, answers)
    })
  }

  /** How many records it filled; `lost` when the socket's buffer has overrun since the last call. */
  receive(): number | 'lost' {
    try {
      return kernelCall('receive conntrack events', () =>
        loadAddon().conntrackReceive(this.#handle, this.records),
      )
    } catch (error) {
      if (error instanceof KernelError && error.errnoName === 'ENOBUFS') return 'lost'
      throw error
    }
  }

  /** Idempotent. */
  close(): void {
    loadAddon().conntrackClose(this.#handle)
  }
}

export interface DumpFilter {
  readonly family: IpFamily
  /** Entries with (mark & markMask) === mark; the kernel chooses. */
  readonly mark?: number
  readonly markMask?: number
  /** IPPROTO_*; undefined: all. */
  readonly protocol?: number
}

export class ConntrackDump {
  readonly records = new Uint32Array(DUMP_BATCH * CONNTRACK_WORDS)
  readonly fd: number
  readonly #handle: ConntrackHandle

  /** Throws KernelError. */
  constructor({ family, mark = 0, markMask = 0, protocol = 0 }: DumpFilter) {
    const addon = loadAddon()
    this.#handle = kernelCall('list conntrack entries', () =>
      addon.conntrackDump(family, mark, markMask, protocol),
    )
    this.fd = addon.conntrackFd(this.#handle)
  }

  /**
   * How many records it filled, 0 when nothing is there yet; `complete` at the end, `changed` when
   * the table changed so that some entries may be missing.
   */
  receive(): number | 'complete' | 'changed' {
    const count = kernelCall('list conntrack entries', () =>
      loadAddon().conntrackReceive(this.#handle, this.records),
    )
    if (count >= 0) return count
    return count === -1 ? 'complete' : 'changed'
  }

  /** Idempotent. */
  close(): void {
    loadAddon().conntrackClose(this.#handle)
  }
}
