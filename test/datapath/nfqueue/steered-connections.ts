import fc from 'fast-check'
import t from 'tap'
import { SteeredConnections } from '../../../src/datapath/nfqueue/steered-connections.js'

const SLOTS = 4

function setUp() {
  const kernel = new Int32Array(SLOTS)
  const told = new Int32Array(SLOTS)
  const connections = new SteeredConnections(kernel, {
    opened: (slot) => told[slot]!++,
    closed: (slot) => told[slot]!--,
  })
  const announce = (slot: number) => {
    kernel[slot]!++
    connections.opened(slot)
  }
  const end = (slot: number) => {
    if (kernel[slot] === 0) return
    kernel[slot]!--
    connections.closed(slot)
  }
  const of = (slot: number) => connections.of('', { slot })
  return { connections, announce, end, told, of }
}

t.test('a verdict counts at once, and its event does not count again', async (t) => {
  const { connections, announce, end, told, of } = setUp()
  connections.steered(1)
  t.equal(told[1], 1)
  t.equal(of(1), 1)
  announce(1)
  t.equal(told[1], 1)
  t.equal(of(1), 1)
  end(1)
  t.equal(told[1], 0)
  t.equal(of(1), 0)
})

t.test('a connection that was there before us counts by its event', async (t) => {
  const { announce, told, of } = setUp()
  announce(2)
  t.equal(told[2], 1)
  t.equal(of(2), 1)
})

t.test('a verdict without an event is given up after one to two seconds', async (t) => {
  const { connections, told, of } = setUp()
  connections.tick(0)
  connections.steered(1)
  connections.tick(500)
  connections.tick(1000)
  t.equal(told[1], 1)
  connections.tick(2000)
  t.equal(told[1], 0)
  t.equal(of(1), 0)
})

t.test('what balancers are told is what is open, under any order of events', async () => {
  const step = fc.tuple(
    fc.integer({ min: 0, max: SLOTS - 1 }),
    fc.constantFrom('steer', 'announce', 'end', 'tick'),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { connections, announce, end, told, of } = setUp()
      let nowMs = 0
      for (const [slot, what] of steps) {
        if (what === 'steer') connections.steered(slot)
        else if (what === 'announce') announce(slot)
        else if (what === 'end') end(slot)
        else connections.tick((nowMs += 1000))
        for (let i = 0; i < SLOTS; i++) if (told[i] !== of(i) || told[i]! < 0) return false
      }
      return true
    }),
  )
})
