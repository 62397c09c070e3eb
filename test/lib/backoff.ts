import t from 'tap'
import { Backoff } from '../../src/lib/backoff.js'
import { FakeClock } from '../fixtures/fake-clock.js'

const OPTIONS = { initialMs: 100, maxMs: 1000, resetMs: 5000 }

t.test('waits double up to the maximum, each with jitter on top', async (t) => {
  const low = new Backoff(OPTIONS, new FakeClock(), () => 0)
  t.strictSame(
    Array.from({ length: 6 }, () => low.next()),
    [100, 200, 400, 800, 1000, 1000],
  )
  const high = new Backoff(OPTIONS, new FakeClock(), () => 1)
  t.strictSame(
    Array.from({ length: 3 }, () => high.next()),
    [200, 400, 800],
  )
})

t.test('what goes well for long enough begins anew', async (t) => {
  const clock = new FakeClock()
  const backoff = new Backoff(OPTIONS, clock, () => 0)
  t.equal(backoff.next(), 100)
  await clock.advance(5000)
  t.equal(backoff.next(), 200, 'the wait itself does not count')
  await clock.advance(5201)
  t.equal(backoff.next(), 100)
})

t.test('a server may ask for more', async (t) => {
  const backoff = new Backoff(OPTIONS, new FakeClock(), () => 1)
  t.equal(backoff.next(4000), 5000, 'with a quarter of jitter')
})
