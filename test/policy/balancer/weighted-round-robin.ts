import fc from 'fast-check'
import t from 'tap'
import { WeightedRoundRobin } from '../../../src/policy/balancer/weighted-round-robin.js'
import { context, countPicks, pool } from '../../fixtures/balancing.js'

const weights = fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 1, maxLength: 20 })

t.test('every count is within two of its exact share, after any number of picks', async () => {
  fc.assert(
    fc.property(weights, fc.integer({ min: 1, max: 2000 }), (all, picks) => {
      const set = pool(all.length, all)
      const balancer = new WeightedRoundRobin()
      balancer.setEndpoints(set)
      const counts = countPicks(balancer, { picks })
      const sum = set.reduce((total, { weight }) => total + weight, 0)
      return set.every(
        ({ id, weight }) => Math.abs((counts.get(id) ?? 0) - (picks * weight) / sum) <= 2,
      )
    }),
  )
})

t.test('10,000 picks honour the weights within 1 %', async (t) => {
  const set = pool(4, [1, 10, 100, 256])
  const balancer = new WeightedRoundRobin()
  balancer.setEndpoints(set)
  const counts = countPicks(balancer, { picks: 10_000 })
  for (const { id, weight } of set) {
    t.ok(Math.abs((counts.get(id) ?? 0) / 10_000 - weight / 367) < 0.01, id)
  }
})

t.test('it is smooth: the heavy one does not get its picks in a block', async (t) => {
  const [a, b] = pool(2, [4, 1])
  const balancer = new WeightedRoundRobin()
  balancer.setEndpoints([a!, b!])
  const picks = Array.from({ length: 20 }, () => balancer.pick(context(), [])!.id)
  const places = picks.flatMap((id, i) => (id === b!.id ? [i] : []))
  t.strictSame(
    places.slice(1).map((place, i) => place - places[i]!),
    [5, 5, 5],
  )
})

t.test('a changed weight is honoured at once, without a burst', async (t) => {
  const set = pool(3)
  const balancer = new WeightedRoundRobin()
  balancer.setEndpoints(set)
  countPicks(balancer, { picks: 1000 })
  const heavy = set.map((one, i) => (i === 0 ? { ...one, weight: 8 } : one))
  balancer.setEndpoints(heavy)
  const counts = countPicks(balancer, { picks: 100 })
  t.ok(Math.abs(counts.get(set[0]!.id)! - 80) <= 2)
  t.equal(balancer.pick(context(), [])?.weight !== undefined, true)
})

t.test('one that was passed over for long does not make up for it', async (t) => {
  const set = pool(3)
  const balancer = new WeightedRoundRobin()
  balancer.setEndpoints(set)
  const without = countPicks(balancer, { picks: 1000, tried: [set[0]!] })
  t.equal(without.get(set[0]!.id), undefined)
  t.ok(Math.abs(without.get(set[1]!.id)! - 500) <= 2)
  const counts = countPicks(balancer, { picks: 30 })
  t.ok(counts.get(set[0]!.id)! <= 12, `${counts.get(set[0]!.id)} of 30`)
})

t.test('one that joins gets its share and no more; the others keep theirs', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 0, max: 500 }), (n, before) => {
      const set = pool(n + 1)
      const balancer = new WeightedRoundRobin()
      balancer.setEndpoints(set.slice(0, n))
      countPicks(balancer, { picks: before })
      balancer.setEndpoints(set)
      const counts = countPicks(balancer, { picks: (n + 1) * 10 })
      return set.every(({ id }) => Math.abs((counts.get(id) ?? 0) - 10) <= 2)
    }),
  )
})

t.test('slow start takes its part of the weight', async (t) => {
  const set = pool(2)
  const balancer = new WeightedRoundRobin()
  balancer.setEndpoints(set, { openOf: () => 0, warmthOf: (one) => (one === set[0] ? 0.25 : 1) })
  const counts = countPicks(balancer, { picks: 500 })
  t.ok(Math.abs(counts.get(set[0]!.id)! - 100) <= 2)
})
