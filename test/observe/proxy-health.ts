import t from 'tap'
import { ProxyHealth } from '../../src/observe/proxy-health.js'
import { FakeClock } from '../fixtures/fake-clock.js'

function makeHealth() {
  const clock = new FakeClock()
  const node = { isEligible: true }
  const startMs = clock.nowMs()
  const health = new ProxyHealth({
    clock,
    wallClock: () => new Date(Date.UTC(2026, 0, 1) + clock.nowMs() - startMs),
    syncPeriodMs: 30_000,
    families: ['IPv4', 'IPv6'],
    isNodeEligible: () => node.isEligible,
  })
  return { clock, node, health }
}

t.test('healthy from the first sync on, until a change has waited two sync periods', async (t) => {
  const { clock, health } = makeHealth()
  t.notOk(health.isHealthy(), 'nothing is in force yet')
  t.equal(health.healthz().status, 503)
  t.equal(health.livez().status, 200, 'but it lives')
  health.queued()
  health.synced()
  t.ok(health.isHealthy())
  await clock.advance(3_600_000)
  t.ok(health.isHealthy(), 'nothing waits')
  health.queued()
  await clock.advance(30_000)
  health.queued()
  await clock.advance(29_999)
  t.ok(health.isHealthy())
  await clock.advance(1)
  t.notOk(health.isHealthy(), 'the oldest change counts')
  t.equal(health.healthz().status, 503)
  t.equal(health.livez().status, 503)
  health.synced()
  t.ok(health.isHealthy())
})

t.test('a first sync that does not come makes it late too', async (t) => {
  const { clock, health } = makeHealth()
  health.queued()
  await clock.advance(60_000)
  t.equal(health.livez().status, 503)
  t.strictSame(health.livez().body['status'], {}, 'no family has been updated')
})

t.test('the body has the fields of kube-proxy, in its order', async (t) => {
  const { clock, health } = makeHealth()
  health.synced()
  await clock.advance(1500)
  const synced = '2026-01-01T00:00:00.000Z'
  const now = '2026-01-01T00:00:01.500Z'
  const families =
    `"status":{"IPv4":{"lastUpdated":"${synced}","healthy":true},` +
    `"IPv6":{"lastUpdated":"${synced}","healthy":true}}`
  t.equal(
    JSON.stringify(health.healthz().body),
    `{"lastUpdated":"${now}","currentTime":"${now}","nodeEligible":true,"healthy":true,${families}}`,
  )
  t.equal(
    JSON.stringify(health.livez().body),
    `{"lastUpdated":"${now}","currentTime":"${now}","healthy":true,${families}}`,
  )
})

t.test('a node that is to be deleted is not healthy for load balancers, but alive', async (t) => {
  const { clock, node, health } = makeHealth()
  health.synced()
  node.isEligible = false
  await clock.advance(1000)
  t.match(health.healthz(), {
    status: 503,
    body: { nodeEligible: false, healthy: true, lastUpdated: '2026-01-01T00:00:00.000Z' },
  })
  t.equal(health.livez().status, 200)
})
