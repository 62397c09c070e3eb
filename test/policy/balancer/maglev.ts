import fc from 'fast-check'
import t from 'tap'
import type { Endpoint } from '../../../src/model/endpoint.js'
import { Maglev, maglevTable } from '../../../src/policy/balancer/maglev.js'
import { context, countPicks, pool } from '../../fixtures/balancing.js'

const SIZE = 16_381
const options = { seed: 'test', tableSize: SIZE, hashesPort: true }
const filled = (count: number, over: Partial<typeof options> = {}) => {
  const balancer = new Maglev({ ...options, ...over })
  balancer.setEndpoints(pool(count))
  return balancer
}
const client = (i: number) => ({
  clientIp: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
  clientPort: i,
})

t.test('two nodes with the same endpoints and seed agree on every client', async (t) => {
  const [a, b, other] = [filled(20), filled(20), filled(20, { seed: 'other' })]
  let differences = 0
  for (let i = 0; i < 2000; i++) {
    const picked = a.pick(context(client(i)), [])
    if (picked !== b.pick(context({ ...client(i), random: 0.7, nowMs: 5 }), [])) {
      if (picked?.id !== b.pick(context(client(i)), [])?.id) t.fail(`client ${i}`)
    }
    if (picked?.id !== other.pick(context(client(i)), [])?.id) differences++
  }
  t.ok(differences > 1500, 'another seed is another table')
})

t.test('history does not matter: what left and came back leaves no trace', async (t) => {
  const [a, b] = [filled(20), filled(20)]
  a.setEndpoints(pool(20).slice(3))
  a.pick(context(), [])
  a.setEndpoints(pool(20))
  for (let i = 0; i < 500; i++) {
    t.equal(a.pick(context(client(i)), [])?.id, b.pick(context(client(i)), [])?.id)
  }
})

t.test(
  'places are shared out evenly: within 1 % of each other at 100 places an endpoint',
  async (t) => {
    const endpoints = pool(100)
    const counts = new Array<number>(100).fill(0)
    for (const index of maglevTable(endpoints, 7, SIZE)) counts[index]!++
    t.ok(
      Math.max(...counts) / Math.min(...counts) < 1.01,
      `${Math.min(...counts)} to ${Math.max(...counts)}`,
    )
  },
)

t.test('places are shared out by weight, within 1 %', async (t) => {
  const endpoints = pool(4, [1, 10, 100, 256])
  const counts = new Array<number>(4).fill(0)
  for (const index of maglevTable(endpoints, 7, SIZE)) counts[index]!++
  for (const [i, { weight }] of endpoints.entries()) {
    t.ok(Math.abs(counts[i]! / SIZE - weight / 367) < 0.01, `${weight}: ${counts[i]}`)
  }
})

t.test('when one of 100 endpoints goes, few places of the others change', async (t) => {
  const before = pool(100)
  const after = before.filter((_, i) => i !== 42)
  const [a, b] = [maglevTable(before, 7, SIZE), maglevTable(after, 7, SIZE)]
  let moved = 0
  for (let place = 0; place < SIZE; place++) {
    const was = before[a[place]!]!
    if (was !== before[42] && after[b[place]!] !== was) moved++
  }
  const share = moved / SIZE
  t.comment(`disruption: ${(share * 100).toFixed(2)} % besides the ideal 1 %`)
  t.ok(share < 0.03, `${(share * 100).toFixed(2)} % of the places moved without need`)
})

t.test('a client with session affinity is one client, whatever its port', async (t) => {
  const sticky = filled(20, { hashesPort: false })
  const first = sticky.pick(context({ clientPort: 1 }), [])
  for (let port = 2; port < 200; port++) {
    t.equal(sticky.pick(context({ clientPort: port }), []), first)
  }
  const free = countPicks(filled(20), { picks: 400, contextOf: (i) => ({ clientPort: i }) })
  t.equal(free.size, 20)
})

t.test('more endpoints than places: the table grows', async (t) => {
  const balancer = filled(1000, { tableSize: 251 })
  const counts = countPicks(balancer, { picks: 20_000, contextOf: client })
  t.equal(counts.size, 1000)
})

t.test('a retry goes to the same second choice on every node', async () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 19 }), (i, tries) => {
      const [a, b] = [filled(20), filled(20)]
      const tried: Endpoint[] = []
      for (let n = 0; n < tries; n++) {
        const next = a.pick(context(client(i % 65_536)), tried)
        if (next?.id !== b.pick(context(client(i % 65_536)), tried)?.id) return false
        tried.push(next!)
      }
      return true
    }),
    { numRuns: 20 },
  )
})
