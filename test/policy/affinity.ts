import t from 'tap'
import { AffinityTable } from '../../src/policy/affinity.js'

const client = { servicePortId: 'demo/echo/TCP/IPv4', clientIp: '10.0.0.5' }
const at = (nowMs: number, timeoutMs = 10_800_000) => ({ nowMs, timeoutMs })
const find = (table: AffinityTable, time: { nowMs: number; timeoutMs: number }) =>
  table.find(client.servicePortId, client.clientIp, time)

t.test('a client stays until exactly its time-out after its last new connection', async (t) => {
  const table = new AffinityTable({ maxClients: 10 })
  table.pin(client, '10.1.0.1:80', at(1000))
  t.equal(find(table, at(1000 + 10_799_999)), '10.1.0.1:80')
  t.equal(find(table, at(1000 + 10_800_000)), undefined)
})

t.test('a new connection refreshes it, a look-up does not', async (t) => {
  const table = new AffinityTable({ maxClients: 10 })
  table.pin(client, 'one', at(0, 100))
  find(table, at(99, 100))
  t.equal(find(table, at(100, 100)), undefined)
  table.pin(client, 'one', at(100, 100))
  table.pin(client, 'one', at(180, 100))
  t.equal(find(table, at(279, 100)), 'one')
})

t.test('a time-out that was shortened counts at once', async (t) => {
  const table = new AffinityTable({ maxClients: 10 })
  table.pin(client, 'one', at(0, 1000))
  t.equal(find(table, at(500, 100)), undefined)
})

t.test('Service ports do not share clients', async (t) => {
  const table = new AffinityTable({ maxClients: 10 })
  table.pin(client, 'one', at(0))
  t.equal(table.find('demo/other/TCP/IPv4', client.clientIp, at(0)), undefined)
})

t.test('a full table forgets the client seen longest ago and counts it', async (t) => {
  const table = new AffinityTable({ maxClients: 2 })
  for (const clientIp of ['10.0.0.1', '10.0.0.2', '10.0.0.3']) {
    table.pin({ ...client, clientIp }, 'one', at(0))
  }
  t.equal(table.size, 2)
  t.equal(table.evictions, 1)
  t.equal(table.find(client.servicePortId, '10.0.0.1', at(0)), undefined)
})

t.test('a sweep drops what has expired, and forget drops one client', async (t) => {
  const table = new AffinityTable({ maxClients: 10 })
  table.pin(client, 'one', at(0, 100))
  table.pin({ ...client, clientIp: '10.0.0.6' }, 'one', at(50, 100))
  table.sweep(120)
  t.equal(table.size, 1)
  table.forget(client.servicePortId, '10.0.0.6')
  t.equal(table.size, 0)
  t.equal(table.evictions, 0)
})
