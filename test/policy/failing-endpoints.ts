import t from 'tap'
import { FailingEndpoints } from '../../src/policy/failing-endpoints.js'
import { endpoint } from '../fixtures/endpoint.js'

const [a, b, c] = ['10.1.0.1', '10.1.0.2', '10.1.0.3'].map((ip) => endpoint(ip))

t.test('an endpoint that failed is passed over for a second', async (t) => {
  const failing = new FailingEndpoints()
  t.strictSame(failing.toAvoid(3, 0), [])
  failing.failed(a!, 0)
  t.strictSame(failing.toAvoid(3, 999), [a])
})

t.test('then one connection tries it, and the others wait for how it goes', async (t) => {
  const failing = new FailingEndpoints()
  failing.failed(a!, 0)
  t.strictSame(failing.toAvoid(3, 1000), [], 'the one that tries')
  t.strictSame(failing.toAvoid(3, 1001), [a], 'the next')
  failing.succeeded(a!)
  t.strictSame(failing.toAvoid(3, 1002), [])
})

t.test('each further failure doubles the time, up to 30 s', async (t) => {
  const failing = new FailingEndpoints()
  let nowMs = 0
  failing.failed(a!, nowMs)
  for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
    t.strictSame(failing.toAvoid(3, nowMs + seconds * 1000 - 1), [a], `${seconds} s`)
    nowMs += seconds * 1000
    t.strictSame(failing.toAvoid(3, nowMs), [])
    nowMs += seconds * 1000
    failing.failed(a!, nowMs)
  }
})

t.test('failures of connections under way together count once', async (t) => {
  const failing = new FailingEndpoints()
  for (let i = 0; i < 100; i++) failing.failed(a!, i)
  t.strictSame(failing.toAvoid(3, 1000), [])
})

t.test('never more than half are passed over', async (t) => {
  const failing = new FailingEndpoints()
  for (const one of [a!, b!, c!]) failing.failed(one, 0)
  t.equal(failing.toAvoid(3, 1).length, 1)
  t.equal(failing.toAvoid(2, 1).length, 1)
  t.equal(failing.toAvoid(1, 1).length, 0)
})

t.test('an endpoint that has gone is forgotten', async (t) => {
  const failing = new FailingEndpoints()
  failing.failed(a!, 0)
  failing.retain([b!])
  t.strictSame(failing.toAvoid(3, 1), [])
})
