/**
 * Decides, packet by packet, what becomes of a new connection to a VIP. Policy only: packets come
 * as records (packet-word.ts) and leave with a verdict; what has to be done to the kernel is asked
 * of a SteeringKernel.
 *
 *   first queue     the first packet of a connection           -> an endpoint, reject or drop
 *   answers queue   a SYN that nobody has answered, again      -> another endpoint
 *                   a RST or ICMP error that refuses a connect -> another endpoint, the refusal held back
 *                   an ICMP error that refuses a datagram      -> the next one goes to another endpoint
 *   no packet       an endpoint silent for longer than usual   -> another endpoint
 *
 * Nothing here throws, logs or waits, and a first packet puts nothing on the heap, as
 * perf/micro/steering.mjs shows; but for session affinity, which has the client's address as text. What
 * looks odd is for that: V8 puts a number that is no signed 32-bit integer on the heap where it is an argument or
 * a result of a function that it does not inline, so times and marks go through typed arrays and fields.
 */
import type { Endpoint } from '../../model/endpoint.js'
import { needsMasquerade, type MasqueradeInput } from '../../model/masquerade.js'
import type { ServicePortState } from '../../model/snapshot.js'
import type { SourceKind } from '../../model/vip.js'
import { equalAddresses, isInRanges, type RangeWords } from '../../packet/address-words.js'
import { ConntrackWord } from '../../packet/conntrack-word.js'
import { type MarkLayout, markOf, slotOf } from '../../packet/mark-layout.js'
import {
  Hook,
  IpProtocol,
  isSyn,
  PacketFlag,
  PacketWord,
  TcpFlag,
  Verdict,
} from '../../packet/packet-word.js'
import type { EndpointPicker } from '../../policy/endpoint-picker.js'
import { CurrentConnection } from './current-connection.js'
import type { FlowTable } from './flow-table.js'
import { type SteeringCounters, Total } from './steering-counters.js'
import type { SteeredConnections } from './steered-connections.js'
import type { FlowLog } from './steered-log.js'
import { endpointBits, isUnreachable } from './refused-datagram.js'
import type { SteeredEndpoint } from './steered-port.js'
import { Trials } from './trials.js'
import { UnansweredSyns } from './unanswered-syns.js'
import { isAllowed, type VipEntry, type VipTable } from './vip-table.js'

/** What steering asks of the kernel. Neither may throw. */
export interface SteeringKernel {
  /** Deletes the conntrack entry with this original 5-tuple (FlowTable.readTuple). */
  deleteEntry(family: number, tuple: Uint32Array): void
  /** Sends a SYN again, as it was. */
  sendAgain(syn: Uint8Array): void
}

/** Where clients are, by address. */
export interface SteeringSources {
  /** Ranges of the local detector. */
  readonly pods: readonly RangeWords[]
  /** Addresses of this node. */
  readonly node: readonly RangeWords[]
}

export interface SteeringOptions {
  readonly layout: MarkLayout
  readonly picker: EndpointPicker
  readonly vips: VipTable
  readonly flows: FlowTable
  readonly counters: SteeringCounters
  readonly kernel: SteeringKernel
  /** Number of the answers queue. */
  readonly answersQueue: number
  /** Endpoints tried for one connection, 1..10. */
  readonly attempts: number
  /** Whether sendAgain works; without it a refusal cannot be held back. */
  readonly canSendAgain: boolean
  readonly masqueradeAll: boolean
  /** Told of verdicts and of the time. */
  readonly connections?: Pick<SteeredConnections, 'steered' | 'tick'>
  readonly log?: FlowLog
}

/** The moment of the batch. Asked for, and no argument: a number would be put on the heap. */
export interface SteeringClock {
  /** Milliseconds. */
  nowMs(): number
}

const MASQUERADED = { masquerade: true }
const PLAIN = { masquerade: false }

/** A client repeats an unanswered SYN after this (RFC 6298): a flow forgotten sooner is not retried. */
const SYN_REPEAT_MS = 1000
/** A SYN that comes again sooner than this was on the way already when the verdict fell. */
const MIN_REPEAT_MS = 300
/** Datagrams of one socket that come this close together are of one flow. */
const SAME_FLOW_MS = 1000
/** A datagram that comes this soon after the refusal of the one before goes to another endpoint. */
const REFUSED_MS = 3000

const SOURCES: readonly SourceKind[] = ['other', 'pod', 'node']

