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
import { namedCounters, RelayExchange } from './relay-exchange.js'

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

export class NativeDatagramRelay implements DatagramRelay {
  readonly #addon: NativeAddon
  readonly #handle: DatagramRelayHandle
  readonly #events: DatagramEvents
  readonly #exchange: RelayExchange
  readonly #counters = new Float64Array(DATAGRAM_COUNTERS.length)

  /** @throws SluiceError ERR_ADDON, KernelError */
  constructor(maxSessions: number, events: DatagramEvents) {
    this.#addon = loadAddon()
    this.#events = events
    this.#exchange = new RelayExchange({
      recordWords: DATAGRAM_RECORD_WORDS,
      verdictWords: DATAGRAM_VERDICT_WORDS,
      receive: (records) => this.#addon.relayReceive(this.#handle, records),
      answer: (verdicts, count) => {
        this.#addon.relayAnswer(this.#handle, verdicts, count)
      },
      tell: (at) => {
        this.#tell(at)
      },
    })
    this.#handle = kernelCall('start datagram relay', () =>
      this.#addon.openDatagramRelay(maxSessions, () => {
        this.#exchange.receive()
      }),
    )
  }

  listen(fd: number, bufferBytes: number): number {
    return kernelCall(`listen on socket ${fd}`, () =>
      this.#addon.relayListen(this.#handle, fd, bufferBytes),
    )
  }

  unlisten(listener: number): void {
    if (!this.#exchange.isClosed) this.#addon.relayUnlisten(this.#handle, listener)
  }

  connect(slot: number, { family, address, port, source, attempt }: DatagramTarget): void {
    const at = this.#exchange.begin(slot, DatagramVerdict.connect)
    const words = this.#exchange.verdicts
    words[at + DatagramVerdictWord.family] = family === 'IPv4' ? 4 : 6
    words.set(address, at + DatagramVerdictWord.address)
    words[at + DatagramVerdictWord.port] = port
    words[at + DatagramVerdictWord.attempt] = attempt
    words[at + DatagramVerdictWord.hasSource] = source === undefined ? 0 : 1
    if (source !== undefined) words.set(source, at + DatagramVerdictWord.source)
    this.#exchange.end()
  }

  stop(slot: number): void {
    this.#exchange.begin(slot, DatagramVerdict.stop)
    this.#exchange.end()
  }

  setTimeouts(timeouts: DatagramTimeoutsArg): void {
    if (!this.#exchange.isClosed) this.#addon.relayTimeouts(this.#handle, timeouts)
  }

  counters(): DatagramCounters {
    if (!this.#exchange.isClosed) this.#addon.relayCounters(this.#handle, this.#counters)
    return namedCounters(DATAGRAM_COUNTERS, this.#counters)
  }

  close(): void {
    // What has been counted is known afterwards, too.
    if (!this.#exchange.isClosed) this.#addon.relayCounters(this.#handle, this.#counters)
    this.#exchange.close()
    this.#addon.closeDatagramRelay(this.#handle)
  }

  #tell(at: number): void {
    const words = this.#exchange.records
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
    const words = this.#exchange.records
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
    const micros = this.#exchange.records[at + DatagramWord.latencyMicros] ?? 0
    this.#events.answered(slot, attempt, micros === 0 ? undefined : (micros - 1) / 1000)
  }

  #endAt(at: number): DatagramEnd {
    const words = this.#exchange.records
    const errno = words[at + DatagramWord.errno] ?? 0
    return {
      reason: DATAGRAM_ENDS[words[at + DatagramWord.end] ?? 0] ?? 'ended',
      errnoName: errno === 0 ? undefined : getSystemErrorName(-errno),
      hasReply: words[at + DatagramWord.hasReply] !== 0,
      bytesToEndpoint: this.#exchange.bytesAt(at + DatagramWord.bytesUp),
      bytesToClient: this.#exchange.bytesAt(at + DatagramWord.bytesDown),
    }
  }
}
