import t from 'tap'
import { ProbeScheduler, type ProbeJob } from '../../../src/policy/health/probe-scheduler.js'
import { healthy, unhealthy, type ProbeDone } from '../../../src/policy/health/probe/probe.js'
import type { Trend } from '../../../src/policy/health/rise-fall.js'
import { FakeClock } from '../../fixtures/fake-clock.js'
import { healthCheck } from '../../fixtures/health.js'

interface FakeJob extends ProbeJob {
  trend: Trend
  readonly starts: number[]
  readonly results: string[]
}

function setUp(maxRunning = 1000) {
  const clock = new FakeClock()
  const startMs = clock.nowMs()
  const scheduler = new ProbeScheduler({ clock, random: () => 0.5, maxRunning })
  const pending = new Set<ProbeDone>()
  let mostRunning = 0
  const job = (over: Partial<ProbeJob['timing']> = {}, answers = true): FakeJob => {
    const one: FakeJob = {
      timing: healthCheck(over),
      trend: 'up',
      starts: [],
      results: [],
      start: (done) => {
        one.starts.push(clock.nowMs() - startMs)
        mostRunning = Math.max(mostRunning, scheduler.running)
        pending.add(done)
        const answer = () => {
          if (pending.delete(done)) done(healthy('ok'))
        }
        if (answers) setImmediate(answer)
        return {
          cancel: () => {
            pending.delete(done)
            return 'answer'
          },
        }
      },
      onResult: ({ reason }) => one.results.push(reason),
    }
    return one
  }
  return { clock, scheduler, job, pending, mostRunning: () => mostRunning }
}

t.test('1,000 endpoints that arrive together are spread evenly over the interval', async (t) => {
  const { clock, scheduler, job } = setUp()
  const jobs = Array.from({ length: 1000 }, () => job())
  for (const one of jobs) scheduler.add(one)
  await clock.advance(30_000)
  const starts = jobs.flatMap(({ starts }) => starts)
  t.ok(Math.max(...jobs.map(({ starts }) => starts[0]!)) <= 1100, 'all first ones within a second')
  for (let from = 10_000; from < 30_000; from += 500) {
    const count = starts.filter((at) => at >= from && at < from + 500).length
    t.ok(count >= 45 && count <= 55, `${count} from ${from} ms on`)
  }
  for (const { starts } of jobs) {
    const gaps = starts.slice(2).map((at, i) => at - starts[i + 1]!)
    t.ok(
      gaps.every((gap) => Math.abs(gap - 10_000) <= 20),
      gaps.join(),
    )
  }
})

t.test('the interval is the one of the trend, and the grid is found again', async (t) => {
  const { clock, scheduler, job } = setUp()
  const one = job({ intervalMs: 10_000, fastIntervalMs: 500, downIntervalMs: 2000 })
  scheduler.add(one)
  one.trend = 'falling'
  await clock.advance(2300)
  t.equal(one.starts.length, 5)
  one.trend = 'down'
  const before = one.starts.length
  await clock.advance(8100)
  t.ok(one.starts.length - before >= 4 && one.starts.length - before <= 5)
  one.trend = 'up'
  await clock.advance(40_000)
  const [a, b] = one.starts.slice(-2)
  t.ok(Math.abs(b! - a! - 10_000) <= 20)
})

t.test('a probe without an answer is cancelled and is a failure', async (t) => {
  const { clock, scheduler, job, pending } = setUp()
  const one = job({ timeoutMs: 300 }, false)
  scheduler.add(one)
  await clock.advance(200)
  t.strictSame(one.results, [])
  await clock.advance(200)
  t.strictSame(one.results, ['no answer within 300ms'])
  t.equal(pending.size, 0)
  t.equal(scheduler.running, 0)
})

t.test('a time-out that comes late, for we were busy, lets an answer be read first', async (t) => {
  const { clock, scheduler, job, pending } = setUp()
  const one = job({ timeoutMs: 300 }, false)
  const dead = job({ timeoutMs: 300 }, false)
  scheduler.add(one)
  scheduler.add(dead)
  await clock.advance(50)
  const [answer] = [...pending]
  clock.stall(1000)
  await clock.advance(20)
  t.strictSame([one.results, dead.results], [[], []])
  answer!(healthy('ok'))
  await clock.advance(100)
  t.strictSame([one.results, dead.results], [['ok'], ['no answer within 300ms']])
})

t.test('no more run at once than may; the others wait in order and are counted', async (t) => {
  const { clock, scheduler, job, mostRunning } = setUp(4)
  const jobs = Array.from({ length: 20 }, () => job({ timeoutMs: 100 }, false))
  for (const one of jobs) scheduler.add(one)
  await clock.advance(50)
  t.equal(scheduler.running, 4)
  t.equal(scheduler.waiting, 16)
  await clock.advance(1000)
  t.equal(mostRunning(), 4)
  t.equal(scheduler.delayed >= 16, true)
  for (const { results } of jobs) t.equal(results.length, 1)
  t.equal(scheduler.waiting, 0)
})

t.test('a removed endpoint is not probed any more, whatever it was doing', async (t) => {
  const { clock, scheduler, job } = setUp(1)
  const [running, waiting, idle] = [job({}, false), job(), job()]
  const handles = [running, waiting, idle].map((one) => scheduler.add(one)).reverse()
  await clock.advance(5)
  await clock.advance(5)
  t.equal(running.starts.length, 1)
  for (const handle of handles) {
    scheduler.remove(handle)
    scheduler.remove(handle)
  }
  await clock.advance(60_000)
  t.strictSame([running.results, waiting.starts, idle.starts], [[], [], []])
  t.equal(scheduler.running, 0)
  t.equal(scheduler.size, 0)
})

t.test('a suspect is probed at once, but not more often than at the fast interval', async (t) => {
  const { clock, scheduler, job } = setUp()
  const one = job({ fastIntervalMs: 1000 })
  const handle = scheduler.add(one)
  await clock.advance(3000)
  t.equal(one.starts.length, 1)
  scheduler.hurry(handle)
  await clock.advance(20)
  t.equal(one.starts.length, 2)
  for (let i = 0; i < 10; i++) scheduler.hurry(handle)
  await clock.advance(900)
  t.equal(one.starts.length, 2)
  await clock.advance(200)
  t.equal(one.starts.length, 3)
})

t.test('a probe that cannot be started is a failure', async (t) => {
  const { clock, scheduler, job } = setUp()
  const one = job()
  const broken: FakeJob = {
    ...one,
    start: () => {
      throw new Error('no socket to spare')
    },
    onResult: ({ reason }) => one.results.push(reason),
  }
  scheduler.add(broken)
  await clock.advance(1000)
  t.strictSame(one.results, ['no socket to spare'])
})

t.test('probes that end do not start others after the close', async (t) => {
  const { clock, scheduler, job, pending } = setUp(1)
  const [a, b] = [job({}, false), job({}, false)]
  scheduler.add(a)
  scheduler.add(b)
  await clock.advance(50)
  scheduler.close()
  for (const done of pending) done(unhealthy('late'))
  await clock.advance(60_000)
  t.strictSame([a.starts.length, b.starts.length], [1, 0])
})
