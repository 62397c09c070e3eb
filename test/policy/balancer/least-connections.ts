import fc from 'fast-check'
import t from 'tap'
import type { Endpoint } from '../../../src/model/endpoint.js'
import type { Balancer } from '../../../src/policy/balancer/balancer.js'
import { LeastConnections } from '../../../src/policy/balancer/least-connections.js'
import { WeightedLeastConnections } from '../../../src/policy/balancer/weighted-least-connections.js'
import { context, countPicks, pool } from '../../fixtures/balancing.js'

const set = pool(4)
const states = (open: ReadonlyMap<string, number>) => ({
  openOf: ({ id }: Endpoint) => open.get(id) ?? 0,
  warmthOf: () => 1,
})

/** A balancer with the counts that it ought to have. */
type Step = { readonly of: number; readonly event: 'pick' | 'close' | 'fail' | 'leave' | 'join' }

const step = fc.record({
  of: fc.integer({ min: 0, max: 3 }),
  event: fc.constantFrom('pick', 'close', 'fail', 'leave', 'join'),
}) as fc.Arbitrary<Step>

/** Plays the steps; false when a pick was not one of the least loaded. */
function isAlwaysLeast(balancer: Balancer, steps: readonly Step[], weights: readonly number[]) {
  const all = pool(4, weights)
  const open = new Map<string, number>()
  let members = [...all]
  balancer.setEndpoints(members, states(open))
  for (const { of, event } of steps) {
    const one = all[of]!
    const count = open.get(one.id) ?? 0
    if (event === 'pick') {
      const picked = balancer.pick(context(), [])
      if (picked === undefined) return members.length === 0
      const loadOf = ({ id, weight }: Endpoint) => ((open.get(id) ?? 0) + 1) / weight
      if (members.some((other) => loadOf(other) < loadOf(picked))) return false
      balancer.onConnect?.(picked)
      open.set(picked.id, (open.get(picked.id) ?? 0) + 1)
    } else if (event === 'close') {
      balancer.onClose?.(one)
      open.set(one.id, Math.max(0, count - 1))
    } else if (event === 'fail') {
      balancer.onConnectFailure?.(one, 0)
    } else {
      const others = members.filter((other) => other !== one)
      members =
        event === 'leave' ? others : all.filter((other) => other === one || others.includes(other))
      balancer.setEndpoints(members, states(open))
    }
  }
  return true
}

t.test('least-connections always picks one of the least loaded, whatever happens', async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) =>
      isAlwaysLeast(new LeastConnections(), steps, [1, 1, 1, 1]),
    ),
  )
})

t.test('weighted-least-connections likewise, in proportion to the weights', async () => {
  const weights = fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 4, maxLength: 4 })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), weights, (steps, all) =>
      isAlwaysLeast(new WeightedLeastConnections(), steps, all),
    ),
  )
})

t.test('counts of open connections never go below zero', async (t) => {
  const balancer = new LeastConnections()
  balancer.setEndpoints(set)
  for (let i = 0; i < 5; i++) balancer.onClose(set[0]!)
  const counts = countPicks(balancer, { picks: 8, staysOpen: true })
  t.strictSame([...counts.values()], [2, 2, 2, 2])
})

t.test('equals take turns, from a random place on', async (t) => {
  const balancer = new LeastConnections()
  balancer.setEndpoints(set)
  const picks = Array.from({ length: 8 }, () => balancer.pick(context({ random: 0.5 }), [])!.id)
  t.strictSame(picks.slice(0, 4), picks.slice(4))
  t.equal(picks[0], set[2]!.id)
  t.equal(new Set(picks).size, 4)
})

t.test('weights mean nothing to least-connections', async (t) => {
  const heavy = pool(2, [1, 100])
  const balancer = new LeastConnections()
  balancer.setEndpoints(heavy)
  t.strictSame([...countPicks(balancer, { picks: 10, staysOpen: true }).values()], [5, 5])
})

t.test('connections that stay are spread by weight within 1 %', async (t) => {
  const weighted = pool(4, [1, 10, 100, 256])
  const balancer = new WeightedLeastConnections()
  balancer.setEndpoints(weighted)
  const counts = countPicks(balancer, { picks: 10_000, staysOpen: true })
  for (const { id, weight } of weighted) {
    t.ok(Math.abs((counts.get(id) ?? 0) / 10_000 - weight / 367) < 0.01, id)
  }
})

t.test('after a scale-out from 2 to 4 the new ones catch up, then all go on alike', async (t) => {
  const balancer = new LeastConnections()
  const open = new Map<string, number>()
  const connect = (times: number): void => {
    for (let i = 0; i < times; i++) {
      const picked = balancer.pick(context(), [])!
      balancer.onConnect(picked)
      open.set(picked.id, (open.get(picked.id) ?? 0) + 1)
    }
  }
  balancer.setEndpoints(set.slice(0, 2), states(open))
  connect(100)
  balancer.setEndpoints(set, states(open))
  connect(100)
  t.strictSame([...open.values()], [50, 50, 50, 50])
  connect(40)
  t.strictSame([...open.values()], [60, 60, 60, 60])
})

t.test('slow start tempers how fast a new one catches up', async (t) => {
  const balancer = new LeastConnections()
  const open = new Map([[set[0]!.id, 20]])
  balancer.setEndpoints(set.slice(0, 2), {
    ...states(open),
    warmthOf: (one) => (one === set[1] ? 0.1 : 1),
  })
  const counts = countPicks(balancer, { picks: 10, staysOpen: true })
  t.equal(counts.get(set[1]!.id), 2, 'not more than a tenth of what the other one has')
})
