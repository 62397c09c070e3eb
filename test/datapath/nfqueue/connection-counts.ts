import fc from 'fast-check'
import t from 'tap'

import { ConnectionCounts } from '../../../src/datapath/nfqueue/connection-counts.js'
import { CONNTRACK_WORDS, ConntrackType } from '../../../src/packet/conntrack-word.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../../src/packet/mark-layout.js'
import { IpProtocol } from '../../../src/packet/packet-word.js'
import { TCP_FLAG_CLOSE_INIT, TcpState } from '../../../src/packet/tcp-state.js'
import { conntrackRecord } from '../../fixtures/conntrack-record.js'

const layout = markLayoutOf(DEFAULT_MARK_MASK)
const { new: isNew, update, destroy, entry } = ConntrackType
const { synSent, synReceived, established, finWait, closeWait, lastAck, timeWait, close } = TcpState

interface Connection {
  readonly slot?: number
  readonly client?: number
  readonly protocol?: number
  readonly isAnswered?: boolean
}

class Bench {
  readonly open = new Int32Array(10)
  /** `+3` and `-3`, as the listener is told. */
  readonly told: string[] = []
  readonly counts = new ConnectionCounts(layout, this.open, {
    opened: (slot) => this.told.push(`+${slot}`),
    closed: (slot) => this.told.push(`-${slot}`),
  })

  tell(type: number, connection: Connection = {}, state: number = TcpState.none, flags = 0): void {
    const base = CONNTRACK_WORDS
    const records = new Uint32Array(CONNTRACK_WORDS * 2)
    records.set(conntrackRecord({ type, ...connection, state, flags }), base)
    if (type === entry) this.counts.entry(records, base)
    else this.counts.event(records, base)
  }
}

/** How a TCP connection may end, and after which of the events it does not count any more. */
const ENDINGS: readonly {
  readonly name: string
  readonly events: readonly (readonly [type: number, state: number, flags?: number])[]
  readonly outAfter: number
}[] = [
  {
    name: 'both sides send a FIN',
    events: [
      [update, finWait, TCP_FLAG_CLOSE_INIT],
      [update, closeWait, TCP_FLAG_CLOSE_INIT],
      [update, lastAck, TCP_FLAG_CLOSE_INIT],
      [update, timeWait, TCP_FLAG_CLOSE_INIT],
      [destroy, timeWait],
    ],
    outAfter: 4,
  },
  {
    // Two packets on two processors: the kernel reports the later state only.
    name: 'nothing is seen before TIME_WAIT, which is seen twice',
    events: [
      [update, timeWait, TCP_FLAG_CLOSE_INIT],
      [update, timeWait, TCP_FLAG_CLOSE_INIT],
      [destroy, timeWait],
    ],
    outAfter: 1,
  },
  {
    name: 'a RST after TIME_WAIT',
    events: [
      [update, timeWait, TCP_FLAG_CLOSE_INIT],
      [update, close, TCP_FLAG_CLOSE_INIT],
      [destroy, close],
    ],
    outAfter: 1,
  },
  {
    name: 'a FIN, and then a RST',
    events: [
      [update, finWait, TCP_FLAG_CLOSE_INIT],
      [update, close, TCP_FLAG_CLOSE_INIT],
      [destroy, close],
    ],
    outAfter: 2,
  },
  {
    name: 'a FIN and a RST, of which only the RST is seen',
    events: [
      [update, close, TCP_FLAG_CLOSE_INIT],
      [destroy, close],
    ],
    outAfter: 1,
  },
  {
    name: 'half closed until the time-out',
    events: [
      [update, finWait, TCP_FLAG_CLOSE_INIT],
      [destroy, closeWait, TCP_FLAG_CLOSE_INIT],
    ],
    outAfter: 2,
  },
  {
    name: 'a RST',
    events: [
      [update, close],
      [destroy, close],
    ],
    outAfter: 1,
  },
  { name: 'nobody answers the SYN', events: [[destroy, synSent]], outAfter: 1 },
  { name: 'half open until the time-out', events: [[destroy, synReceived]], outAfter: 1 },
  {
    name: 'idle until the time-out, or deleted',
    events: [
      [update, established],
      [destroy, established],
    ],
    outAfter: 2,
  },
]

