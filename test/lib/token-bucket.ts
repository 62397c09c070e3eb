import t from 'tap'
import { TokenBucket } from '../../src/lib/token-bucket.js'
import { FakeClock } from '../fixtures/fake-clock.js'

t.test('a burst is free, then each waits its turn', async (t) => {
  const clock = new FakeClock()
  const bucket = new TokenBucket(5, 2, clock)
  t.strictSame(
    [1, 2, 3, 4].map(() => bucket.reserve()),
    [0, 0, 200, 400],
  )
  await clock.advance(10_000)
  t.equal(bucket.reserve(), 0)
})

t.test('tryTake takes what is there and no credit', async (t) => {
  const clock = new FakeClock()
  const bucket = new TokenBucket(1, 2, clock)
  t.strictSame(
    [1, 2, 3].map(() => bucket.tryTake()),
    [true, true, false],
  )
  await clock.advance(1000)
  t.strictSame(
    [1, 2].map(() => bucket.tryTake()),
    [true, false],
  )
})

t.test('no rate, no limit', async (t) => {
  const bucket = new TokenBucket(0, 1, new FakeClock())
  t.ok([1, 2, 3].every(() => bucket.tryTake() && bucket.reserve() === 0))
})
