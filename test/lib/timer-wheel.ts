import fc from 'fast-check'
import t from 'tap'
import { TimerWheel, type WheelTimer } from '../../src/lib/timer-wheel.js'
import { FakeClock } from '../fixtures/fake-clock.js'

function setUp(slots = 8) {
  const clock = new FakeClock()
  const wheel = new TimerWheel({ clock, tickMs: 10, slots })
  const startMs = clock.nowMs()
  return { clock, wheel, sinceMs: () => clock.nowMs() - startMs }
}

t.test('a timer fires at its time or within a tick after it, beyond a turn as well', async (t) => {
  const { clock, wheel, sinceMs } = setUp()
  const fired = new Map<number, number>()
  for (const delayMs of [0, 5, 10, 75, 80, 81, 333]) {
    wheel.after(delayMs, () => fired.set(delayMs, sinceMs()))
  }
  await clock.advance(1000)
  t.equal(fired.size, 7)
  for (const [delayMs, atMs] of fired) t.ok(atMs >= delayMs && atMs <= delayMs + 10, `${delayMs}`)
  t.equal(wheel.size, 0)
})

t.test('a cancelled timer does not fire; cancelling it twice does nothing', async (t) => {
  const { clock, wheel } = setUp()
  const fired: string[] = []
  const a = wheel.after(20, () => fired.push('a'))
  wheel.after(20, () => fired.push('b'))
  wheel.cancel(a)
  wheel.cancel(a)
  t.equal(wheel.size, 1)
  await clock.advance(100)
  t.strictSame(fired, ['b'])
})

t.test('a timer that fires may set others and cancel those of its slot', async (t) => {
  const { clock, wheel, sinceMs } = setUp()
  const fired: string[] = []
  const timers: WheelTimer[] = []
  for (const name of ['a', 'b', 'c']) {
    const fire = () => {
      fired.push(name)
      for (const timer of timers) wheel.cancel(timer)
      wheel.after(80, () => fired.push(`again at ${sinceMs()}`))
    }
    timers.push(wheel.after(20, fire))
  }
  await clock.advance(500)
  t.strictSame(fired, ['a', 'again at 100'])
})

t.test('after clear() nothing fires, and the wheel goes on', async (t) => {
  const { clock, wheel } = setUp()
  let count = 0
  wheel.after(20, () => count++)
  wheel.clear()
  await clock.advance(100)
  t.equal(count, 0)
  wheel.after(20, () => count++)
  await clock.advance(100)
  t.equal(count, 1)
})

t.test('any timers, any of them cancelled: the others fire once, in time', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ delayMs: fc.nat(400), atMs: fc.nat(300), isCancelled: fc.boolean() })),
      async (specs) => {
        const { clock, wheel, sinceMs } = setUp()
        const late: string[] = []
        let fired = 0
        for (const spec of [...specs].sort((a, b) => a.atMs - b.atMs)) {
          await clock.advance(Math.max(0, spec.atMs - sinceMs()))
          const dueMs = sinceMs() + spec.delayMs
          const timer = wheel.after(spec.delayMs, () => {
            fired++
            if (sinceMs() < dueMs || sinceMs() > dueMs + 20) late.push(`${dueMs} ${sinceMs()}`)
          })
          if (spec.isCancelled) wheel.cancel(timer)
        }
        await clock.advance(1000)
        const expected = specs.filter(({ isCancelled }) => !isCancelled).length
        return fired === expected && late.length === 0
      },
    ),
    { numRuns: 40 },
  )
})
