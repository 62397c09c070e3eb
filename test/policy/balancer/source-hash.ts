import fc from 'fast-check'
import t from 'tap'
import { SourceHash } from '../../../src/policy/balancer/source-hash.js'
import { context, countPicks, pool } from '../../fixtures/balancing.js'

const client = (i: number) => ({ clientIp: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` })
const make = (balanceFactor = 0) => new SourceHash({ seed: 'test', balanceFactor })
const CLIENTS = 500

function placesOf(balancer: SourceHash): string[] {
  return Array.from({ length: CLIENTS }, (_, i) => balancer.pick(context(client(i)), [])!.id)
}

t.test('a client keeps its endpoint, whatever its port, on every node', async (t) => {
  const [a, b] = [make(), make()]
  a.setEndpoints(pool(10))
  b.setEndpoints(pool(10))
  t.strictSame(placesOf(a), placesOf(b))
  t.equal(a.pick(context({ clientPort: 1 }), []), a.pick(context({ clientPort: 2 }), []))
})

t.test(
  'monotonic: when one goes only its clients move, when one comes they move to it only',
  async () => {
    const count = fc.integer({ min: 2, max: 40 })
    // Equal weights, and unequal ones whose largest has the same power of two without the one that goes.
    const weights = fc.constantFrom([1], [3], [4, 1, 2, 4, 3, 4])
    fc.assert(
      fc.property(count, fc.nat(), weights, (n, which, pattern) => {
        const all = pool(
          n + 1,
          Array.from({ length: n + 1 }, (_, i) => pattern[i % pattern.length]!),
        )
        if (Math.max(...all.map(({ weight }) => weight)) > 4) return true
        const gone = all[which % all.length]!
        const rest = all.filter((one) => one !== gone)
        if (Math.max(...rest.map(({ weight }) => weight)) <= 2 && gone.weight > 2) return true
        const balancer = make()
        balancer.setEndpoints(all)
        const before = placesOf(balancer)
        balancer.setEndpoints(rest)
        const after = placesOf(balancer)
        if (before.some((id, i) => id !== gone.id && after[i] !== id)) return false
        balancer.setEndpoints(all)
        return placesOf(balancer).every((id, i) => id === before[i])
      }),
      { numRuns: 60 },
    )
  },
)

t.test('clients are spread: no endpoint has twice its share', async (t) => {
  const balancer = make()
  balancer.setEndpoints(pool(20))
  const counts = countPicks(balancer, { picks: 20_000, contextOf: client })
  t.equal(counts.size, 20)
  t.ok(Math.max(...counts.values()) < 2 * 1000, `${Math.max(...counts.values())}`)
  t.ok(Math.min(...counts.values()) > 500, `${Math.min(...counts.values())}`)
})

t.test('weights are shares of the clients, roughly, at rest', async (t) => {
  const balancer = make()
  const set = pool(20, [8, 1, 1, 1, 8])
  balancer.setEndpoints(set)
  const counts = countPicks(balancer, { picks: 20_000, contextOf: client })
  const heavy = set.reduce((sum, { id, weight }) => sum + (weight > 1 ? counts.get(id)! : 0), 0)
  const share = (8 + 8) / set.reduce((sum, { weight }) => sum + weight, 0)
  t.ok(Math.abs(heavy / 20_000 - share) < 0.15, `${heavy} of 20,000, share ${share}`)
})

t.test(
  'bounded load: nobody gets above its factor, even when there is one client only',
  async () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 2, maxLength: 20 }),
        fc.integer({ min: 101, max: 300 }),
        fc.integer({ min: 1, max: 300 }),
        (weights, factor, picks) => {
          const set = pool(weights.length, weights)
          const balancer = make(factor)
          balancer.setEndpoints(set)
          const counts = countPicks(balancer, { picks, staysOpen: true })
          const sum = set.reduce((total, { weight }) => total + weight, 0)
          return set.every(
            ({ id, weight }) =>
              (counts.get(id) ?? 0) <= Math.ceil(((factor / 100) * picks * weight) / sum + 1e-6),
          )
        },
      ),
    )
  },
)

t.test('counts never go below zero, and an idle set has its old places again', async (t) => {
  const balancer = make(125)
  const set = pool(5)
  balancer.setEndpoints(set)
  const before = placesOf(balancer)
  for (const one of set) balancer.onClose(one)
  t.strictSame(placesOf(balancer), before)
  for (const one of set) for (let i = 0; i < 9; i++) balancer.onConnect(one)
  for (const one of set) for (let i = 0; i < 9; i++) balancer.onClose(one)
  t.strictSame(placesOf(balancer), before)
})
