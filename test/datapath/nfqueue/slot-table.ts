import fc from 'fast-check'
import t from 'tap'

import { commentOf, SlotTable } from '../../../src/datapath/nfqueue/slot-table.js'
import { endpoint } from '../../fixtures/endpoint.js'

const ECHO = 'demo/echo/TCP/IPv4'
const OTHER = 'demo/other/TCP/IPv4'
const V6 = 'demo/echo/TCP/IPv6'
const [a, b, c, d] = [1, 2, 3, 4].map((last) => endpoint(`10.1.0.${last}`))
const nobody = () => false
const left = (slot: number, { id, ip, port } = a!, comment = ECHO) => ({
  slot,
  ip,
  port,
  comment,
  id,
})

t.test('an endpoint keeps its slot as long as it is there', async (t) => {
  const slots = new SlotTable(100, nobody)
  const first = slots.assign(ECHO, [a!, b!])
  t.strictSame(first, {
    added: [
      { slot: 1, ip: '10.1.0.1', port: 80, comment: ECHO },
      { slot: 2, ip: '10.1.0.2', port: 80, comment: ECHO },
    ],
    removed: [],
  })
  t.strictSame(slots.assign(ECHO, [a!, b!]), { added: [], removed: [] })
  const next = slots.assign(ECHO, [b!, c!])
  t.strictSame([next.added.map(({ slot }) => slot), next.removed], [[3], [1]])
  t.strictSame(
    [a!, b!, c!].map(({ id }) => slots.slotOf(ECHO, id)),
    [undefined, 2, 3],
  )
  t.equal(slots.size, 2)
})

t.test('the same endpoint has a slot for each Service port', async (t) => {
  const slots = new SlotTable(100, nobody)
  slots.assign(ECHO, [a!])
  slots.assign(OTHER, [a!])
  t.not(slots.slotOf(ECHO, a!.id), slots.slotOf(OTHER, a!.id))
  t.strictSame([...slots.servicePortIds()], [ECHO, OTHER])
  t.strictSame(slots.assign(ECHO, []), { added: [], removed: [1] })
  t.strictSame([...slots.servicePortIds()], [OTHER])
  t.strictSame(slots.assign('demo/unknown/TCP/IPv4', []), { added: [], removed: [] })
})

t.test('a slot comes back as late as possible', async (t) => {
  const slots = new SlotTable(3, nobody)
  const taken: (number | undefined)[] = []
  for (let round = 0; round < 5; round++) {
    slots.assign(ECHO, [a!])
    taken.push(slots.slotOf(ECHO, a!.id))
    slots.free(slots.assign(ECHO, []).removed)
  }
  t.strictSame(taken, [1, 2, 3, 1, 2])
})

t.test('a slot that connections still carry is not given out', async (t) => {
  const inUse = new Set([1, 3])
  const slots = new SlotTable(4, (slot) => inUse.has(slot))
  slots.assign(ECHO, [a!, b!, c!])
  t.strictSame(
    [a!, b!, c!].map(({ id }) => slots.slotOf(ECHO, id)),
    [2, 4, undefined],
  )
  inUse.delete(3)
  const { added } = slots.assign(ECHO, [a!, b!, c!])
  t.strictSame(
    added.map(({ slot }) => slot),
    [3],
    'once it is free, the endpoint without one gets it',
  )
})

t.test('a full table leaves out what does not fit, and keeps the rest', async (t) => {
  const slots = new SlotTable(2, nobody)
  t.equal(slots.assign(ECHO, [a!, b!, c!]).added.length, 2)
  t.equal(slots.slotOf(ECHO, c!.id), undefined)
  t.equal(slots.size, slots.capacity)
  t.strictSame(slots.assign(OTHER, [d!]), { added: [], removed: [] })
  const { removed } = slots.assign(ECHO, [b!])
  t.equal(slots.slotOf(ECHO, b!.id), 2)
  t.strictSame(slots.assign(OTHER, [d!]).added, [], 'its element is still in the kernel')
  slots.free(removed)
  t.equal(slots.assign(OTHER, [d!]).added[0]?.slot, 1)
  t.equal(slots.size, 2)
})

t.test('what an earlier process left goes to the same endpoints', async (t) => {
  const slots = new SlotTable(100, nobody)
  slots.adopt([left(7), left(9, b), left(8, a, OTHER)])
  t.strictSame(slots.assign(ECHO, [a!, c!]), {
    added: [
      { slot: 7, ip: '10.1.0.1', port: 80, comment: ECHO },
      { slot: 10, ip: '10.1.0.3', port: 80, comment: ECHO },
    ],
    removed: [],
  })
  const unclaimed = slots.releaseUnclaimed()
  t.strictSame(unclaimed.map(({ slot }) => slot).sort(), [8, 9])
  t.strictSame(slots.releaseUnclaimed(), [], 'once')
  slots.assign(OTHER, [a!])
  t.equal(slots.slotOf(OTHER, a!.id), 11, 'adoption is over')
})

