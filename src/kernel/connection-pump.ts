/**
 * TCP connections relayed by a native thread. It accepts and reports; whoever holds the pump answers
 * each connection with an endpoint, or resets it; the bytes never come here.
 *
 *   accepted -> connect -> connected .. closed
 *                       -> failed | returned -> connect again, or reset -> closed
 *
 * A connection is its slot, which is reused only after `closed`. Events come in the order in which
 * they happened, in batches; what is answered during a batch goes back as one batch.
 */
import { getSystemErrorName } from 'node:util'

import type { IpFamily } from '../lib/ip-address.js'
import { formatAddressWords } from '../packet/address-words.js'
import { loadAddon } from './addon.js'
import type { NativeAddon, SocketAddressArg } from './addon-types.js'
import { kernelCall } from './kernel-call.js'
import type { OpenPumpArg, PumpHandle } from './pump-addon-types.js'
import {
  PUMP_COUNTERS,
  PUMP_ENDS,
  PUMP_RECORD_WORDS,
  PUMP_VERDICT_WORDS,
  PumpEvent,
  PumpVerdict,
  PumpVerdictWord,
  PumpWord,
} from './pump-words.js'
import { namedCounters, RelayExchange } from './relay-exchange.js'

export interface PumpTarget {
  readonly family: IpFamily
  /** As packet/address-words.ts has them. */
  readonly address: Uint32Array
  readonly port: number
  /** Connects from this address, which need not be local. */
  readonly source: Uint32Array | undefined
  readonly timeoutMs: number
  /** The connect is silent after this; timeoutMs or more: never. */
  readonly patienceMs: number
  /** `mute` when it has said nothing this long after the client has; 0: never, and never `spoke`. */
  readonly firstByteMs: number
}

export type PumpEnd = (typeof PUMP_ENDS)[number]

export interface PumpEvents {
  /** Wants `connect` or `reset`. `destination`: of a redirected connection, from before nat. */
  accepted(
    slot: number,
    listener: number,
    client: SocketAddressArg,
    destination: SocketAddressArg | undefined,
  ): void
  /** Its connect is under way already, by the pick that was next. */
  acceptedPicked(slot: number, listener: number, client: SocketAddressArg): void
  /** The endpoint has accepted, after this long. */
  connected(slot: number, connectMs: number): void
  /** It has not; wants `connect` or `reset`. */
  failed(slot: number, errnoName: string): void
  /** It reset the connection before a byte went either way; wants `connect` or `reset`. */
  returned(slot: number): void
  /** The connect takes longer than its patience; wants `wait`, `connect` or `reset`. */
  silent(slot: number): void
  /** The endpoint's first byte has come, where it was waited for. */
  spoke(slot: number): void
  /** It has not come within its time, which changes nothing for the connection. Once. */
  mute(slot: number): void
  /** Bytes: of the client, and of the endpoint. */
  closed(slot: number, end: PumpEnd, bytesUp: number, bytesDown: number): void
  /** All that had happened was told. */
  batchSeen(): void
}

export type PumpCounters = Readonly<Record<(typeof PUMP_COUNTERS)[number], number>>

export interface Pump {
  /** @param fd a bound socket; the pump's own from now on, unless this throws */
  listen(fd: number, family: IpFamily, options: { backlog: number; redirected: boolean }): number
  unlisten(listener: number): void
  connect(slot: number, target: PumpTarget): void
  /** Where the next connections of a listener go, after those that it has been told of. */
  pick(listener: number, targets: readonly PumpTarget[]): void
  /** Takes back what was not used of it, the last ones; returns how many. */
  unpick(listener: number): number
  /** The silent connect gets the time that is left. */
  wait(slot: number): void
  /** Both sides get an RST; `closed` follows. */
  reset(slot: number): void
  setTimeouts(idleMs: number, halfClosedMs: number): void
  counters(): PumpCounters
  /** Resets everything; no event comes any more. Idempotent. */
  close(): void
}

export class ConnectionPump implements Pump {
  readonly #addon: NativeAddon
  readonly #handle: PumpHandle
  readonly #events: PumpEvents
  readonly #exchange: RelayExchange
  readonly #counters = new Float64Array(PUMP_COUNTERS.length)

