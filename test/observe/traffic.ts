import t from 'tap'
import { Traffic } from '../../src/observe/traffic.js'
import { endpoint, portState, servicePort, snapshotOf } from '../fixtures/endpoint.js'

const state = portState(servicePort(), [endpoint('10.1.0.1')])
const { id } = state.servicePort

t.test('an open connection counts until it ends, once', async (t) => {
  const traffic = new Traffic()
  const ended = traffic.servicePort(id).opened('10.1.0.1:80')
  t.match(traffic.totals(), { activeConnections: 1, totalConnections: 1 })
  ended()
  ended()
  t.match(traffic.totals(), { activeConnections: 0, totalConnections: 1 })
})

t.test('totals never go down when a Service goes', async (t) => {
  const traffic = new Traffic()
  const ended = traffic.servicePort(id).opened('10.1.0.1:80')
  traffic.prune(snapshotOf([]))
  t.match(traffic.totals(), { activeConnections: 1 }, 'it still drains')
  ended()
  traffic.prune(snapshotOf([]))
  t.match(traffic.totals(), { activeConnections: 0, totalConnections: 1 })
  traffic.prune(snapshotOf([]))
  t.match(traffic.totals(), { totalConnections: 1 }, 'counted once')
})

t.test('an endpoint that has gone is forgotten when its last connection ends', async (t) => {
  const traffic = new Traffic()
  const counts = traffic.servicePort(id)
  const ended = counts.opened('10.1.0.9:80')
  traffic.prune(snapshotOf([state]))
  t.ok(counts.endpoints.has('10.1.0.9:80'))
  ended()
  traffic.prune(snapshotOf([state]))
  t.notOk(counts.endpoints.has('10.1.0.9:80'))
})
