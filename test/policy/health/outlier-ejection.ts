import fc from 'fast-check'
import t from 'tap'
import { OutlierEjection } from '../../../src/policy/health/outlier-ejection.js'
import { endpoint } from '../../fixtures/endpoint.js'

const [a, b, c] = ['10.1.0.1', '10.1.0.2', '10.1.0.3'].map((ip) => endpoint(ip))

t.test('an endpoint that failed is passed over for a second', async (t) => {
  const ejection = new OutlierEjection()
  t.strictSame(ejection.toAvoid(3, 0), [])
  ejection.failed(a!, 0)
  t.strictSame(ejection.toAvoid(3, 999), [a])
})

t.test('then one connection tries it, and the others wait for how it goes', async (t) => {
  const ejection = new OutlierEjection()
  ejection.failed(a!, 0)
  t.strictSame(ejection.toAvoid(3, 1000), [], 'the one that tries')
  t.strictSame(ejection.toAvoid(3, 1001), [a], 'the next')
  ejection.succeeded(a!, 1002)
  t.strictSame(ejection.toAvoid(3, 1002), [])
})

t.test('each further failure doubles the time, up to 30 s', async (t) => {
  const ejection = new OutlierEjection()
  let nowMs = 0
  ejection.failed(a!, nowMs)
  for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
    t.strictSame(ejection.toAvoid(3, nowMs + seconds * 1000 - 1), [a], `${seconds} s`)
    nowMs += seconds * 1000
    t.strictSame(ejection.toAvoid(3, nowMs), [])
    nowMs += seconds * 1000
    ejection.failed(a!, nowMs)
  }
})

t.test('one that flaps is out for longer each time, and forgiven when it stays', async (t) => {
  const ejection = new OutlierEjection()
  let nowMs = 0
  for (const seconds of [1, 2, 4, 8]) {
    ejection.failed(a!, nowMs)
    t.strictSame(ejection.toAvoid(3, nowMs + seconds * 1000 - 1), [a], `${seconds} s`)
    ejection.succeeded(a!, nowMs + seconds * 1000)
    nowMs += seconds * 1000 + 100
  }
  nowMs += 60_000
  ejection.failed(a!, nowMs)
  t.strictSame(ejection.toAvoid(3, nowMs + 999), [a])
  t.strictSame(ejection.toAvoid(3, nowMs + 1000), [], 'a second, as at first')
})

t.test('failures of connections under way together count once', async (t) => {
  const told: unknown[] = []
  const ejection = new OutlierEjection(undefined, ({ ip }, isEjected) => told.push([ip, isEjected]))
  for (let i = 0; i < 100; i++) ejection.failed(a!, i)
  t.strictSame(ejection.toAvoid(3, 1000), [])
  ejection.succeeded(a!, 1001)
  ejection.succeeded(a!, 1002)
  t.strictSame(told, [
    ['10.1.0.1', true],
    ['10.1.0.1', false],
  ])
})

t.test('never more than the share is passed over, but one where there are two', async (t) => {
  const ejection = new OutlierEjection()
  for (const one of [a!, b!, c!]) ejection.failed(one, 0)
  t.equal(ejection.toAvoid(3, 1).length, 1)
  t.equal(ejection.toAvoid(2, 1).length, 1)
  t.equal(ejection.toAvoid(1, 1).length, 0)
  const careful = new OutlierEjection({
    baseMs: 1000,
    maxMs: 1000,
    maxPercent: 10,
    patienceMs: 0,
    byDefault: true,
  })
  for (const one of [a!, b!, c!]) careful.failed(one, 0)
  t.equal(careful.toAvoid(3, 1).length, 1)
  t.equal(careful.toAvoid(30, 1).length, 3)
  const never = new OutlierEjection({
    baseMs: 1000,
    maxMs: 1000,
    maxPercent: 0,
    patienceMs: 0,
    byDefault: true,
  })
  never.failed(a!, 0)
  t.equal(never.toAvoid(3, 1).length, 0)
})

t.test('an endpoint that has gone is forgotten', async (t) => {
  const ejection = new OutlierEjection()
  ejection.failed(a!, 0)
  ejection.retain([b!])
  t.strictSame(ejection.toAvoid(3, 1), [])
  t.equal(ejection.has(a!), false)
})

t.test('in any order of events: told in turns, never over the share', async () => {
  const event = fc.record({ which: fc.nat(2), fails: fc.boolean(), afterMs: fc.nat(5000) })
  fc.assert(
    fc.property(fc.array(event), (events) => {
      const told = new Map<string, boolean>()
      let isFine = true
      const ejection = new OutlierEjection(undefined, ({ id }, isEjected) => {
        if ((told.get(id) ?? false) === isEjected) isFine = false
        told.set(id, isEjected)
      })
      let nowMs = 0
      for (const { which, fails, afterMs } of events) {
        nowMs += afterMs
        const one = [a!, b!, c!][which]!
        if (fails) ejection.failed(one, nowMs)
        else ejection.succeeded(one, nowMs)
        if (ejection.toAvoid(3, nowMs).length > 1) isFine = false
        if (ejection.has(one) !== (told.get(one.id) ?? false)) isFine = false
      }
      return isFine
    }),
  )
})