t.test('a TCP connection is counted out exactly once', async (t) => {
  for (const { name, events, outAfter } of ENDINGS) {
    const bench = new Bench()
    bench.tell(isNew, {}, synSent)
    bench.tell(isNew, { client: 2 }, synSent)
    t.equal(bench.open[3], 2)
    for (const [index, [type, state, flags]] of events.entries()) {
      bench.tell(type, {}, state, flags)
      t.equal(bench.open[3], index + 1 < outAfter ? 2 : 1, `${name}: event ${index + 1}`)
    }
    t.strictSame(bench.told, ['+3', '+3', '-3'], name)
  }
})

t.test('a connect that is refused is counted out when its entry goes', async (t) => {
  // The kernel removes it at once, and tells of no CLOSE before.
  const bench = new Bench()
  bench.tell(isNew, { isAnswered: false }, synSent)
  bench.tell(destroy, { isAnswered: false }, close)
  t.strictSame(bench.told, ['+3', '-3'])
  t.equal(bench.open[3], 0)
})

t.test('the ports of a connection that has ended are used again', async (t) => {
  const bench = new Bench()
  bench.tell(isNew, {}, synSent)
  bench.tell(update, {}, timeWait, TCP_FLAG_CLOSE_INIT)
  // The kernel replaces an entry in TIME_WAIT; what tells of its end may come late.
  bench.tell(isNew, {}, synSent)
  bench.tell(destroy, {}, timeWait)
  bench.tell(update, {}, timeWait, TCP_FLAG_CLOSE_INIT)
  t.strictSame(bench.told, ['+3', '-3', '+3', '-3'])
})

t.test('of thousands that end each is counted out', async (t) => {
  const bench = new Bench()
  for (let round = 0; round < 2; round++) {
    for (let client = 1; client <= 10_000; client++) {
      bench.tell(isNew, { client }, synSent)
      bench.tell(update, { client }, timeWait, TCP_FLAG_CLOSE_INIT)
      bench.tell(update, { client }, close, TCP_FLAG_CLOSE_INIT)
    }
    t.equal(bench.open[3], 0)
  }
  t.equal(bench.told.length, 40_000)
})

t.test('a UDP or SCTP flow is open while it has an entry', async (t) => {
  for (const protocol of [IpProtocol.udp, IpProtocol.sctp]) {
    const bench = new Bench()
    bench.tell(isNew, { protocol })
    bench.tell(update, { protocol }, finWait)
    t.equal(bench.open[3], 1, 'there is no TCP state in it, whatever stands in its place')
    bench.tell(destroy, { protocol }, close)
    t.equal(bench.open[3], 0)
  }
})

t.test('connections that are not of ours do not count', async (t) => {
  const bench = new Bench()
  bench.tell(isNew, { slot: 0 }, synSent)
  bench.tell(destroy, { slot: 0 }, synSent)
  bench.counts.beginDump()
  bench.tell(entry, { slot: 0 }, established)
  bench.counts.endDump()
  t.strictSame([...bench.open], Array(10).fill(0))
  t.strictSame(bench.told, [])
})

t.test('an end without a beginning does not go below zero', async (t) => {
  const bench = new Bench()
  bench.tell(update, {}, timeWait, TCP_FLAG_CLOSE_INIT)
  bench.tell(destroy, {}, established)
  t.equal(bench.open[3], 0)
  t.strictSame(bench.told, [])
})

t.test('a dump makes up for what was lost', async (t) => {
  const bench = new Bench()
  for (const client of [1, 2, 3]) bench.tell(isNew, { client }, synSent)
  bench.counts.beginDump()
  bench.tell(entry, { client: 3 }, established)
  bench.tell(entry, { client: 4, slot: 5 }, synSent)
  bench.tell(entry, { client: 5, slot: 5 }, timeWait)
  bench.tell(entry, { client: 6, slot: 5, protocol: IpProtocol.udp })
  t.equal(bench.open[3], 3, 'the old counts are in force')
  bench.counts.endDump()
  t.strictSame([bench.open[3], bench.open[5]], [1, 2])
  t.strictSame(bench.told.slice(3).sort(), ['+5', '+5', '-3', '-3'])
})

t.test('what an event says stands against the dump', async (t) => {
  const bench = new Bench()
  bench.counts.beginDump()
  bench.tell(isNew, { client: 1 }, synSent)
  bench.tell(entry, { client: 1 }, synSent)
  bench.tell(destroy, { client: 2 }, established)
  bench.tell(entry, { client: 2 }, established)
  bench.tell(entry, { client: 3 }, established)
  bench.tell(update, { client: 3 }, timeWait, TCP_FLAG_CLOSE_INIT)
  bench.tell(isNew, { client: 4 }, synSent)
  bench.counts.endDump()
  t.equal(bench.open[3], 2)
})

