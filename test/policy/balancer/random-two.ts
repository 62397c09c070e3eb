import fc from 'fast-check'
import t from 'tap'
import { AliasTable } from '../../../src/policy/balancer/alias-table.js'
import { RandomTwo } from '../../../src/policy/balancer/random-two.js'
import { context, countPicks, pool, seededRandom } from '../../fixtures/balancing.js'

t.test('at rest it goes by weight, within 1 % over 10,000 picks', async (t) => {
  const set = pool(4, [1, 10, 100, 256])
  const balancer = new RandomTwo()
  balancer.setEndpoints(set)
  const counts = countPicks(balancer, { picks: 10_000 })
  for (const { id, weight } of set) {
    t.ok(Math.abs((counts.get(id) ?? 0) / 10_000 - weight / 367) < 0.01, `${weight}`)
  }
})

t.test('connections that stay are nearly even: within a few of each other', async (t) => {
  const balancer = new RandomTwo()
  balancer.setEndpoints(pool(50))
  const counts = countPicks(balancer, { picks: 10_000, staysOpen: true })
  const spread = Math.max(...counts.values()) - Math.min(...counts.values())
  t.ok(spread <= 10, `200 each, ${spread} apart`)
})

t.test('of two endpoints it is always the less loaded one', async () => {
  fc.assert(
    fc.property(fc.nat({ max: 50 }), fc.nat({ max: 50 }), fc.nat(), (a, b, seed) => {
      const set = pool(2)
      const balancer = new RandomTwo()
      balancer.setEndpoints(set, { openOf: (one) => (one === set[0] ? a : b), warmthOf: () => 1 })
      const random = seededRandom(seed)()
      const picked = balancer.pick(context({ random }), [])
      return a === b || picked === set[a < b ? 0 : 1]
    }),
  )
})

t.test('the alias table draws exactly in proportion', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 1, maxLength: 30 }),
      (all) => {
        const table = new AliasTable()
        table.build(Float64Array.from(all))
        const draws = 20_000
        const counts = new Array<number>(all.length).fill(0)
        for (let i = 0; i < draws; i++) counts[table.draw(Float64Array.of((i + 0.5) / draws))]!++
        const sum = all.reduce((a, b) => a + b, 0)
        return all.every((weight, i) => Math.abs(counts[i]! / draws - weight / sum) < 0.01)
      },
    ),
  )
})
