/**
 * UDP sessions relayed by a native thread. It tells of a client that it does not know yet; whoever holds it
 * answers with an endpoint, or stops the session; the datagrams never come here.
 *
 *   created -> connect -> connected, answered .. closed
 *                      -> refused | silent -> connect again, or stop -> closed
 *
 * A session is its slot, which is reused only after `closed`. Each connect has a number, its attempt: what is
 * told of an earlier one came too late. Events come in batches; what is answered during a batch goes
 * back as one batch.
 */
import { getSystemErrorName } from 'node:util'

import type { IpFamily } from '../lib/ip-address.js'
import { formatAddressWords } from '../packet/address-words.js'
import { loadAddon } from './addon.js'
import type { NativeAddon, SocketAddressArg } from './addon-types.js'
import type { DatagramRelayHandle, DatagramTimeoutsArg } from './datagram-addon-types.js'
import {
  DATAGRAM_COUNTERS,
  DATAGRAM_ENDS,
  DATAGRAM_RECORD_WORDS,
  DATAGRAM_VERDICT_WORDS,
  DatagramEvent,
  DatagramVerdict,
  DatagramVerdictWord,
  DatagramWord,
} from './datagram-words.js'
import { kernelCall } from './kernel-call.js'

export interface DatagramTarget {
  readonly family: IpFamily
  /** As packet/address-words.ts has them. */
  readonly address: Uint32Array
  readonly port: number
  /** Connects from this address, which need not be local. */
  readonly source: Uint32Array | undefined
  readonly attempt: number
}

export interface DatagramEnd {
  readonly reason: (typeof DATAGRAM_ENDS)[number]
  /** Of `failed`. */
  readonly errnoName: string | undefined
  readonly hasReply: boolean
  readonly bytesToEndpoint: number
  readonly bytesToClient: number
}

export interface DatagramEvents {
  /** Wants `connect` or `stop`. */
  created(slot: number, listener: number, client: SocketAddressArg): void
  connected(slot: number, attempt: number): void
  /** By the endpoint, once a second at most. Latency: of the first answer that the session has. */
  answered(slot: number, attempt: number, latencyMs: number | undefined): void
  /** Nobody listens there; wants `connect` or `stop` unless `isOver`: then `closed` follows. */
  refused(slot: number, attempt: number, isOver: boolean): void
  /** The client goes on though nothing was answered for a while; may have `connect`. */
  silent(slot: number, attempt: number): void
  closed(slot: number, end: DatagramEnd): void
}

export type DatagramCounters = Readonly<Record<(typeof DATAGRAM_COUNTERS)[number], number>>

export interface DatagramRelay {
  /** @param fd a bound socket; the relay's own from now on, unless this throws */
  listen(fd: number, bufferBytes: number): number
  /** Its sessions end; the socket is closed by the time that this returns. */
  unlisten(listener: number): void
  connect(slot: number, target: DatagramTarget): void
  /** `closed` follows; the client's next datagram begins anew. */
  stop(slot: number): void
  setTimeouts(timeouts: DatagramTimeoutsArg): void
  counters(): DatagramCounters
  /** Ends everything; no event comes any more. Idempotent. */
  close(): void
}

/** Records fetched, and verdicts kept, at once. */
const BATCH = 256

export class NativeDatagramRelay implements DatagramRelay {
  readonly #addon: NativeAddon
  readonly #handle: DatagramRelayHandle
  readonly #events: DatagramEvents
  readonly #records = new Uint32Array(BATCH * DATAGRAM_RECORD_WORDS)
  readonly #verdicts = new Uint32Array(BATCH * DATAGRAM_VERDICT_WORDS)
  readonly #counters = new Float64Array(DATAGRAM_COUNTERS.length)
  #verdictCount = 0
  #isReceiving = false
  #isClosed = false

