import t from 'tap'
import {
  ProbeScope,
  TRAFFIC_MS,
  type ProbeScopeConfig,
} from '../../../src/policy/health/probe-scope.js'

const endpoints = Array.from({ length: 2000 }, (_, i) => `10.1.${i >> 8}.${i & 255}:80`)

function setUp({
  nodeName = 'node-1',
  ...over
}: Partial<ProbeScopeConfig & { nodeName: string }> = {}) {
  const connections = new Map<string, number | undefined>([
    ['a', 0],
    ['b', 0],
  ])
  const scope = new ProbeScope({
    config: { scope: 'traffic', sharePercent: 0, ...over },
    nodeName,
    readTraffic: () => (id) => connections.get(id),
  })
  const look = (nowMs: number) => scope.look(connections.keys(), nowMs)
  return { scope, connections, look }
}

t.test('all: everything, whatever the traffic', async (t) => {
  const { scope, look } = setUp({ scope: 'all' })
  t.ok(scope.includes('a', '10.1.0.1:80'))
  t.same(look(0), [])
  t.notOk(scope.isLimited)
})

t.test('a Service port is in while it is used, and for five minutes after', async (t) => {
  const { scope, connections, look } = setUp()
  t.same(look(0), [])
  t.notOk(scope.includes('a', '10.1.0.1:80'))
  connections.set('a', 3)
  t.same(look(1000), ['a'])
  t.ok(scope.includes('a', '10.1.0.1:80'))
  t.notOk(scope.includes('b', '10.1.0.1:80'))
  t.same(look(TRAFFIC_MS), [])
  connections.set('a', 4)
  t.same(look(TRAFFIC_MS + 500), [])
  t.same(look(2 * TRAFFIC_MS + 499), [])
  t.same(look(2 * TRAFFIC_MS + 500), ['a'])
  t.notOk(scope.includes('a', '10.1.0.1:80'))
})

t.test('where nobody counts connections all is probed', async (t) => {
  const { scope, connections, look } = setUp()
  connections.set('b', undefined)
  t.same(look(0), ['b'])
  t.ok(scope.includes('b', '10.1.0.1:80'))
  scope.forget('b')
  t.notOk(scope.includes('b', '10.1.0.1:80'))
})

t.test(
  'the share: even, another one on each node, and larger ones contain smaller ones',
  async (t) => {
    const shareOf = (nodeName: string, sharePercent: number) => {
      const { scope } = setUp({ nodeName, sharePercent })
      return endpoints.filter((id) => scope.includes('a', id))
    }
    t.equal(shareOf('node-1', 0).length, 0)
    t.equal(shareOf('node-1', 100).length, endpoints.length)
    const nodes = Array.from({ length: 20 }, (_, i) => shareOf(`node-${i}`, 10))
    for (const share of nodes) t.ok(Math.abs(share.length - 200) < 60, `${share.length} of 2000`)
    const counts = new Map<string, number>()
    for (const id of nodes.flat()) counts.set(id, (counts.get(id) ?? 0) + 1)
    t.ok(counts.size > 0.8 * endpoints.length, `${counts.size} endpoints are probed by somebody`)
    const larger = new Set(shareOf('node-1', 30))
    t.ok(shareOf('node-1', 10).every((id) => larger.has(id)))
  },
)
