import t from 'tap'

import { ConnectionCounts } from '../../../src/datapath/nfqueue/connection-counts.js'
import type { Steering } from '../../../src/datapath/nfqueue/steering.js'
import { SteeringCounters } from '../../../src/datapath/nfqueue/steering-counters.js'
import { SteeringLoop } from '../../../src/datapath/nfqueue/steering-loop.js'
import type { ConntrackDump, ConntrackEvents } from '../../../src/kernel/conntrack-table.js'
import type { PacketQueue } from '../../../src/kernel/packet-queue.js'
import { WakeUp } from '../../../src/kernel/wait.js'
import type { IpFamily } from '../../../src/lib/ip-address.js'
import { CONNTRACK_WORDS, ConntrackType } from '../../../src/packet/conntrack-word.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../../src/packet/mark-layout.js'
import { PACKET_WORDS } from '../../../src/packet/packet-word.js'
import { TCP_FLAG_CLOSE_INIT, TcpState } from '../../../src/packet/tcp-state.js'
import { conntrackRecord, type EntryFields } from '../../fixtures/conntrack-record.js'

type Chunk = readonly EntryFields[] | 'complete' | 'changed'

/** What each call of `receive` gives, in order; nothing once that has been read. */
interface Script {
  readonly events?: readonly (readonly EntryFields[] | 'lost')[]
  /** Of each dump of that family. */
  readonly dumps?: Partial<Record<IpFamily, readonly Chunk[]>>
  /** Calls of the queue before it is told to stop, each of which gives one packet. */
  readonly rounds?: number
  /** SYNs that nobody has answered yet, as far as steering knows. */
  readonly unanswered?: number
}

function fill(records: Uint32Array, fields: readonly EntryFields[]): number {
  for (const [i, one] of fields.entries()) records.set(conntrackRecord(one), i * CONNTRACK_WORDS)
  return fields.length
}

/** The main thread has rung, always: a loop without packets takes a message at once. */
const rung = new WakeUp()
rung.signal()
t.teardown(() => {
  rung.close()
})

/** A loop that never has to wait: there is a packet in every round, and a message at the end. */
class Bench {
  readonly counters = new SteeringCounters(10)
  readonly dumped: IpFamily[] = []
  readonly entries: number[] = []
  decided = 0
  /** What steering was told: `answer`, `overdue` to look for what is, `forget` that events were lost. */
  readonly told: string[] = []
  readonly #unanswered: number
  ends = 0
  closed = 0
  readonly #events: (readonly EntryFields[] | 'lost')[]
  readonly #dumps: NonNullable<Script['dumps']>
  #rounds: number

  constructor({ events = [], dumps = {}, rounds = 10, unanswered = 0 }: Script) {
    this.#unanswered = unanswered
    this.#events = [...events]
    this.#dumps = dumps
    this.#rounds = rounds
  }

  run(): this {
    const { counters } = this
    const layout = markLayoutOf(DEFAULT_MARK_MASK)
    const listener = { opened: () => undefined, closed: () => undefined }
    const loop = new SteeringLoop({
      queue: this.#queue(),
      events: this.#eventSocket(),
      wakeUp: { fd: rung.fd, clear: () => undefined, signal: () => undefined } as unknown as WakeUp,
      steering: {
        decide: () => this.decided++,
        tick: () => undefined,
        unanswered: this.#unanswered,
        answered: () => this.told.push('answer'),
        retryOverdue: () => this.told.push('overdue'),
        forgetUnanswered: () => this.told.push('forget'),
      } as unknown as Steering,
      counts: new ConnectionCounts(layout, counters.open, listener),
      counters,
      clock: { read: () => undefined, nowMs: () => 0 },
      dumpOf: (family) => this.#dump(family),
      takeMessage: () => {
        if (this.#rounds === 0) loop.stop()
        return false
      },
      onEntry: (records, base) => this.entries.push(records[base + 16] ?? 0),
      onDumpEnd: () => this.ends++,
    })
    loop.resync()
    loop.run()
    return this
  }

  #queue(): PacketQueue {
    const records = new Uint32Array(PACKET_WORDS)
    const receive = (): number => {
      if (this.#rounds === 0) return 0
      this.#rounds--
      return 1
    }
    return { fd: -1, records, copies: new Uint8Array(), receive, answer: () => undefined } as never
  }

  #eventSocket(): ConntrackEvents {
    const records = new Uint32Array(64 * CONNTRACK_WORDS)
    const receive = () => {
      const next = this.#events.shift() ?? []
      return next === 'lost' ? next : fill(records, next)
    }
    return { fd: -1, records, receive } as never
  }

