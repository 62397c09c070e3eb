/** What every balancer promises (src/policy/balancer/balancer.ts), run on all of the registry. */
import fc from 'fast-check'
import t from 'tap'
import type { Endpoint } from '../../src/model/endpoint.js'
import type { PickContext } from '../../src/policy/balancer/balancer.js'
import { balancerNames, createBalancer } from '../../src/policy/balancer/registry.js'
import { endpoint } from '../fixtures/endpoint.js'

const context = (random: number): PickContext => ({
  clientIp: '10.0.0.1',
  clientPort: 40000,
  nowMs: 0,
  random,
})
const pool = Array.from({ length: 12 }, (_, i) => endpoint(`10.1.0.${i + 1}`))
const subset = fc.subarray(pool)
const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

for (const name of balancerNames()) {
  t.test(`${name} keeps the balancer contract`, async (t) => {
    t.test('a pick is in the set and not tried; undefined only when nothing is left', async () => {
      fc.assert(
        fc.property(fc.array(fc.tuple(subset, subset, unit), { maxLength: 30 }), (steps) => {
          const balancer = createBalancer(name)!
          for (const [set, tried, random] of steps) {
            balancer.setEndpoints(set)
            const picked = balancer.pick(context(random), tried)
            const left = set.filter((candidate) => !tried.includes(candidate))
            if (left.length === 0 ? picked !== undefined : !left.includes(picked!)) return false
          }
          return true
        }),
      )
    })

    t.test('trying again and again reaches every endpoint exactly once', async (t) => {
      const balancer = createBalancer(name)!
      balancer.setEndpoints(pool)
      const tried: Endpoint[] = []
      for (;;) {
        const next = balancer.pick(context(0.5), tried)
        if (next === undefined) break
        tried.push(next)
      }
      t.equal(new Set(tried.map(({ id }) => id)).size, pool.length)
      t.equal(tried.length, pool.length)
    })

    t.test('notifications in any order, also for strangers, are harmless', async (t) => {
      const balancer = createBalancer(name)!
      balancer.setEndpoints(pool.slice(0, 3))
      for (const one of pool) {
        balancer.onClose?.(one)
        balancer.onConnectFailure?.(one)
        balancer.onConnect?.(one, 1)
      }
      t.ok(balancer.pick(context(0), []))
    })
  })
}
