/**
 * What the steering thread does all day: waits for packets, connection-tracking events, chunks of a
 * dump, and messages of the main thread, and serves them in this order of urgency.
 *
 *   packets   whenever there are some, a batch at a time
 *   events    when no packet waits, and after BATCHES in a row: they are only counts
 *   messages  likewise, when the main thread has rung; not more than MESSAGES in a row
 *   dump      one chunk when nothing else waits
 *
 * The thread blocks in poll(2) and has no event loop: from the packet's arrival to its verdict there
 * is one wake-up. After a batch it looks again for a moment before it sleeps, as long as that pays:
 * waking a thread costs more than a decision.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import type { ConntrackDump, ConntrackEvents } from '../../kernel/conntrack-table.js'
import type { PacketQueue } from '../../kernel/packet-queue.js'
import type { SteadyClock } from '../../kernel/steady-clock.js'
import { waitReadable, type WakeUp } from '../../kernel/wait.js'
import { CONNTRACK_WORDS, ConntrackType, ConntrackWord } from '../../packet/conntrack-word.js'
import { TcpState } from '../../packet/tcp-state.js'
import { PACKET_WORDS } from '../../packet/packet-word.js'
import type { ConnectionCounts } from './connection-counts.js'
import type { Steering } from './steering.js'
import { type SteeringCounters, Total } from './steering-counters.js'

export interface SteeringLoopOptions {
  readonly queue: PacketQueue
  readonly events: ConntrackEvents
  readonly wakeUp: WakeUp
  readonly steering: Steering
  readonly counts: ConnectionCounts
  readonly counters: SteeringCounters
  /** Read for each batch, and after each wait. */
  readonly clock: Pick<SteadyClock, 'read' | 'nowMs'>
  /** Begins a dump of a family's connections. */
  readonly dumpOf: (family: IpFamily) => ConntrackDump
  /** Takes one message in; false when there is none. */
  readonly takeMessage: () => boolean
  /** An event, besides being counted. */
  readonly onEvent?: (records: Uint32Array, base: number) => void
  /** An entry of a dump, besides being counted. */
  readonly onEntry: (records: Uint32Array, base: number) => void
  readonly onDumpEnd: () => void
  /** About once a second. */
  readonly onTick?: () => void
}

const FAMILIES: readonly IpFamily[] = ['IPv4', 'IPv6']
const MESSAGES = 8
/** Batches served before the rest gets its turn while packets never cease. */
const BATCHES = 8
/** Batches of events taken in a row at the end of a dump. */
const LAST_EVENTS = 64
const TICK_MS = 1000
/** How often SYNs that nobody has answered are looked at, while there are some. */
const OVERDUE_MS = 50
/** A sweep of the counts, against whatever drift there may be. */
const RESYNC_MS = 300_000
/** Looks at the queue before going to sleep: some 30 µs. */
const SPINS = 60
/** Looking is given up when it fails this much more often than it succeeds. */
const MIN_SPIN_SCORE = -64
const SPIN_GAIN = 1
const SPIN_LOSS = 3

/** An event that says that the SYN of a connection has been answered. */
function isAnswer(records: Uint32Array, base: number): boolean {
  return (
    records[base + ConntrackWord.tcpState] === TcpState.synReceived &&
    records[base + ConntrackWord.type] === ConntrackType.update
  )
}

const QUEUE = 1
const EVENTS = 2
const WAKE_UP = 4

export class SteeringLoop {
  readonly #options: SteeringLoopOptions
  readonly #fds: Int32Array
  readonly #fdsWithDump: Int32Array
  #dump: ConntrackDump | undefined
  /** Families that are still to be dumped. */
  #toDump: IpFamily[] = []
  #isDumping = false
  #isStopping = false
  #spinScore = 0
  /** Batches since the rest had its turn. */
  #batches = 0
  #nextTickMs = 0
  #nextOverdueMs = 0
  #nextResyncMs: number

  constructor(options: SteeringLoopOptions) {
    this.#options = options
    const { queue, events, wakeUp, clock } = options
    this.#fds = Int32Array.of(queue.fd, events.fd, wakeUp.fd)
    this.#fdsWithDump = Int32Array.of(queue.fd, events.fd, wakeUp.fd, -1)
    clock.read()
    this.#nextResyncMs = clock.nowMs() + RESYNC_MS
  }

  /** Counts all connections anew. */
  resync(): void {
    const { counts, counters } = this.#options
    this.#dump?.close()
    this.#isDumping = true
    this.#nextResyncMs = this.#options.clock.nowMs() + RESYNC_MS
    counters.add(Total.resyncs)
    counts.beginDump()
    this.#toDump = [...FAMILIES]
    this.#startDump()
  }

  /** Ends `run` after the batch at hand; it may be run again. */
  stop(): void {
    this.#isStopping = true
  }

