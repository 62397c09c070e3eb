import t from 'tap'
import { SyncRunner } from '../../src/sync/sync-runner.js'
import { FakeClock } from '../fixtures/fake-clock.js'

function setUp(over: { minIntervalMs?: number; sync?: () => Promise<void> } = {}) {
  const clock = new FakeClock()
  const runs: number[] = []
  const errors: number[] = []
  const runner = new SyncRunner({
    clock,
    minIntervalMs: over.minIntervalMs ?? 0,
    periodMs: 30_000,
    retryMs: 500,
    sync: async () => {
      runs.push(clock.nowMs() - 1000)
      await over.sync?.()
    },
    onError: (_error, retryInMs) => errors.push(retryInMs),
  })
  return { clock, runs, errors, runner }
}

t.test('requests made together are one run', async (t) => {
  const { clock, runs, runner } = setUp()
  for (let i = 0; i < 5; i++) runner.request()
  await clock.advance(0)
  t.strictSame(runs, [0])
})

t.test('a request during a run is one more run after it', async (t) => {
  let finish: (() => void) | undefined
  const { clock, runs, runner } = setUp({
    sync: async () => {
      if (runs.length === 1) await new Promise<void>((resolve) => (finish = resolve))
    },
  })
  runner.request()
  await clock.advance(0)
  runner.request()
  runner.request()
  await clock.advance(0)
  t.equal(runs.length, 1, 'not before the first has ended')
  finish?.()
  await clock.advance(0)
  t.equal(runs.length, 2)
})

t.test('the minimum interval counts from the end of a run', async (t) => {
  const { clock, runs, runner } = setUp({ minIntervalMs: 1000 })
  runner.request()
  await clock.advance(0)
  runner.request()
  await clock.advance(999)
  t.equal(runs.length, 1)
  await clock.advance(1)
  t.strictSame(runs, [0, 1000])
})

t.test('without requests it runs once a period', async (t) => {
  const { clock, runs, runner } = setUp()
  runner.request()
  await clock.advance(90_000)
  t.strictSame(runs, [0, 30_000, 60_000, 90_000])
})

t.test(
  'a failure is tried again with a back-off that doubles, and a success resets it',
  async (t) => {
    let failures = 3
    const { clock, runs, errors, runner } = setUp({
      sync: async () => {
        if (failures-- > 0) throw new Error('no')
      },
    })
    runner.request()
    await clock.advance(10_000)
    t.strictSame(errors, [500, 1000, 2000])
    t.strictSame(runs, [0, 500, 1500, 3500])
  },
)

t.test('a request during a back-off runs at once', async (t) => {
  let fails = true
  const { clock, runs, runner } = setUp({
    sync: async () => {
      if (fails) throw new Error('no')
    },
  })
  runner.request()
  await clock.advance(0)
  fails = false
  runner.request()
  await clock.advance(0)
  t.equal(runs.length, 2)
})

t.test('close waits for the run under way and starts no other', async (t) => {
  const { clock, runs, runner } = setUp()
  runner.request()
  await clock.advance(0)
  runner.request()
  await runner.close()
  await clock.advance(100_000)
  t.equal(runs.length, 1)
})
