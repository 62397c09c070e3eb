import fc from 'fast-check'
import t from 'tap'

import { FlowTable, MAX_ATTEMPTS, SYN_BYTES } from '../../../src/datapath/nfqueue/flow-table.js'
import { addressWords } from '../../../src/packet/address-words.js'
import { PacketWord } from '../../../src/packet/packet-word.js'
import { datagramRecord, type PacketRecord, synRecord } from '../../fixtures/packet-record.js'

const add = (flows: FlowTable, { records, base }: PacketRecord) => flows.add(records, base)
const find = (flows: FlowTable, { records, base }: PacketRecord) => flows.find(records, base)
const findByStart = (flows: FlowTable, { records, base }: PacketRecord) =>
  flows.findByStart(
    records,
    base + PacketWord.source,
    records[base + PacketWord.sourcePort] ?? 0,
    records[base + PacketWord.tcpSequence] ?? 0,
  )

t.test('a flow is found by its 5-tuple and nothing less', async (t) => {
  const flows = new FlowTable(8)
  t.equal(find(flows, synRecord()), -1)
  const place = add(flows, synRecord())
  t.equal(find(flows, synRecord({ sequence: 5 })), place)
  const others: Readonly<Record<string, PacketRecord>> = {
    'another client': synRecord({ from: '10.0.0.6:40000' }),
    'another client port': synRecord({ from: '10.0.0.5:40001' }),
    'another VIP': synRecord({ to: '10.96.0.11:80' }),
    'another port': synRecord({ to: '10.96.0.10:81' }),
    'ports the other way round': synRecord({ from: '10.0.0.5:80', to: '10.96.0.10:40000' }),
    'another protocol': datagramRecord(),
  }
  for (const [name, packet] of Object.entries(others)) t.equal(find(flows, packet), -1, name)
  t.equal(flows.size, 1)
})

t.test('a TCP flow is found by what a refusal says of it', async (t) => {
  const flows = new FlowTable(8)
  const client = addressWords('10.0.0.5')
  const place = add(flows, synRecord())
  t.equal(flows.findByStart(client, 0, 40_000, 1000), place)
  t.equal(flows.findByStart(client, 0, 40_000, 1001), -1, 'another sequence number')
  t.equal(flows.findByStart(client, 0, 40_001, 1000), -1, 'another port')
  t.equal(flows.findByStart(addressWords('10.0.0.6'), 0, 40_000, 1000), -1, 'another client')
  add(flows, datagramRecord({ from: '10.0.0.7:1' }))
  t.equal(flows.findByStart(addressWords('10.0.0.7'), 0, 1, 0), -1, 'UDP')
})

t.test('the same 5-tuple again takes its place anew', async (t) => {
  const flows = new FlowTable(8)
  const place = add(flows, synRecord())
  flows.tried(place, 7)
  flows.mark[place] = 0x700
  flows.keepSyn(place, new Uint8Array([1, 2]), 0, 2)
  t.equal(add(flows, synRecord({ sequence: 2000 })), place)
  t.equal(flows.size, 1)
  t.equal(flows.overwritten, 0)
  t.match(
    [flows.attempts[place], flows.lastSlot(place), flows.mark[place], flows.sequence[place]],
    [0, 0, 0, 2000],
  )
  t.equal(flows.syn(place), undefined, "the old connection's SYN is not kept")
  const client = addressWords('10.0.0.5')
  t.equal(flows.findByStart(client, 0, 40_000, 1000), -1, 'a refusal of the old one')
  t.equal(flows.findByStart(client, 0, 40_000, 2000), place)
})

t.test('a full table overwrites the oldest flow', async (t) => {
  const flows = new FlowTable(3)
  const packets = [1, 2, 3, 4, 5].map((port) =>
    synRecord({ from: `10.0.0.5:${port}`, sequence: port }),
  )
  for (const packet of packets) add(flows, packet)
  const found = packets.map((packet) => [find(flows, packet), findByStart(flows, packet)])
  t.strictSame(found, [
    [-1, -1],
    [-1, -1],
    [2, 2],
    [0, 0],
    [1, 1],
  ])
  t.equal(flows.size, 3)
  t.equal(flows.overwritten, 2)
})

t.test('one client start to two VIPs: losing one flow does not lose the other', async (t) => {
  const one = synRecord({ to: '10.96.0.10:80' })
  const other = synRecord({ to: '10.96.0.11:80' })
  for (const again of [false, true]) {
    const flows = new FlowTable(2)
    add(flows, one)
    const place = add(flows, other)
    if (again) add(flows, synRecord({ sequence: 5 }))
    else add(flows, synRecord({ from: '10.0.0.9:1' }))
    t.equal(findByStart(flows, other), place, again ? 'taken anew' : 'overwritten')
  }
})