export class Steering {
  readonly #options: SteeringOptions
  readonly #current = new CurrentConnection()
  readonly #tuple = new Uint32Array(10)
  #sources: SteeringSources = { pods: [], node: [] }
  /** What is asked about masquerading: one object for all. */
  readonly #packet: { -readonly [Key in keyof MasqueradeInput]: MasqueradeInput[Key] }
  readonly #trials: Trials
  readonly #unanswered: UnansweredSyns
  /** The packet at hand. */
  #records: Uint32Array = new Uint32Array()
  #base = 0
  #copies: Uint8Array = new Uint8Array()
  readonly #time = new Float64Array(1)

  constructor(options: SteeringOptions) {
    this.#options = options
    this.#unanswered = new UnansweredSyns(options.flows.atMs)
    this.#trials = new Trials(options.flows, options.picker)
    this.#packet = {
      servicePort: { externalPolicyLocal: false },
      kind: 'cluster-ip',
      source: 'other',
      isHairpin: false,
      options: { masqueradeAll: options.masqueradeAll, hasLocalDetector: false },
    }
  }

  setSources(sources: SteeringSources, hasLocalDetector: boolean): void {
    this.#sources = sources
    this.#packet.options = { masqueradeAll: this.#options.masqueradeAll, hasLocalDetector }
  }

  /** Writes the verdict of the packet at `base`. `copies` holds its bytes, as the record says. */
  decide(records: Uint32Array, base: number, copies: Uint8Array, clock: SteeringClock): void {
    this.#records = records
    this.#base = base
    this.#copies = copies
    this.#time[0] = clock.nowMs()
    const flags = this.#word(PacketWord.flags)
    if (this.#word(PacketWord.queue) === this.#options.answersQueue) {
      this.#decideAnswer()
    } else if ((flags & PacketFlag.hasPorts) === 0) {
      this.#pass()
    } else {
      this.#decideFirst()
    }
  }

  /** To be called about once a second. */
  tick(nowMs: number): void {
    this.#options.connections?.tick(nowMs)
    this.#trials.settle(nowMs)
  }

  /** SYNs that may become overdue. */
  get unanswered(): number {
    return this.#unanswered.size
  }

  /** A conntrack event: the connection of this entry has had its SYN answered. */
  answered(records: Uint32Array, base: number, clock: SteeringClock): void {
    const { flows, vips, picker, layout } = this.#options
    const place = flows.findEntry(records, base)
    if (place < 0 || flows.isAnswered[place] === 1) return
    const slot = flows.lastSlot(place)
    if (slotOf(layout, records[base + ConntrackWord.mark] ?? 0) !== slot) return
    flows.isAnswered[place] = 1
    const vip = vips.byId(flows.vip[place] ?? -1)
    const endpoint = vip === undefined ? undefined : vips.endpointAt(vip, slot)
    if (vip === undefined || endpoint === undefined) return
    picker.latency(vip.port.id, endpoint, clock.nowMs() - (flows.atMs[place] ?? 0))
    if (!picker.isFailing(vip.port.id, endpoint)) return
    const source = SOURCES[flows.source[place] ?? 0] ?? 'other'
    picker.answered(this.#connection(vip, source, place), endpoint)
  }

  /** Events were lost: who has answered is not known any more. */
  forgetUnanswered(): void {
    this.#unanswered.clear()
  }

  /**
   * Sends SYNs to another endpoint whose endpoint has been silent for too long. To be called a few times a
   * second, and right after all events were taken in: an entry is deleted whose SYN nobody has answered.
   */
  retryOverdue(nowMs: number): void {
    const { flows, vips, counters, canSendAgain } = this.#options
    this.#time[0] = nowMs
    const isWaiting = (place: number, sentMs: number): boolean =>
      flows.atMs[place] === sentMs && flows.isAnswered[place] === 0
    for (const place of this.#unanswered.takeOverdue(nowMs, isWaiting)) {
      const vip = vips.byId(flows.vip[place] ?? -1)
      if (vip === undefined) continue
      counters.add(Total.overdueSyns)
      this.#failed(place, vip)
      if (canSendAgain) this.#retry(place, vip, { isLastResort: false })
    }
  }

  #decideFirst(): void {
    const { flows, vips, counters, log } = this.#options
    const vip = vips.find(this.#records, this.#base)
    if (vip === undefined) {
      this.#pass()
      return
    }
    const known = flows.find(this.#records, this.#base)
    if (known >= 0 && this.#isSameFlow(known, vip)) {
      counters.add(Total.repeatedVerdicts)
      this.#steer(flows.mark[known] ?? 0)
      return
    }
    if (!isAllowed(vip, this.#records, this.#base)) {
      this.#drop()
      return
    }
    const oldest = known < 0 ? flows.oldest : -1
    if (oldest >= 0 && this.#nowMs - (flows.atMs[oldest] ?? 0) < SYN_REPEAT_MS)
      counters.add(Total.flowsForgotten)
    const place = this.#wasRefused(known, vip) ? known : flows.add(this.#records, this.#base)
    flows.vip[place] = vip.id
    flows.source[place] = this.#sourceOf()
    flows.atMs[place] = this.#nowMs
    const mark = this.#pick(place, vip, this.#records, this.#base + PacketWord.source)
    log?.first(place, vip, mark === 0)
    if (mark === 0) {
      this.#drop()
      return
    }
    flows.mark[place] = mark
    this.#keepSyn(place)
    if (this.#isSynPacket()) this.#watch(place, vip)
    this.#steer(mark)
  }

  /**
   * Whether a packet belongs to a flow that has its verdict already: a datagram that waited in the
   * queue with the first one, the SYN of a connection that is being sent to another endpoint.
   */
  #isSameFlow(place: number, vip: VipEntry): boolean {
    const { flows, layout, vips } = this.#options
    if (flows.vip[place] !== vip.id || flows.mark[place] === 0) return false
    if (this.#word(PacketWord.protocol) === IpProtocol.tcp) {
      if (flows.sequence[place] !== this.#word(PacketWord.tcpSequence)) return false
    } else if (this.#nowMs - (flows.atMs[place] ?? 0) > SAME_FLOW_MS) return false
    const isRejected = ((flows.mark[place] ?? 0) & layout.rejectBit) !== 0
    return isRejected || vips.endpointAt(vip, flows.lastSlot(place)) !== undefined
  }

  /** Whether it is a flow of datagrams that was refused just now, and that has somewhere else to go. */
  #wasRefused(place: number, vip: VipEntry): boolean {
    const { flows, vips, attempts } = this.#options
    if (place < 0 || flows.vip[place] !== vip.id || flows.mark[place] !== 0) return false
    if (this.#word(PacketWord.protocol) === IpProtocol.tcp) return false
    const tried = flows.attempts[place] ?? 0
    const most = Math.min(attempts, vips.unpacked(vip).endpoints.length)
    return tried > 0 && tried < most && this.#nowMs - (flows.atMs[place] ?? 0) < REFUSED_MS
  }

  /** Bits of the mark for the flow's next endpoint, or the reject bit; 0 to drop it. */
  #pick(place: number, vip: VipEntry, words: Uint32Array, at: number): number {
    const { flows, picker, vips, layout, counters } = this.#options
    const source = SOURCES[flows.source[place] ?? 0] ?? 'other'
    const state = vips.unpacked(vip)
    const connection = this.#connection(vip, source, place)
    connection.words = words
    connection.at = at
    const picked = picker.choose(connection, triedOf(flows, place, state))
    if (picked === 'reject') return layout.rejectBit
    if (typeof picked === 'string') return 0
    const endpoint = picked as SteeredEndpoint
    flows.tried(place, endpoint.slot)
    const { slot } = endpoint
    counters.steered[slot] = (counters.steered[slot] ?? 0) + 1
    this.#options.connections?.steered(slot)
    picker.connected(connection, endpoint)
    if (this.#tuple[9] !== IpProtocol.tcp) {
      flows.setStart(place, endpointBits(endpoint.words, 0, endpoint.port))
    }
    if (picker.isFailing(connection.servicePortId, endpoint)) {
      this.#trials.add(connection, endpoint, place, this.#nowMs)
    }
    const packet = this.#packet
    packet.servicePort = state.servicePort
    packet.kind = vip.kind
    packet.source = source
    packet.isHairpin = equalAddresses(words, at, endpoint.words, 0)
    return markOf(layout, slot, needsMasquerade(packet) ? MASQUERADED : PLAIN)
  }

  #connection(vip: VipEntry, source: SourceKind, place: number): CurrentConnection {
    const { flows } = this.#options
    const connection = this.#current
    flows.readTuple(place, this.#tuple)
    connection.servicePortId = vip.port.id
    connection.kind = vip.kind
    connection.source = source
    connection.family = flows.family[place] ?? 4
    connection.clientPort = (this.#tuple[8] ?? 0) >>> 16
    connection.words = this.#tuple
    connection.at = 0
    return connection
  }

  #decideAnswer(): void {
    const flags = this.#word(PacketWord.flags)
    const tcpFlags = this.#word(PacketWord.tcpFlags)
    if ((flags & PacketFlag.hasTcp) !== 0 && (tcpFlags & TcpFlag.rst) !== 0) {
      this.#decideReset()
    } else if ((flags & PacketFlag.hasInner) !== 0) {
      this.#decideUnreachable()
    } else if ((flags & PacketFlag.hasTcp) !== 0 && isSyn(tcpFlags)) {
      this.#decideRepeat()
    }
    // Everything else keeps the verdict that it came with: accept.
  }

  /** A SYN that its client sends again: nobody has answered the one before. */
  #decideRepeat(): void {
    const { flows, vips, counters } = this.#options
    const vip = vips.find(this.#records, this.#base)
    if (vip === undefined) return
    let place = flows.find(this.#records, this.#base)
    if (place >= 0 && this.#nowMs - (flows.atMs[place] ?? 0) < MIN_REPEAT_MS) return
    counters.add(Total.unansweredSyns)
    const isKnown = place >= 0 && flows.vip[place] === vip.id
    if (isKnown) this.#failed(place, vip)
    if (!isKnown || flows.sequence[place] !== this.#word(PacketWord.tcpSequence)) {
      // Steered before we were started, or longer ago than we remember: whose fault, nobody knows.
      // Or its client has given up and begins anew from the same port.
      place = flows.add(this.#records, this.#base)
      flows.vip[place] = vip.id
      flows.source[place] = this.#sourceOf()
    }
    this.#keepSyn(place)
    if (this.#retry(place, vip, { isLastResort: true })) this.#hold()
  }

  /** The endpoint's RST: to the SYN when it acknowledges exactly that (RFC 9293, 3.10.7.1). */
  #decideReset(): void {
    const sequence = (this.#word(PacketWord.tcpAcknowledged) - 1) >>> 0
    const port = this.#word(PacketWord.destinationPort)
    const at = this.#base + PacketWord.destination
    const place = this.#options.flows.findByStart(this.#records, at, port, sequence)
    if (place >= 0) this.#refused(place)
  }

  /** An ICMP error about a SYN or a datagram: nobody is there, or somebody on the way says no. */
  #decideUnreachable(): void {
    if (this.#word(PacketWord.innerProtocol) !== IpProtocol.tcp) {
      this.#decideRefusedDatagram()
      return
    }
    const port = this.#word(PacketWord.innerSourcePort)
    const sequence = this.#word(PacketWord.innerTcpSequence)
    const at = this.#base + PacketWord.innerSource
    const place = this.#options.flows.findByStart(this.#records, at, port, sequence)
    if (place >= 0) this.#refused(place)
  }

  /** The client may be told: what it sends next goes to another endpoint. */
  #decideRefusedDatagram(): void {
    const { flows, vips, counters, kernel } = this.#options
    if (!isUnreachable(this.#records, this.#base)) return
    const [at, to] = [this.#base + PacketWord.innerSource, this.#base + PacketWord.innerDestination]
    const bits = endpointBits(this.#records, to, this.#word(PacketWord.innerDestinationPort))
    const clientPort = this.#word(PacketWord.innerSourcePort)
    const place = flows.findByStart(this.#records, at, clientPort, bits)
    if (place < 0 || flows.mark[place] === 0) return
    const vip = vips.byId(flows.vip[place] ?? -1)
    if (vip === undefined) return
    counters.add(Total.refusals)
    this.#failed(place, vip)
    flows.mark[place] = 0
    flows.atMs[place] = this.#nowMs
    flows.readTuple(place, this.#tuple)
    kernel.deleteEntry(flows.family[place] ?? 4, this.#tuple)
  }

  #refused(place: number): void {
    const { flows, vips, counters } = this.#options
    const vip = vips.byId(flows.vip[place] ?? -1)
    if (vip === undefined) return
    counters.add(Total.refusals)
    this.#failed(place, vip)
    const { canSendAgain } = this.#options
    if (canSendAgain && this.#retry(place, vip, { isLastResort: true })) this.#hold()
  }

  #failed(place: number, vip: VipEntry): void {
    const { flows, picker, counters, vips } = this.#options
    const slot = flows.lastSlot(place)
    if (slot === 0) return
    counters.failures[slot] = (counters.failures[slot] ?? 0) + 1
    const endpoint = vips.endpointAt(vip, slot)
    const source = SOURCES[flows.source[place] ?? 0] ?? 'other'
    if (endpoint) picker.connectFailed(this.#connection(vip, source, place), endpoint)
  }

  /** Notes a SYN that is on its way to an endpoint of which is known how fast it answers. */
  #watch(place: number, vip: VipEntry): void {
    const { flows, vips, picker } = this.#options
    const endpoint = vips.endpointAt(vip, flows.lastSlot(place))
    const patienceMs = endpoint && picker.patienceMs(vip.port.id, endpoint)
    if (patienceMs !== undefined) this.#unanswered.add(place, patienceMs)
  }

  /**
   * Steers the flow to an endpoint that has not been tried and sends its SYN there; false: there is none,
   * and with `isLastResort` its client will notice.
   */
  #retry(place: number, vip: VipEntry, { isLastResort }: { isLastResort: boolean }): boolean {
    const { flows, kernel, counters, attempts, layout, log, canSendAgain } = this.#options
    const slot = flows.lastSlot(place)
    const syn = flows.syn(place)
    let mark = 0
    if (syn !== undefined && (flows.attempts[place] ?? 0) < attempts) {
      flows.readTuple(place, this.#tuple)
      mark = this.#pick(place, vip, this.#tuple, 0)
    }
    if (syn === undefined || mark === 0 || mark === layout.rejectBit) {
      if (!isLastResort) return false
      counters.add(Total.exhausted)
      counters.exhausted[slot] = (counters.exhausted[slot] ?? 0) + 1
      log?.exhausted(place)
      return false
    }
    counters.add(Total.retries)
    counters.retries[slot] = (counters.retries[slot] ?? 0) + 1
    flows.mark[place] = mark
    flows.atMs[place] = this.#nowMs
    flows.readTuple(place, this.#tuple)
    log?.again(place, vip)
    kernel.deleteEntry(flows.family[place] ?? 4, this.#tuple)
    // Else its client sends it: without an entry it comes up as a first packet, and gets this verdict.
    if (canSendAgain) kernel.sendAgain(syn)
    this.#watch(place, vip)
    return true
  }

  #sourceOf(): number {
    const family = this.#word(PacketWord.family)
    const at = this.#base + PacketWord.source
    if (isInRanges(this.#sources.pods, family, this.#records, at)) return SOURCES.indexOf('pod')
    const isOwn =
      this.#word(PacketWord.hook) === Hook.output ||
      isInRanges(this.#sources.node, family, this.#records, at)
    return SOURCES.indexOf(isOwn ? 'node' : 'other')
  }

  #steer(mark: number): void {
    const { layout, counters } = this.#options
    const own = this.#word(PacketWord.mark)
    this.#records[this.#base + PacketWord.verdict] = Verdict.acceptMarked
    this.#records[this.#base + PacketWord.verdictMark] = (own & ~layout.mask) | mark
    counters.add((mark & layout.rejectBit) === 0 ? Total.steered : Total.rejected)
  }

  #pass(): void {
    this.#records[this.#base + PacketWord.verdict] = Verdict.accept
    this.#options.counters.add(Total.passed)
  }

  #drop(): void {
    this.#records[this.#base + PacketWord.verdict] = Verdict.drop
    this.#options.counters.add(Total.dropped)
  }

  /** Dropped too, but no client is turned away by it. */
  #hold(): void {
    this.#records[this.#base + PacketWord.verdict] = Verdict.drop
  }

  #isSynPacket(): boolean {
    return (
      this.#word(PacketWord.protocol) === IpProtocol.tcp && isSyn(this.#word(PacketWord.tcpFlags))
    )
  }

  #keepSyn(place: number): void {
    if (!this.#isSynPacket()) return
    if ((this.#word(PacketWord.flags) & PacketFlag.isTruncated) !== 0) return
    const length = this.#word(PacketWord.copyLength)
    this.#options.flows.keepSyn(place, this.#copies, this.#word(PacketWord.copyOffset), length)
  }

  get #nowMs(): number {
    return this.#time[0] ?? 0
  }

  #word(word: number): number {
    return this.#records[this.#base + word] ?? 0
  }
}

const NONE: readonly Endpoint[] = []

function triedOf(flows: FlowTable, place: number, state: ServicePortState): readonly Endpoint[] {
  const attempts = flows.attempts[place] ?? 0
  if (attempts === 0) return NONE
  const slots = flows.slotsOf(place)
  return state.endpoints.filter((endpoint) => slots.includes((endpoint as SteeredEndpoint).slot))
}
