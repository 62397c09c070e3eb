/**
 * The connections that were steered last, and what became of them so far: enough to give the same
 * verdict to packets of one 5-tuple that wait in the queue together, and to try another endpoint
 * when one does not answer. Not a table of all connections: that is the kernel's.
 *
 * A ring of fixed size. A new flow takes the place of the oldest one, which has long been answered
 * then, or given up; with 16,384 places and 10,000 connections a second that is after 1.6 s, and a
 * client repeats an unanswered SYN after 1 s (RFC 6298). Nothing is allocated per flow.
 *
 *   #byTuple   5-tuple                              -> place
 *   #byStart   client address, port and TCP ISN     -> place   (what a RST or ICMP error tells us; UDP and
 *              SCTP: 32 bits of the endpoint in place of the ISN)
 */
import { ConntrackWord } from '../../packet/conntrack-word.js'
import { IpProtocol, PacketWord } from '../../packet/packet-word.js'
import { FlowIndex } from './flow-index.js'

const TUPLE_WORDS = 10
const START_WORDS = 6
/** Endpoints that one connection may be sent to, at most. */
export const MAX_ATTEMPTS = 10
/** Bytes of a SYN that are kept; a longer one (TCP Fast Open with data) cannot be sent again. */
export const SYN_BYTES = 256

export class FlowTable {
  readonly capacity: number
  readonly #byTuple: FlowIndex
  readonly #byStart: FlowIndex
  readonly #isUsed: Uint8Array
  readonly #syns: Uint8Array
  readonly #synWords: Uint32Array
  /** Where SYNs come from, the whole buffer by words. */
  #copies: Uint32Array = new Uint32Array()
  readonly #synLengths: Uint16Array
  /** Scratch for keys that are looked up. */
  readonly #tuple = new Uint32Array(TUPLE_WORDS)
  readonly #start = new Uint32Array(START_WORDS)
  #next = 0
  #overwritten = 0

  /** 4 or 6. */
  readonly family: Uint8Array
  /** When the first packet came, or the last retry was made; milliseconds. */
  readonly atMs: Float64Array
  /** TCP: sequence number of the SYN. */
  readonly sequence: Uint32Array
  /** Verdict as bits of the connection mark; 0 until there is one. */
  readonly mark: Uint32Array
  /** Index of the VIP entry that it came to. */
  readonly vip: Int32Array
  /** Index of the source kind. */
  readonly source: Uint8Array
  /** Slots that it was steered to: `attempts` of them, from place * MAX_ATTEMPTS on. */
  readonly slots: Uint32Array
  readonly attempts: Uint8Array
  /** 1: its SYN has been answered, as far as it was sent last. */
  readonly isAnswered: Uint8Array

  constructor(capacity: number) {
    this.capacity = capacity
    this.#byTuple = new FlowIndex(TUPLE_WORDS, capacity)
    this.#byStart = new FlowIndex(START_WORDS, capacity)
    this.#isUsed = new Uint8Array(capacity)
    this.#syns = new Uint8Array(capacity * SYN_BYTES)
    this.#synWords = new Uint32Array(this.#syns.buffer)
    this.#synLengths = new Uint16Array(capacity)
    this.family = new Uint8Array(capacity)
    this.atMs = new Float64Array(capacity)
    this.sequence = new Uint32Array(capacity)
    this.mark = new Uint32Array(capacity)
    this.vip = new Int32Array(capacity)
    this.source = new Uint8Array(capacity)
    this.slots = new Uint32Array(capacity * MAX_ATTEMPTS)
    this.attempts = new Uint8Array(capacity)
    this.isAnswered = new Uint8Array(capacity)
  }

  get size(): number {
    return this.#byTuple.size
  }

  /** Flows that made room for newer ones. */
  get overwritten(): number {
    return this.#overwritten
  }

  /** The place of the flow that the next new one replaces; -1: there is room. */
  get oldest(): number {
    return this.#isUsed[this.#next] === 1 ? this.#next : -1
  }

  /** The flow with the 5-tuple of the packet at `base` of `records`, or -1. */
  find(records: Uint32Array, base: number): number {
    this.#tupleOf(records, base)
    return this.#byTuple.get(this.#tuple)
  }

  /** The flow with the original 5-tuple of the conntrack entry at `base` of `records`, or -1. */
  findEntry(records: Uint32Array, base: number): number {
    const key = this.#tuple
    for (let i = 0; i < 8; i++) key[i] = records[base + ConntrackWord.source + i] ?? 0
    const sourcePort = records[base + ConntrackWord.sourcePort] ?? 0
    key[8] = (sourcePort << 16) | (records[base + ConntrackWord.destinationPort] ?? 0)
    key[9] = records[base + ConntrackWord.protocol] ?? 0
    return this.#byTuple.get(key)
  }

  /**
   * The flow whose SYN a refusal answers: its client's address (4 words of `words` from `at` on),
   * port, and the SYN's sequence number; or -1.
   */
  findByStart(words: Uint32Array, at: number, port: number, sequence: number): number {
    this.#startOf(words, at, port, sequence)
    return this.#byStart.get(this.#start)
  }

