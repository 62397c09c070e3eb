import t from 'tap'
import { PeakEwma } from '../../../src/policy/balancer/peak-ewma.js'
import { countPicks, pool } from '../../fixtures/balancing.js'

const set = pool(2)
const [a, b] = [set[0]!, set[1]!]
const filled = () => {
  const balancer = new PeakEwma({ decayMs: 10_000 })
  balancer.setEndpoints(set)
  return balancer
}

t.test('nothing measured: it goes by weight and open connections', async (t) => {
  const balancer = filled()
  const counts = countPicks(balancer, { picks: 1000, staysOpen: true })
  t.ok(Math.abs(counts.get(a.id)! - 500) <= 1)
})

t.test('one slow answer sends new connections elsewhere at once', async (t) => {
  const balancer = filled()
  balancer.onLatency(a, 1, 0)
  balancer.onLatency(b, 1, 0)
  balancer.onLatency(a, 50, 10)
  const counts = countPicks(balancer, { picks: 200, contextOf: () => ({ nowMs: 11 }) })
  t.equal(counts.get(a.id), undefined)
})

t.test(
  'connections weigh against latency: ten times slower is worth ten connections',
  async (t) => {
    const balancer = filled()
    balancer.onLatency(a, 10, 0)
    balancer.onLatency(b, 1, 0)
    const counts = countPicks(balancer, { picks: 110, staysOpen: true })
    t.ok(Math.abs(counts.get(a.id)! - 10) <= 2, `${counts.get(a.id)}`)
  },
)

t.test('what was slow long ago is tried again', async (t) => {
  const balancer = filled()
  balancer.onLatency(a, 100, 0)
  balancer.onLatency(b, 1, 0)
  const counts = countPicks(balancer, {
    picks: 100,
    staysOpen: true,
    contextOf: () => ({ nowMs: 100_000 }),
  })
  t.ok(counts.get(a.id)! > 40, `${counts.get(a.id)}`)
})

t.test('a refused connect costs as a second of latency', async (t) => {
  const balancer = filled()
  balancer.onLatency(a, 1, 0)
  balancer.onLatency(b, 1, 0)
  balancer.onConnectFailure(b, 0)
  t.equal(countPicks(balancer, { picks: 100 }).get(b.id), undefined)
})

t.test('a slow fall: quick answers bring the average down bit by bit', async (t) => {
  const balancer = filled()
  balancer.onLatency(a, 100, 0)
  balancer.onLatency(b, 20, 0)
  for (let nowMs = 0; nowMs < 1000; nowMs += 100) balancer.onLatency(a, 1, nowMs)
  t.equal(
    countPicks(balancer, { picks: 50, contextOf: () => ({ nowMs: 1000 }) }).get(a.id),
    undefined,
  )
  for (let nowMs = 1000; nowMs < 60_000; nowMs += 100) {
    balancer.onLatency(a, 1, nowMs)
    balancer.onLatency(b, 20, nowMs)
  }
  t.equal(
    countPicks(balancer, { picks: 50, contextOf: () => ({ nowMs: 60_000 }) }).get(b.id),
    undefined,
  )
})
