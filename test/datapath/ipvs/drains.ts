import t from 'tap'

import { Drains } from '../../../src/datapath/ipvs/drains.js'
import { virtualServerKey, type VirtualServer } from '../../../src/kernel/ipvs.js'

function server(
  realServers: Readonly<Record<string, number>>,
  over: Partial<VirtualServer> = {},
): VirtualServer {
  return {
    protocol: 'TCP',
    address: '10.96.0.1',
    port: 80,
    scheduler: 'rr',
    flags: [],
    persistentSeconds: undefined,
    realServers: new Map(Object.entries(realServers)),
    ...over,
  }
}

function table(...servers: VirtualServer[]): Map<string, VirtualServer> {
  return new Map(servers.map((one) => [virtualServerKey(one), one]))
}

const weights = (servers: ReadonlyMap<string, VirtualServer>) =>
  Object.fromEntries(
    [...servers].map(([key, { realServers }]) => [key, Object.fromEntries(realServers)]),
  )
const KEY = 'TCP 10.96.0.1:80'
const connections = (counts: Readonly<Record<string, number>>) =>
  new Map([
    [KEY, new Map(Object.entries(counts).map(([id, active]) => [id, { active, inactive: 0 }]))],
  ])

t.test('an endpoint that goes keeps its connections, and goes with the last', async (t) => {
  const drains = new Drains(1000)
  const wanted = table(server({ 'a:1': 1 }))
  const present = table(server({ 'a:1': 1, 'b:1': 1, 'c:1': 1 }))
  const merged = drains.merge(wanted, present, 0)
  t.strictSame(weights(merged), { [KEY]: { 'a:1': 1, 'b:1': 0, 'c:1': 0 } })
  t.equal(drains.size, 2)
  const left = drains.sweep(merged, wanted, connections({ 'b:1': 1 }), 10)
  t.strictSame(weights(left), { [KEY]: { 'a:1': 1, 'b:1': 0 } })
  const again = drains.merge(wanted, left, 20)
  t.strictSame(weights(again), { [KEY]: { 'a:1': 1, 'b:1': 0 } })
  const none = drains.sweep(again, wanted, connections({}), 30)
  t.equal(none.get(KEY), wanted.get(KEY), 'the very object that was wanted')
  t.equal(drains.size, 0)
})

t.test('its time is counted from when it went, and has an end', async (t) => {
  const drains = new Drains(1000)
  const wanted = table(server({}))
  let kernel = table(server({ 'a:1': 1 }))
  for (const nowMs of [0, 500, 999]) {
    const merged = drains.merge(wanted, kernel, nowMs)
    kernel = drains.sweep(merged, wanted, connections({ 'a:1': 3 }), nowMs)
    t.strictSame(weights(kernel), { [KEY]: { 'a:1': 0 } })
  }
  kernel = drains.sweep(drains.merge(wanted, kernel, 1000), wanted, connections({ 'a:1': 3 }), 1000)
  t.strictSame(weights(kernel), { [KEY]: {} })
})

t.test('one that comes back gets its weight again', async (t) => {
  const drains = new Drains(1000)
  const merged = drains.merge(table(server({})), table(server({ 'a:1': 1 })), 0)
  t.equal(drains.size, 1)
  const back = drains.merge(table(server({ 'a:1': 5 })), merged, 10)
  t.strictSame(weights(back), { [KEY]: { 'a:1': 5 } })
  t.equal(drains.size, 0)
})

t.test('a virtual server that nobody wants goes with its last real server', async (t) => {
  const drains = new Drains(1000)
  const none = table()
  const merged = drains.merge(none, table(server({ 'a:1': 1 })), 0)
  t.strictSame(weights(merged), { [KEY]: { 'a:1': 0 } })
  const left = drains.sweep(merged, none, connections({ 'a:1': 1 }), 10)
  t.strictSame(weights(left), { [KEY]: { 'a:1': 0 } })
  t.strictSame(weights(drains.sweep(left, none, new Map(), 20)), {})
  t.strictSame(weights(drains.merge(none, table(server({})), 30)), {}, 'one without any at once')
})

t.test('UDP, SCTP and a period of 0: at once', async (t) => {
  for (const protocol of ['UDP', 'SCTP'] as const) {
    const merged = new Drains(1000).merge(table(), table(server({ 'a:1': 1 }, { protocol })), 0)
    t.equal(merged.size, 0, protocol)
  }
  t.equal(new Drains(0).merge(table(), table(server({ 'a:1': 1 })), 0).size, 0)
})