  /** Adds a flow for the packet, or takes the one of its 5-tuple anew. Returns its place. */
  add(records: Uint32Array, base: number): number {
    this.#tupleOf(records, base)
    let place = this.#byTuple.get(this.#tuple)
    if (place < 0) {
      place = this.#next
      this.#next = place + 1 === this.capacity ? 0 : place + 1
      if (this.#isUsed[place] === 1) this.#overwritten++
      this.#byTuple.set(this.#tuple, place)
    }
    // What it had before, as another flow or as this one with another sequence number.
    this.#byStart.delete(place)
    this.#isUsed[place] = 1
    this.#synLengths[place] = 0
    this.attempts[place] = 0
    this.isAnswered[place] = 0
    this.mark[place] = 0
    this.family[place] = records[base + PacketWord.family] ?? 0
    this.sequence[place] = records[base + PacketWord.tcpSequence] ?? 0
    if (records[base + PacketWord.protocol] === IpProtocol.tcp) this.#addStart(records, base, place)
    return place
  }

  /** Keeps the copy of the SYN for sending it again; one that is too long is not kept. */
  keepSyn(place: number, copies: Uint8Array, offset: number, length: number): void {
    if (length > SYN_BYTES) return
    this.#synLengths[place] = length
    const start = copies.byteOffset + offset
    const words = (length + 3) >> 2
    if ((start & 3) !== 0 || start + words * 4 > copies.buffer.byteLength) {
      for (let i = 0; i < length; i++) this.#syns[place * SYN_BYTES + i] = copies[offset + i] ?? 0
      return
    }
    // By words, as what queues deliver can be read: a byte at a time takes a tenth of the verdict.
    if (this.#copies.buffer !== copies.buffer) {
      this.#copies = new Uint32Array(copies.buffer, 0, copies.buffer.byteLength >> 2)
    }
    const at = (place * SYN_BYTES) >> 2
    for (let i = 0; i < words; i++) this.#synWords[at + i] = this.#copies[(start >> 2) + i] ?? 0
  }

  /** A copy of the SYN that was kept, or undefined. */
  syn(place: number): Uint8Array | undefined {
    const length = this.#synLengths[place] ?? 0
    return length === 0
      ? undefined
      : this.#syns.slice(place * SYN_BYTES, place * SYN_BYTES + length)
  }

  /** Notes that the flow is steered to a slot now. At most MAX_ATTEMPTS are remembered. */
  tried(place: number, slot: number): void {
    const attempts = this.attempts[place] ?? 0
    if (attempts >= MAX_ATTEMPTS) return
    this.slots[place * MAX_ATTEMPTS + attempts] = slot
    this.attempts[place] = attempts + 1
    this.isAnswered[place] = 0
  }

  /** The slot that it was steered to last; 0 for none. */
  lastSlot(place: number): number {
    const attempts = this.attempts[place] ?? 0
    return attempts === 0 ? 0 : (this.slots[place * MAX_ATTEMPTS + attempts - 1] ?? 0)
  }

  /** The slots that it was steered to, in order. */
  slotsOf(place: number): readonly number[] {
    const at = place * MAX_ATTEMPTS
    return [...this.slots.subarray(at, at + (this.attempts[place] ?? 0))]
  }

  /** Writes the 5-tuple: source, destination (4 words each), ports (source << 16 | destination), protocol. */
  readTuple(place: number, into: Uint32Array): void {
    this.#byTuple.read(place, into)
  }

  /** What a flow without sequence numbers is found by, beside its client's address and port: see findByStart. */
  setStart(place: number, bits: number): void {
    this.#byTuple.read(place, this.#tuple)
    this.#startOf(this.#tuple, 0, (this.#tuple[8] ?? 0) >>> 16, bits)
    this.#byStart.set(this.#start, place)
  }

  #addStart(records: Uint32Array, base: number, place: number): void {
    const port = records[base + PacketWord.sourcePort] ?? 0
    // Signed: no number on the heap. In the key it is the same word.
    const sequence = (records[base + PacketWord.tcpSequence] ?? 0) | 0
    this.#startOf(records, base + PacketWord.source, port, sequence)
    this.#byStart.set(this.#start, place)
  }

  #tupleOf(records: Uint32Array, base: number): void {
    const key = this.#tuple
    for (let i = 0; i < 8; i++) key[i] = records[base + PacketWord.source + i] ?? 0
    const sourcePort = records[base + PacketWord.sourcePort] ?? 0
    key[8] = (sourcePort << 16) | (records[base + PacketWord.destinationPort] ?? 0)
    key[9] = records[base + PacketWord.protocol] ?? 0
  }

  #startOf(words: Uint32Array, at: number, port: number, sequence: number): void {
    const key = this.#start
    for (let i = 0; i < 4; i++) key[i] = words[at + i] ?? 0
    key[4] = port
    key[5] = sequence
  }
}