t.test('nothing that was left is given to others, until it is freed', async (t) => {
  const slots = new SlotTable(3, nobody)
  slots.adopt([left(1), left(3, b)])
  slots.assign(OTHER, [c!, d!])
  t.strictSame(
    [c!, d!].map(({ id }) => slots.slotOf(OTHER, id)),
    [2, undefined],
  )
  const unclaimed = slots.releaseUnclaimed().map(({ slot }) => slot)
  t.strictSame(slots.assign(OTHER, [c!, d!]).added, [])
  slots.free(unclaimed)
  t.equal(slots.assign(OTHER, [c!, d!]).added.length, 1)
})

t.test('leftovers that cannot be right: no slot of ours, a slot twice', async (t) => {
  const slots = new SlotTable(10, nobody)
  slots.adopt([left(0), left(11), left(4), left(4, b)])
  slots.assign(ECHO, [a!, b!])
  t.equal(slots.slotOf(ECHO, a!.id), 4)
  t.equal(slots.slotOf(ECHO, b!.id), 5)
  t.strictSame(slots.releaseUnclaimed(), [])
})

t.test('an endpoint that was left with two slots keeps one, the other is released', async (t) => {
  const slots = new SlotTable(10, nobody)
  slots.adopt([left(4), left(6)])
  slots.assign(ECHO, [a!])
  t.equal(slots.slotOf(ECHO, a!.id), 4)
  t.strictSame(slots.releaseUnclaimed(), [
    { slot: 6, ip: '10.1.0.1', port: 80, comment: ECHO, id: a!.id },
  ])
})

t.test('the elements of a family, to fill a map anew', async (t) => {
  const slots = new SlotTable(10, nobody)
  slots.assign(ECHO, [a!])
  slots.assign(V6, [endpoint('fd00::1', 8080)])
  t.strictSame(slots.elements('IPv4'), [{ slot: 1, ip: '10.1.0.1', port: 80, comment: ECHO }])
  t.strictSame(slots.elements('IPv6'), [{ slot: 2, ip: 'fd00::1', port: 8080, comment: V6 }])
})

t.test('comments of long names are short, and differ when the names do', async (t) => {
  const name = (length: number, end: string) => `${'n'.repeat(length - end.length)}${end}`
  t.equal(commentOf(name(120, '/TCP/IPv4')), name(120, '/TCP/IPv4'))
  const long = commentOf(name(121, '/TCP/IPv4'))
  t.equal(long.length, 120)
  t.match(long, /^n+~[0-9a-f]{16}\/TCP\/IPv4$/)
  t.equal(commentOf(name(121, '/TCP/IPv4')), long)
  t.not(commentOf(name(121, '/UDP/IPv4')), long)
  const slots = new SlotTable(10, nobody)
  const longest = name(200, '/TCP/IPv4')
  slots.adopt([left(7, a, commentOf(longest))])
  t.equal(slots.assign(longest, [a!]).added[0]?.slot, 7, 'found by it after a restart')
})

interface Step {
  readonly port: number
  readonly endpoints: readonly number[]
  /** Slots that connections carry then. */
  readonly inUse: readonly number[]
  readonly isFreed: boolean
}

const step: fc.Arbitrary<Step> = fc.record({
  port: fc.integer({ min: 1, max: 3 }),
  endpoints: fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 5 }),
  inUse: fc.array(fc.integer({ min: 1, max: 8 }), { maxLength: 3 }),
  isFreed: fc.boolean(),
})

t.test('whatever happens, no slot has two meanings', async (t) => {
  const holds = (steps: readonly Step[]): void => {
    let inUse: readonly number[] = []
    const slots = new SlotTable(8, (slot) => inUse.includes(slot))
    /** What the kernel's map has: slot to endpoint. */
    const kernel = new Map<number, string>()
    let removed: number[] = []
    for (const step of steps) {
      inUse = step.inUse
      const endpoints = step.endpoints.map((last) => endpoint(`10.1.0.${last}`))
      const changes = slots.assign(`demo/${step.port}/TCP/IPv4`, endpoints)
      for (const { slot, ip } of changes.added) {
        if (kernel.has(slot) || inUse.includes(slot)) throw new Error(`${slot} is taken`)
        kernel.set(slot, ip)
      }
      removed.push(...changes.removed)
      if (step.isFreed) {
        for (const slot of removed) kernel.delete(slot)
        slots.free(removed)
        removed = []
      }
      const elements = slots.elements('IPv4')
      if (elements.length !== slots.size) throw new Error(`size ${slots.size}`)
      if (elements.length + removed.length !== kernel.size) throw new Error('not what the map has')
      for (const { slot, ip } of elements) {
        if (kernel.get(slot) !== ip) throw new Error(`${slot} leads elsewhere`)
      }
    }
  }
  t.doesNotThrow(() => {
    fc.assert(fc.property(fc.array(step, { maxLength: 30 }), holds), { numRuns: 300 })
  })
})

t.test('it knows when an endpoint has no slot, and when all have one again', async (t) => {
  const slots = new SlotTable(1, nobody)
  slots.assign(ECHO, [a!, b!])
  t.notOk(slots.isComplete)
  const seen: [string, number][] = []
  slots.visit(ECHO, (id, slot) => seen.push([id, slot]))
  t.strictSame(seen, [[a!.id, 1]])
  t.strictSame(slots.assign(ECHO, [b!]).removed, [1])
  slots.free([1])
  slots.assign(ECHO, [b!])
  t.ok(slots.isComplete)
  t.equal(slots.slotOf(ECHO, b!.id), 1)
})