  /** Runs until stop() is called by a message. Blocks the thread. */
  run(): void {
    while (!this.#isStopping) {
      const ready = this.#serveQueue() ? this.#turn() : this.#wait()
      if ((ready & EVENTS) !== 0) this.#serveEvents()
      if ((ready & WAKE_UP) !== 0) this.#serveMessages()
      if (this.#isDumping) this.#serveDump()
      if (this.#options.steering.unanswered > 0) this.#serveOverdue()
      this.#tick()
    }
    // What waits is decided still: the kernel drops it when the queue is closed.
    while (this.#serveQueue());
    this.#isStopping = false
  }

  /** Decides one batch; false when there was none. */
  #serveQueue(): boolean {
    const { queue, steering, counters, clock } = this.#options
    const count = queue.receive()
    if (count === 0) return false
    clock.read()
    counters.beginBatch(clock)
    const { records, copies } = queue
    for (let i = 0; i < count; i++) steering.decide(records, i * PACKET_WORDS, copies, clock)
    queue.answer(count)
    clock.read()
    counters.endBatch(clock, count)
    return true
  }

  /**
   * What to look at after a batch, unasked. Mostly nothing: to look takes system calls, which cost as
   * much as the decision did, and poll(2) tells it as soon as no packet waits. A dump needs its events
   * in time, though, or what they tell counts twice.
   */
  #turn(): number {
    this.#batches = (this.#batches + 1) % BATCHES
    return this.#isDumping || this.#batches === 0 ? EVENTS | WAKE_UP : 0
  }

  #wait(): number {
    if (this.#spinScore > MIN_SPIN_SCORE) {
      for (let i = 0; i < SPINS; i++) {
        if (!this.#serveQueue()) continue
        this.#spinScore = Math.min(0, this.#spinScore + SPIN_GAIN)
        return this.#turn()
      }
      this.#spinScore -= SPIN_LOSS
    }
    const isIdle = this.#spinScore <= MIN_SPIN_SCORE
    const dumpFd = this.#dump?.fd
    if (dumpFd === undefined) return this.#poll(this.#fds, isIdle)
    this.#fdsWithDump[3] = dumpFd
    return this.#poll(this.#fdsWithDump, isIdle)
  }

  #poll(fds: Int32Array, isIdle: boolean): number {
    const ready = waitReadable(fds, this.#options.steering.unanswered > 0 ? OVERDUE_MS : TICK_MS)
    this.#options.clock.read()
    // Worth another try now and then: the load may be another one by now.
    if (isIdle && (ready & QUEUE) !== 0) this.#spinScore++
    return ready
  }

  /** How many there were; undefined when some were lost, and the counting begun anew. */
  #serveEvents(): number | undefined {
    const { events, counts, counters, steering, clock, onEvent } = this.#options
    const count = events.receive()
    if (count === 'lost') {
      counters.add(Total.eventOverruns)
      steering.forgetUnanswered()
      this.resync()
      return undefined
    }
    const { records } = events
    for (let i = 0; i < count; i++) {
      const base = i * CONNTRACK_WORDS
      counts.event(records, base)
      if (isAnswer(records, base)) steering.answered(records, base, clock)
      onEvent?.(records, base)
    }
    counters.add(Total.events, count)
    return count
  }

  #serveMessages(): void {
    const { wakeUp, takeMessage } = this.#options
    wakeUp.clear()
    for (let i = 0; i < MESSAGES; i++) if (!takeMessage()) return
    // There may be more: packets first.
    wakeUp.signal()
  }

  #startDump(): void {
    const family = this.#toDump.shift()
    this.#dump = family === undefined ? undefined : this.#options.dumpOf(family)
  }

  /**
   * All has been read. Events that wait may be of before that: they belong to the dump, or what the
   * dump knows already would count twice.
   */
  #endDump(): void {
    for (let i = 0; i < LAST_EVENTS; i++) {
      const count = this.#serveEvents()
      if (count === undefined) return
      if (count > 0) continue
      this.#isDumping = false
      this.#options.counts.endDump()
      this.#options.onDumpEnd()
      return
    }
  }

  #serveDump(): void {
    const { counts, onEntry } = this.#options
    const dump = this.#dump
    if (dump === undefined) {
      this.#endDump()
      return
    }
    const count = dump.receive()
    if (typeof count !== 'number') {
      dump.close()
      this.#startDump()
      if (this.#dump === undefined) this.#endDump()
      return
    }
    for (let i = 0; i < count; i++) {
      counts.entry(dump.records, i * CONNTRACK_WORDS)
      onEntry(dump.records, i * CONNTRACK_WORDS)
    }
  }

  /** Not before every event was taken in: an answer may be among them. */
  #serveOverdue(): void {
    const { steering, clock } = this.#options
    if (clock.nowMs() < this.#nextOverdueMs) return
    this.#nextOverdueMs = clock.nowMs() + OVERDUE_MS
    for (let i = 0; i < LAST_EVENTS; i++) {
      const count = this.#serveEvents()
      if (count === undefined) return
      if (count > 0) continue
      steering.retryOverdue(clock.nowMs())
      return
    }
  }

  #tick(): void {
    const now = this.#options.clock.nowMs()
    if (now < this.#nextTickMs) return
    this.#nextTickMs = now + TICK_MS
    this.#options.steering.tick(now)
    this.#options.onTick?.()
    if (now >= this.#nextResyncMs && !this.#isDumping) this.resync()
  }
}