t.test(
  'outside of a dump its calls do nothing; a dump that is begun again starts anew',
  async (t) => {
    const bench = new Bench()
    bench.tell(isNew, {}, synSent)
    bench.tell(entry, { client: 2 }, established)
    bench.counts.endDump()
    t.equal(bench.open[3], 1)
    bench.counts.beginDump()
    bench.tell(entry, { client: 2 }, established)
    bench.counts.beginDump()
    bench.tell(entry, { client: 3 }, established)
    bench.counts.endDump()
    t.equal(bench.open[3], 1)
  },
)

interface Step {
  readonly kind: 'new' | 'end' | 'destroy' | 'lose' | 'begin' | 'entry' | 'finish'
  readonly client: number
  readonly slot: number
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('new', 'end', 'destroy', 'lose', 'begin', 'entry', 'finish'),
  client: fc.integer({ min: 1, max: 6 }),
  slot: fc.integer({ min: 1, max: 3 }),
})

/** A kernel with one connection for each client at most, and a dump that reads it in any order. */
class ModelKernel {
  readonly #bench: Bench
  readonly #table = new Map<number, { slot: number; isOpen: boolean }>()
  /** Clients whose entry the dump has not come by yet. */
  #unread: Set<number> | undefined
  isExact = true

  constructor(bench: Bench) {
    this.#bench = bench
  }

  run({ kind, client, slot }: Step): void {
    const known = this.#table.get(client)
    if (kind === 'begin') this.#begin()
    else if (kind === 'finish') this.#finish()
    else if (kind === 'entry') this.#read(client)
    else if (kind === 'new') {
      if (known !== undefined) return
      this.#table.set(client, { slot, isOpen: true })
      this.#bench.tell(isNew, { client, slot }, synSent)
    } else if (known === undefined) return
    else if (kind === 'end') {
      if (!known.isOpen) return
      known.isOpen = false
      this.#bench.tell(update, { client, slot: known.slot }, timeWait, TCP_FLAG_CLOSE_INIT)
    } else {
      this.#table.delete(client)
      const state = known.isOpen ? established : timeWait
      // Events that are lost are lost before a dump, not under it: that one would be begun again.
      if (kind === 'destroy' || this.#unread !== undefined) {
        this.#bench.tell(destroy, { client, slot: known.slot }, state)
      } else if (known.isOpen) this.isExact = false
    }
  }

  expected(): number[] {
    const counts = Array<number>(10).fill(0)
    for (const { slot, isOpen } of this.#table.values()) {
      if (isOpen) counts[slot] = (counts[slot] ?? 0) + 1
    }
    return counts
  }

  #begin(): void {
    this.#unread = new Set([1, 2, 3, 4, 5, 6])
    this.#bench.counts.beginDump()
  }

  #read(client: number): void {
    if (this.#unread?.delete(client) !== true) return
    const known = this.#table.get(client)
    if (known === undefined) return
    const state = known.isOpen ? established : timeWait
    this.#bench.tell(entry, { client, slot: known.slot }, state)
  }

  #finish(): void {
    if (this.#unread === undefined) return
    for (const client of this.#unread) this.#read(client)
    this.#unread = undefined
    this.#bench.counts.endDump()
    this.isExact = true
  }
}

t.test('whatever comes in between, a dump is exact, and so is what follows', async (t) => {
  const holds = (steps: readonly Step[]): void => {
    const bench = new Bench()
    const kernel = new ModelKernel(bench)
    for (const one of steps) {
      kernel.run(one)
      const open = [...bench.open]
      if (open.some((count) => count < 0)) throw new Error(`negative: ${open.join()}`)
      const expected = kernel.expected()
      if (kernel.isExact && open.join() !== expected.join()) {
        throw new Error(`${open.join()} instead of ${expected.join()}`)
      }
      const told = open.map(
        (_, slot) =>
          bench.told.filter((one) => one === `+${slot}`).length -
          bench.told.filter((one) => one === `-${slot}`).length,
      )
      if (told.join() !== open.join()) throw new Error(`the listener has ${told.join()}`)
    }
  }
  t.doesNotThrow(() => {
    fc.assert(fc.property(fc.array(step, { maxLength: 80 }), holds), { numRuns: 300 })
  })
})