  /** @throws SluiceError ERR_ADDON, KernelError */
  constructor(options: OpenPumpArg, events: PumpEvents) {
    this.#addon = loadAddon()
    this.#events = events
    this.#exchange = new RelayExchange({
      recordWords: PUMP_RECORD_WORDS,
      verdictWords: PUMP_VERDICT_WORDS,
      receive: (records) => this.#addon.pumpReceive(this.#handle, records),
      answer: (verdicts, count) => {
        this.#addon.pumpAnswer(this.#handle, verdicts, count)
      },
      tell: (at) => {
        this.#tell(at)
      },
      batchSeen: () => {
        this.#events.batchSeen()
      },
    })
    this.#handle = kernelCall('start pump', () =>
      this.#addon.openPump(options, () => {
        this.#exchange.receive()
      }),
    )
  }

  listen(fd: number, family: IpFamily, options: { backlog: number; redirected: boolean }): number {
    return kernelCall(`listen on socket ${fd}`, () =>
      this.#addon.pumpListen(this.#handle, fd, { family, ...options }),
    )
  }

  unlisten(listener: number): void {
    if (!this.#exchange.isClosed) this.#addon.pumpUnlisten(this.#handle, listener)
  }

  connect(slot: number, target: PumpTarget): void {
    putTarget(this.#exchange.verdicts, this.#exchange.begin(slot, PumpVerdict.connect), target)
    this.#exchange.end()
  }

  pick(listener: number, targets: readonly PumpTarget[]): void {
    if (this.#exchange.isClosed) return
    const words = new Uint32Array(targets.length * PUMP_VERDICT_WORDS)
    for (const [i, target] of targets.entries()) {
      const at = i * PUMP_VERDICT_WORDS
      words[at + PumpVerdictWord.verdict] = PumpVerdict.connect
      putTarget(words, at, target)
    }
    this.#addon.pumpPick(this.#handle, listener, words, targets.length)
  }

  unpick(listener: number): number {
    return this.#exchange.isClosed ? 0 : this.#addon.pumpUnpick(this.#handle, listener)
  }

  wait(slot: number): void {
    this.#exchange.begin(slot, PumpVerdict.wait)
    this.#exchange.end()
  }

  reset(slot: number): void {
    this.#exchange.begin(slot, PumpVerdict.reset)
    this.#exchange.end()
  }

  setTimeouts(idleMs: number, halfClosedMs: number): void {
    if (!this.#exchange.isClosed) this.#addon.pumpTimeouts(this.#handle, idleMs, halfClosedMs)
  }

  counters(): PumpCounters {
    if (!this.#exchange.isClosed) this.#addon.pumpCounters(this.#handle, this.#counters)
    return namedCounters(PUMP_COUNTERS, this.#counters)
  }

  close(): void {
    this.#exchange.close()
    this.#addon.closePump(this.#handle)
  }

  #tell(at: number): void {
    const words = this.#exchange.records
    const slot = words[at + PumpWord.slot] ?? 0
    const events = words[at + PumpWord.events] ?? 0
    if (events & PumpEvent.accepted) this.#tellAccepted(slot, at)
    if (events & PumpEvent.silent) this.#events.silent(slot)
    if (events & PumpEvent.connected) {
      this.#events.connected(slot, (words[at + PumpWord.connectMicros] ?? 0) / 1000)
    }
    if (events & PumpEvent.mute) this.#events.mute(slot)
    if (events & PumpEvent.spoke) this.#events.spoke(slot)
    if (events & PumpEvent.failed) {
      this.#events.failed(slot, getSystemErrorName(-(words[at + PumpWord.errno] ?? 0)))
    }
    if (events & PumpEvent.returned) this.#events.returned(slot)
    if (events & PumpEvent.closed) {
      const end = PUMP_ENDS[words[at + PumpWord.end] ?? 0] ?? 'closed'
      const up = this.#exchange.bytesAt(at + PumpWord.bytesUp)
      this.#events.closed(slot, end, up, this.#exchange.bytesAt(at + PumpWord.bytesDown))
    }
  }

  #tellAccepted(slot: number, at: number): void {
    const words = this.#exchange.records
    const family = words[at + PumpWord.family] ?? 4
    const client = {
      address: formatAddressWords(words, at + PumpWord.client, family),
      port: words[at + PumpWord.clientPort] ?? 0,
    }
    const destination = words[at + PumpWord.hasDestination]
      ? {
          address: formatAddressWords(words, at + PumpWord.destination, family),
          port: words[at + PumpWord.destinationPort] ?? 0,
        }
      : undefined
    const listener = words[at + PumpWord.listener] ?? 0
    if (words[at + PumpWord.isPicked] === 1) this.#events.acceptedPicked(slot, listener, client)
    else this.#events.accepted(slot, listener, client, destination)
  }
}

function putTarget(
  words: Uint32Array,
  at: number,
  { family, address, port, source, timeoutMs, patienceMs, firstByteMs }: PumpTarget,
): void {
  words[at + PumpVerdictWord.family] = family === 'IPv4' ? 4 : 6
  words.set(address, at + PumpVerdictWord.address)
  words[at + PumpVerdictWord.port] = port
  words[at + PumpVerdictWord.timeoutMs] = timeoutMs
  words[at + PumpVerdictWord.patienceMs] = patienceMs
  words[at + PumpVerdictWord.firstByteMs] = firstByteMs
  words[at + PumpVerdictWord.hasSource] = source === undefined ? 0 : 1
  if (source !== undefined) words.set(source, at + PumpVerdictWord.source)
}
