/**
 * Open connections of each slot, from what connection tracking reports: its events, and a dump of
 * its table at the start and whenever events were lost.
 *
 * A UDP or SCTP flow is open while it has an entry. A TCP connection is open until both sides have
 * closed it, or one has reset it: its entry stays for two minutes after that (TIME_WAIT), which says
 * nothing about the load of an endpoint. Each connection is counted out exactly once:
 *
 *   SYN_SENT .. LAST_ACK ------> TIME_WAIT           out there; a RST may bring CLOSE after it
 *                  \-----RST---> CLOSE               out there
 *                  \--time-out-> destroyed           out at the destruction, by its state
 *   SYN_SENT --RST before any answer--> destroyed    out at the destruction: the kernel removes the entry
 *                                                    at once, tells of no CLOSE (nf_conntrack_proto_tcp.c)
 *
 * The states between may go unreported: the kernel writes an event with the state of that moment
 * (nf_conntrack_ecache.c), and when two packets of a connection are in the works on two processors,
 * that may be a later one than the first of them brought about. Nothing can overtake the last one.
 *
 * While a dump is under way, connections come and go: which of them are in it, nobody can tell by
 * order. So it is collected by 5-tuple, and what an event has said of one stands against the dump.
 * The old counts are in force until it ends; then the new ones are exact.
 */
import { ConntrackStatus, ConntrackType, ConntrackWord } from '../../packet/conntrack-word.js'
import { type MarkLayout, slotOf } from '../../packet/mark-layout.js'
import { IpProtocol } from '../../packet/packet-word.js'
import { WordMap } from '../../packet/word-map.js'
import { TCP_FLAG_CLOSE_INIT, TcpState } from '../../packet/tcp-state.js'
import { EndedConnections } from './ended-connections.js'

/** Source and destination (4 words each), two ports, protocol. */
const KEY_WORDS = 11
/** No slot: this connection is not open any more. */
const GONE = 0

export interface ConnectionListener {
  opened(slot: number): void
  closed(slot: number): void
}

export class ConnectionCounts {
  readonly #layout: MarkLayout
  readonly #open: Int32Array
  readonly #listener: ConnectionListener
  /** During a dump: 5-tuple to slot, or to GONE. */
  #seen: WordMap | undefined
  readonly #ended = new EndedConnections(KEY_WORDS)
  readonly #key = new Uint32Array(KEY_WORDS)

  /** `open` has a place for each slot and is written here alone. */
  constructor(layout: MarkLayout, open: Int32Array, listener: ConnectionListener) {
    this.#layout = layout
    this.#open = open
    this.#listener = listener
  }

  /** An event: the record at `base`. */
  event(records: Uint32Array, base: number): void {
    const slot = slotOf(this.#layout, records[base + ConntrackWord.mark] ?? 0)
    if (slot === 0) return
    this.#readKey(records, base)
    const change = this.#changeOf(records, base)
    if (change === 0) return
    this.#add(slot, change)
    this.#seen?.set(this.#key, 0, change > 0 ? slot : GONE)
  }

  beginDump(): void {
    this.#seen = new WordMap(KEY_WORDS)
  }

  /** An entry of the dump. */
  entry(records: Uint32Array, base: number): void {
    const slot = slotOf(this.#layout, records[base + ConntrackWord.mark] ?? 0)
    if (this.#seen === undefined || slot === 0 || !isOpen(records, base)) return
    this.#readKey(records, base)
    if (this.#seen.get(this.#key, 0) < 0) this.#seen.set(this.#key, 0, slot)
  }

  /** The dump is complete: its counts are in force. */
  endDump(): void {
    const seen = this.#seen
    this.#seen = undefined
    if (seen === undefined) return
    const counts = new Int32Array(this.#open.length)
    seen.forEachValue((slot) => {
      if (slot !== GONE) counts[slot] = (counts[slot] ?? 0) + 1
    })
    for (let slot = 1; slot < counts.length; slot++) {
      const change = (counts[slot] ?? 0) - (this.#open[slot] ?? 0)
      if (change !== 0) this.#add(slot, change)
    }
  }

  /** What an event does to the count of its slot: 1, 0 or -1. `#key` is its connection. */
  #changeOf(records: Uint32Array, base: number): number {
    const type = records[base + ConntrackWord.type]
    const isTcp = records[base + ConntrackWord.protocol] === IpProtocol.tcp
    if (type === ConntrackType.new) {
      if (isTcp) this.#ended.forget(this.#key)
      return 1
    }
    if (type === ConntrackType.destroy) {
      return isOpen(records, base) || isRefused(records, base) ? -1 : 0
    }
    if (isOpen(records, base)) return 0
    return this.#ended.add(this.#key) ? -1 : 0
  }

  #readKey(records: Uint32Array, base: number): void {
    const at = base + ConntrackWord.source
    for (let i = 0; i < KEY_WORDS - 1; i++) this.#key[i] = records[at + i] ?? 0
    this.#key[KEY_WORDS - 1] = records[base + ConntrackWord.protocol] ?? 0
  }

  #add(slot: number, change: number): void {
    const before = this.#open[slot] ?? 0
    const after = Math.max(0, before + change)
    this.#open[slot] = after
    for (let i = before; i < after; i++) this.#listener.opened(slot)
    for (let i = after; i < before; i++) this.#listener.closed(slot)
  }
}

function isOpen(records: Uint32Array, base: number): boolean {
  if (records[base + ConntrackWord.protocol] !== IpProtocol.tcp) return true
  return stateOf(records, base) < TcpState.timeWait
}

/** Of an entry that is destroyed: reset before anything was answered, so that no event came for it before. */
function isRefused(records: Uint32Array, base: number): boolean {
  const isAnswered = ((records[base + ConntrackWord.status] ?? 0) & ConntrackStatus.seenReply) !== 0
  return stateOf(records, base) === TcpState.close && !isAnswered && !hasFin(records, base)
}

function stateOf(records: Uint32Array, base: number): number {
  return records[base + ConntrackWord.tcpState] ?? 0
}

function hasFin(records: Uint32Array, base: number): boolean {
  return ((records[base + ConntrackWord.tcpFlags] ?? 0) & TCP_FLAG_CLOSE_INIT) !== 0
}
