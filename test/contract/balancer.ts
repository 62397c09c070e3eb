/** What every balancer promises (src/policy/balancer/balancer.ts), run on all of the registry. */
import fc from 'fast-check'
import t from 'tap'
import type { Endpoint } from '../../src/model/endpoint.js'
import type { Balancer } from '../../src/policy/balancer/balancer.js'
import {
  BALANCER_NAMES,
  createBalancer,
  type BalancerName,
} from '../../src/policy/balancer/registry.js'
import { BALANCER_DEFAULTS } from '../../src/policy/balancer/settings.js'
import { context, pool } from '../fixtures/balancing.js'

const endpoints = pool(12)
const subset = fc.subarray(endpoints as Endpoint[])
const unit = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
const weight = fc.integer({ min: 1, max: 256 })
const make = (name: BalancerName): Balancer =>
  createBalancer({ ...BALANCER_DEFAULTS, hashesPort: true, name })

for (const name of BALANCER_NAMES) {
  t.test(`${name} keeps the balancer contract`, async (t) => {
    t.test('it bears its name', async (t) => {
      t.equal(make(name).name, name)
    })

    t.test('a pick is in the set and not tried; undefined only when nothing is left', async () => {
      const step = fc.tuple(subset, subset, unit, weight, fc.constantFrom('open', 'close', 'fail'))
      fc.assert(
        fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
          const balancer = make(name)
          const open = new Map<string, number>()
          for (const [set, tried, random, someWeight, event] of steps) {
            const weighted = set.map((one, i) =>
              i % 3 === 0 ? { ...one, weight: someWeight } : one,
            )
            balancer.setEndpoints(weighted, {
              openOf: ({ id }) => open.get(id) ?? 0,
              warmthOf: ({ id }) => (id.endsWith('.3:80') ? 0.25 : 1),
            })
            for (const trial of [tried, []]) {
              const picked = balancer.pick(context({ random, clientPort: steps.length }), trial)
              const left = weighted.filter(({ id }) => !trial.some((other) => other.id === id))
              if (left.length === 0 ? picked !== undefined : !left.includes(picked!)) return false
              if (picked === undefined) continue
              if (event === 'open') {
                balancer.onConnect?.(picked)
                open.set(picked.id, (open.get(picked.id) ?? 0) + 1)
              } else if (event === 'fail') {
                balancer.onConnectFailure?.(picked, 0)
              } else {
                balancer.onClose?.(picked)
                open.set(picked.id, Math.max(0, (open.get(picked.id) ?? 0) - 1))
              }
            }
          }
          return true
        }),
      )
    })

    t.test('trying again and again reaches every endpoint exactly once', async (t) => {
      const balancer = make(name)
      balancer.setEndpoints(endpoints)
      const tried: Endpoint[] = []
      for (;;) {
        const next = balancer.pick(context({ random: 0.5 }), tried)
        if (next === undefined) break
        tried.push(next)
      }
      t.equal(new Set(tried.map(({ id }) => id)).size, endpoints.length)
      t.equal(tried.length, endpoints.length)
    })

    t.test('notifications in any order, also for strangers, are harmless', async (t) => {
      const balancer = make(name)
      balancer.setEndpoints(endpoints.slice(0, 3))
      for (const one of endpoints) {
        balancer.onClose?.(one)
        balancer.onConnectFailure?.(one, 0)
        balancer.onLatency?.(one, 5, 0)
        balancer.onConnect?.(one)
      }
      t.ok(balancer.pick(context(), []))
    })

    t.test('a set that becomes empty and full again serves again', async (t) => {
      const balancer = make(name)
      balancer.setEndpoints(endpoints)
      t.ok(balancer.pick(context(), []))
      balancer.setEndpoints([])
      t.equal(balancer.pick(context(), []), undefined)
      balancer.setEndpoints(endpoints.slice(3, 4))
      t.equal(balancer.pick(context(), []), endpoints[3])
    })
  })
}