  /** @throws SluiceError ERR_ADDON, KernelError */
  constructor(maxSessions: number, events: DatagramEvents) {
    this.#addon = loadAddon()
    this.#events = events
    this.#handle = kernelCall('start datagram relay', () =>
      this.#addon.openDatagramRelay(maxSessions, () => {
        this.#receive()
      }),
    )
  }

  listen(fd: number, bufferBytes: number): number {
    return kernelCall(`listen on socket ${fd}`, () =>
      this.#addon.relayListen(this.#handle, fd, bufferBytes),
    )
  }

  unlisten(listener: number): void {
    if (!this.#isClosed) this.#addon.relayUnlisten(this.#handle, listener)
  }

  connect(slot: number, { family, address, port, source, attempt }: DatagramTarget): void {
    const at = this.#nextVerdict(slot, DatagramVerdict.connect)
    const words = this.#verdicts
    words[at + DatagramVerdictWord.family] = family === 'IPv4' ? 4 : 6
    words.set(address, at + DatagramVerdictWord.address)
    words[at + DatagramVerdictWord.port] = port
    words[at + DatagramVerdictWord.attempt] = attempt
    words[at + DatagramVerdictWord.hasSource] = source === undefined ? 0 : 1
    if (source !== undefined) words.set(source, at + DatagramVerdictWord.source)
    if (!this.#isReceiving) this.#flush()
  }

  stop(slot: number): void {
    this.#nextVerdict(slot, DatagramVerdict.stop)
    if (!this.#isReceiving) this.#flush()
  }

  setTimeouts(timeouts: DatagramTimeoutsArg): void {
    if (!this.#isClosed) this.#addon.relayTimeouts(this.#handle, timeouts)
  }

  counters(): DatagramCounters {
    if (!this.#isClosed) this.#addon.relayCounters(this.#handle, this.#counters)
    return Object.fromEntries(
      DATAGRAM_COUNTERS.map((name, index) => [name, this.#counters[index] ?? 0]),
    ) as DatagramCounters
  }

  close(): void {
    // What has been counted is known afterwards, too.
    if (!this.#isClosed) this.#addon.relayCounters(this.#handle, this.#counters)
    this.#isClosed = true
    this.#addon.closeDatagramRelay(this.#handle)
  }

  #nextVerdict(slot: number, verdict: number): number {
    if (this.#verdictCount === BATCH) this.#flush()
    const at = this.#verdictCount++ * DATAGRAM_VERDICT_WORDS
    this.#verdicts[at + DatagramVerdictWord.slot] = slot
    this.#verdicts[at + DatagramVerdictWord.verdict] = verdict
    return at
  }

  #flush(): void {
    const count = this.#verdictCount
    this.#verdictCount = 0
    if (count > 0 && !this.#isClosed) this.#addon.relayAnswer(this.#handle, this.#verdicts, count)
  }

  #receive(): void {
    this.#isReceiving = true
    try {
      // Until none is left: only then is a new one told.
      while (!this.#isClosed) {
        const count = this.#addon.relayReceive(this.#handle, this.#records)
        for (let i = 0; i < count; i++) this.#tell(i * DATAGRAM_RECORD_WORDS)
        this.#flush()
        if (count < BATCH) break
      }
    } finally {
      this.#isReceiving = false
    }
  }

  #tell(at: number): void {
    const words = this.#records
    const slot = words[at + DatagramWord.slot] ?? 0
    const events = words[at + DatagramWord.events] ?? 0
    const attempt = words[at + DatagramWord.attempt] ?? 0
    const isOver = (events & DatagramEvent.closed) !== 0
    // One that ended before anybody was asked needs no verdict any more.
    if (events & DatagramEvent.created && !isOver) this.#tellCreated(slot, at)
    if (events & DatagramEvent.connected) this.#events.connected(slot, attempt)
    if (events & DatagramEvent.answered) this.#tellAnswered(slot, attempt, at)
    if (events & DatagramEvent.refused) {
      this.#events.refused(slot, words[at + DatagramWord.refusedAttempt] ?? 0, isOver)
    } else if (events & DatagramEvent.silent && !isOver) {
      this.#events.silent(slot, attempt)
    }
    if (isOver) this.#events.closed(slot, this.#endAt(at))
  }

  #tellCreated(slot: number, at: number): void {
    const words = this.#records
    const client = {
      address: formatAddressWords(
        words,
        at + DatagramWord.client,
        words[at + DatagramWord.family] ?? 4,
      ),
      port: words[at + DatagramWord.clientPort] ?? 0,
    }
    this.#events.created(slot, words[at + DatagramWord.listener] ?? 0, client)
  }

  #tellAnswered(slot: number, attempt: number, at: number): void {
    const micros = this.#records[at + DatagramWord.latencyMicros] ?? 0
    this.#events.answered(slot, attempt, micros === 0 ? undefined : (micros - 1) / 1000)
  }

  #endAt(at: number): DatagramEnd {
    const words = this.#records
    const errno = words[at + DatagramWord.errno] ?? 0
    return {
      reason: DATAGRAM_ENDS[words[at + DatagramWord.end] ?? 0] ?? 'ended',
      errnoName: errno === 0 ? undefined : getSystemErrorName(-errno),
      hasReply: words[at + DatagramWord.hasReply] !== 0,
      bytesToEndpoint: this.#bytes(at + DatagramWord.bytesUp),
      bytesToClient: this.#bytes(at + DatagramWord.bytesDown),
    }
  }

  #bytes(at: number): number {
    return (this.#records[at] ?? 0) + (this.#records[at + 1] ?? 0) * 2 ** 32
  }
}
