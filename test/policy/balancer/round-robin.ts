import fc from 'fast-check'
import t from 'tap'
import { RoundRobin } from '../../../src/policy/balancer/round-robin.js'
import { endpoint } from '../../fixtures/endpoint.js'

const context = { clientIp: '10.0.0.1', clientPort: 1, nowMs: 0, random: 0 }
const [a, b, c, d] = ['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4'].map((ip) => endpoint(ip))

t.test('takes every endpoint in turn', async (t) => {
  const balancer = new RoundRobin()
  balancer.setEndpoints([a!, b!, c!])
  const picks = Array.from({ length: 7 }, () => balancer.pick(context, [])?.ip)
  t.strictSame(
    picks,
    [a, b, c, a, b, c, a].map((one) => one!.ip),
  )
})

t.test('starts at a random place', async (t) => {
  const balancer = new RoundRobin()
  balancer.setEndpoints([a!, b!, c!])
  t.equal(balancer.pick({ ...context, random: 0.99 }, []), c)
  t.equal(balancer.pick({ ...context, random: 0.99 }, []), a, 'and only the start is random')
})

t.test('the counts of two endpoints never differ by more than one', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 500 }), (n, picks) => {
      const balancer = new RoundRobin()
      const set = Array.from({ length: n }, (_, i) => endpoint(`10.2.0.${i + 1}`))
      balancer.setEndpoints(set)
      const counts = new Map(set.map(({ id }) => [id, 0]))
      for (let i = 0; i < picks; i++) {
        const { id } = balancer.pick({ ...context, random: 0.37 }, [])!
        counts.set(id, counts.get(id)! + 1)
      }
      return Math.max(...counts.values()) - Math.min(...counts.values()) <= 1
    }),
  )
})

t.test('a change of the set goes on at the next endpoint that is still there', async (t) => {
  const balancer = new RoundRobin()
  balancer.setEndpoints([a!, b!, c!])
  t.equal(balancer.pick(context, []), a)
  balancer.setEndpoints([a!, c!, d!])
  t.equal(balancer.pick(context, []), c, 'b was next and is gone')
  balancer.setEndpoints([a!, b!, c!, d!])
  t.equal(balancer.pick(context, []), d)
})

t.test('survives losing all endpoints', async (t) => {
  const balancer = new RoundRobin()
  balancer.setEndpoints([a!])
  t.equal(balancer.pick(context, []), a)
  balancer.setEndpoints([])
  t.equal(balancer.pick(context, []), undefined)
  balancer.setEndpoints([b!])
  t.equal(balancer.pick(context, []), b)
})

t.test('a retry takes the next untried endpoint', async (t) => {
  const balancer = new RoundRobin()
  balancer.setEndpoints([a!, b!, c!])
  const first = balancer.pick(context, [])!
  t.equal(balancer.pick(context, [first]), b)
  t.equal(balancer.pick(context, []), c)
  t.equal(balancer.pick(context, [a!, b!, c!]), undefined)
})
