import t from 'tap'
import { ProxyHealth } from '../../src/observe/proxy-health.js'
import { FakeClock } from '../fixtures/fake-clock.js'

t.test('healthy from the first sync on, until a change has waited two sync periods', async (t) => {
  const clock = new FakeClock()
  const health = new ProxyHealth({
    clock,
    wallClock: () => new Date(Date.UTC(2026, 0, 1) + clock.nowMs()),
    syncPeriodMs: 30_000,
  })
  t.notOk(health.isHealthy(), 'nothing is in force yet')
  health.queued()
  health.synced()
  t.ok(health.isHealthy())
  t.match(health.body(), { healthy: true, nodeEligible: true })
  await clock.advance(3_600_000)
  t.ok(health.isHealthy(), 'nothing waits')
  health.queued()
  await clock.advance(30_000)
  health.queued()
  await clock.advance(29_999)
  t.ok(health.isHealthy())
  await clock.advance(1)
  t.notOk(health.isHealthy(), 'the oldest change counts')
  health.synced()
  t.ok(health.isHealthy())
})
