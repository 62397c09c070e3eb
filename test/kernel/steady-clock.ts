import t from 'tap'
import { loadAddon } from '../../src/kernel/addon.js'
import { SteadyClock } from '../../src/kernel/steady-clock.js'

t.test('the clock stands still until it is read', async (t) => {
  const clock = new SteadyClock()
  t.equal(clock.nowMs(), 0)
  clock.read()
  const first = clock.nowMs()
  t.ok(first > 0)
  const end = performance.now() + 20
  while (performance.now() < end);
  t.equal(clock.nowMs(), first)
  clock.read()
  t.ok(clock.nowMs() - first >= 19.9, `after ${clock.nowMs() - first} ms`)
})

t.test('the clock is written into nothing but an array of doubles', async (t) => {
  const addon = loadAddon()
  for (const wrong of [new Float64Array(0), new Uint8Array(8) as unknown as Float64Array]) {
    t.throws(() => {
      addon.readClock(wrong)
    }, TypeError)
  }
})