t.test('a SYN is kept as it was; one that is too long is not', async (t) => {
  const flows = new FlowTable(4)
  const copies = Uint8Array.from({ length: 600 }, (_, index) => index & 0xff)
  const place = add(flows, synRecord())
  t.equal(flows.syn(place), undefined)
  flows.keepSyn(place, copies, 10, 60)
  t.strictSame(flows.syn(place), copies.slice(10, 70))
  copies.fill(0)
  t.equal(flows.syn(place)?.[0], 10, 'a copy')
  const next = add(flows, synRecord({ from: '10.0.0.5:2' }))
  flows.keepSyn(next, copies.fill(9), 0, SYN_BYTES)
  t.equal(flows.syn(next)?.length, SYN_BYTES)
  t.equal(flows.syn(place)?.length, 60, 'its neighbour stays')
  const long = add(flows, synRecord({ from: '10.0.0.5:3' }))
  flows.keepSyn(long, copies, 0, SYN_BYTES + 1)
  t.equal(flows.syn(long), undefined)
})

t.test('the slots that were tried, in order', async (t) => {
  const flows = new FlowTable(4)
  add(flows, synRecord())
  const place = add(flows, synRecord({ from: '10.0.0.5:2' }))
  t.equal(flows.lastSlot(place), 0)
  t.strictSame(flows.slotsOf(place), [])
  for (const slot of [5, 0xfffff, 7]) flows.tried(place, slot)
  t.strictSame(flows.slotsOf(place), [5, 0xfffff, 7])
  t.equal(flows.lastSlot(place), 7)
  for (let slot = 100; slot < 120; slot++) flows.tried(place, slot)
  t.equal(flows.slotsOf(place).length, MAX_ATTEMPTS)
  t.strictSame(flows.slotsOf(0), [], 'its neighbours have none')
  t.strictSame(flows.slotsOf(2), [])
})

t.test('the 5-tuple is read as it was', async (t) => {
  const flows = new FlowTable(4)
  const place = add(flows, synRecord({ from: '[fd00::5]:65535', to: '[fd00:96::10]:443' }))
  const tuple = new Uint32Array(10)
  flows.readTuple(place, tuple)
  t.strictSame(tuple.subarray(0, 4), addressWords('fd00::5'))
  t.strictSame(tuple.subarray(4, 8), addressWords('fd00:96::10'))
  t.strictSame([...tuple.subarray(8)], [0xffff01bb, 6])
  t.equal(flows.family[place], 6)
})

/** The same as a list: oldest first, and the simplest way to find something in it. */
class ModelFlows {
  #flows: { readonly key: string; start: string | undefined }[] = []
  /** Who had that start last. */
  #newest = new Map<string, string>()
  readonly #capacity: number

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  add(key: string, start: string | undefined): void {
    const known = this.#flows.find((flow) => flow.key === key)
    if (known !== undefined) known.start = start
    else {
      if (this.#flows.length === this.#capacity) this.#flows.shift()
      this.#flows.push({ key, start })
    }
    if (start !== undefined) this.#newest.set(start, key)
  }

  has(key: string): boolean {
    return this.#flows.some((flow) => flow.key === key)
  }

  /** Whose place a refusal of that start may lead to, where undefined stands for none. */
  allowed(start: string): readonly (string | undefined)[] {
    const keys = this.#flows.filter((flow) => flow.start === start).map(({ key }) => key)
    const newest = this.#newest.get(start)
    return newest !== undefined && keys.includes(newest) ? [newest] : [...keys, undefined]
  }
}

interface Flow {
  readonly isTcp: boolean
  readonly client: number
  readonly vip: number
  readonly sequence: number
}

const packet: fc.Arbitrary<Flow> = fc.record({
  isTcp: fc.boolean(),
  client: fc.integer({ min: 1, max: 3 }),
  vip: fc.integer({ min: 1, max: 2 }),
  sequence: fc.integer({ min: 0, max: 1 }),
})

t.test('it agrees with a simple model', async (t) => {
  const agrees = (capacity: number, packets: readonly Flow[]): void => {
    const flows = new FlowTable(capacity)
    const model = new ModelFlows(capacity)
    const byKey = new Map<string, PacketRecord>()
    const byStart = new Map<string, PacketRecord>()
    for (const { isTcp, client, vip, sequence } of packets) {
      const fields = { from: `10.0.0.${client}:1`, to: `10.96.0.${vip}:80`, sequence }
      const record = isTcp ? synRecord(fields) : datagramRecord(fields)
      const key = `${isTcp ? 'TCP' : 'UDP'} ${client} ${vip}`
      const start = `${client} ${sequence}`
      byKey.set(key, record)
      if (isTcp) byStart.set(start, record)
      add(flows, record)
      model.add(key, isTcp ? start : undefined)
      const places = new Map<number, string>()
      for (const [known, of] of byKey) {
        const place = find(flows, of)
        if (place >= 0 !== model.has(known)) throw new Error(`${known} at ${place}`)
        if (place >= 0) places.set(place, known)
      }
      for (const [known, of] of byStart) {
        const found = places.get(findByStart(flows, of))
        if (!model.allowed(known).includes(found)) throw new Error(`${known} is of ${found}`)
      }
    }
  }
  const property = fc.property(
    fc.integer({ min: 1, max: 7 }),
    fc.array(packet, { maxLength: 60 }),
    agrees,
  )
  t.doesNotThrow(() => {
    fc.assert(property, { numRuns: 300 })
  })
})
