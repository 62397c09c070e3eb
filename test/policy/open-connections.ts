import t from 'tap'
import { OpenConnections } from '../../src/policy/open-connections.js'
import { endpoint } from '../fixtures/endpoint.js'

t.test('counts by Service port and endpoint, and never below zero', async (t) => {
  const open = new OpenConnections()
  const a = endpoint('10.1.0.1')
  open.closed('x', a.id)
  t.equal(open.of('x', a), 0)
  open.opened('x', a.id)
  open.opened('x', a.id)
  open.opened('y', a.id)
  t.equal(open.of('x', a), 2)
  open.closed('x', a.id)
  open.closed('x', a.id)
  open.closed('x', a.id)
  t.equal(open.of('x', a), 0)
  t.equal(open.of('y', a), 1)
})