  #dump(family: IpFamily): ConntrackDump {
    this.dumped.push(family)
    const chunks = [...(this.#dumps[family] ?? [])]
    const records = new Uint32Array(64 * CONNTRACK_WORDS)
    const receive = () => {
      const next = chunks.shift() ?? 'complete'
      return typeof next === 'string' ? next : fill(records, next)
    }
    return { fd: -1, records, receive, close: () => this.closed++ } as never
  }
}

const isNew = (client: number, slot: number): EntryFields => ({
  type: ConntrackType.new,
  client,
  slot,
  state: TcpState.synSent,
})
const isClosing = (client: number, slot: number): EntryFields => ({
  type: ConntrackType.update,
  client,
  slot,
  state: TcpState.timeWait,
  flags: TCP_FLAG_CLOSE_INIT,
})
const entry = (client: number, slot: number): EntryFields => ({
  type: ConntrackType.entry,
  client,
  slot,
  state: TcpState.established,
})

t.test('a dump counts both families, once', async (t) => {
  const bench = new Bench({
    dumps: { IPv4: [[entry(1, 1)], [entry(2, 2)]], IPv6: [[entry(3, 2)]] },
  }).run()
  t.strictSame([...bench.counters.open.subarray(0, 3)], [0, 1, 2])
  t.strictSame(bench.dumped, ['IPv4', 'IPv6'])
  t.strictSame(bench.entries, [1, 2, 3])
  t.strictSame([bench.ends, bench.closed, bench.counters.total('resyncs')], [1, 2, 1])
})

t.test('packets are decided while it goes on', async (t) => {
  const chunks = Array.from({ length: 50 }, (_, client): Chunk => [entry(client, 1)])
  const bench = new Bench({ dumps: { IPv4: chunks }, rounds: 30 }).run()
  t.equal(bench.decided, 30)
  t.equal(bench.counters.total('packets'), 30)
  t.equal(bench.ends, 0)
  t.equal(bench.counters.open[1], 0, 'what was before is in force')
})

t.test('events that still wait when it ends do not count twice', async (t) => {
  // Client 1 has closed and 2 has come before the dump passed by; their events come late.
  const bench = new Bench({
    events: [[isNew(1, 1), isNew(3, 1)], [], [], [isClosing(1, 1)], [isNew(2, 2)]],
    dumps: { IPv4: [[entry(2, 2), entry(3, 1)]] },
  }).run()
  t.strictSame([...bench.counters.open.subarray(0, 3)], [0, 1, 1])
})

t.test('events lost under a dump begin it anew, with the first family', async (t) => {
  const dumps = { IPv4: [[entry(1, 1)], [entry(2, 1)]], IPv6: [[entry(3, 1)]] }
  for (const lostAt of [0, 1, 2, 3, 4, 5]) {
    const events = [...Array<EntryFields[]>(lostAt).fill([]), 'lost' as const]
    const { counters, dumped, ends } = new Bench({ events, dumps, rounds: 20 }).run()
    t.equal(counters.total('eventOverruns'), 1)
    t.equal(dumped.slice(-2).join(), 'IPv4,IPv6', `lost at ${lostAt}`)
    t.equal(ends, 1, `lost at ${lostAt}: what was begun before does not come into force`)
    t.equal(counters.open[1], 3, `lost at ${lostAt}`)
  }
})

t.test('packets come first, but nothing waits for more than eight batches', async (t) => {
  const events = Array.from({ length: 9 }, (_, client) => [isNew(client, 1)])
  const { counters, decided } = new Bench({ events, rounds: 80 }).run()
  t.equal(decided, 80)
  // Some while the dump of the start went on, then one in eight batches, at least until the stop.
  t.equal(counters.total('events'), 9)
})

t.test('what is overdue is looked for after every event was taken in', async (t) => {
  const isAnswered = { type: ConntrackType.update, slot: 1, state: TcpState.synReceived }
  const events = [[isNew(1, 1)], [isAnswered], [isClosing(1, 1), isAnswered]]
  t.same(new Bench({ events, unanswered: 1 }).run().told, ['answer', 'answer', 'overdue'])
  t.same(new Bench({ events }).run().told, ['answer', 'answer'], 'nothing waits')
  t.same(new Bench({ events: ['lost'], unanswered: 1 }).run().told, ['forget', 'overdue'])
})
