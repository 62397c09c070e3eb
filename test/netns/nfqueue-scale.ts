/** The nfqueue mode with a quarter of a million endpoints, and with more events than it can take in. */
import { once } from 'node:events'
import t from 'tap'

import type { Agent } from '../fixtures/agent.js'
import { hold, release, serveEcho } from '../fixtures/held-connections.js'
import { answers, serve } from '../fixtures/reach.js'
import {
  type Proxy,
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'

const SERVICES = 2500
const ENDPOINTS = 100

const totalsOf = async (proxy: Proxy) =>
  (await proxy.status()).steering as unknown as Record<string, number>

/** Addresses that nobody has, but for the first endpoint of the first and the last Service. */
function manifests(pods: readonly string[]): object[] {
  return Array.from({ length: SERVICES }, (_, number) => {
    const name = `s${number}`
    const endpoints = Array.from(
      { length: ENDPOINTS },
      (_, i) => `10.${128 + (number >> 8)}.${number & 255}.${i + 1}`,
    )
    const isServed = number === 0 || number === SERVICES - 1
    return [
      service(name, { clusterIP: `10.97.${number >> 8}.${number & 255}` }),
      slice(name, isServed ? pods : endpoints),
    ]
  }).flat()
}

t.test('250,000 endpoints', { skip: rootOnly, timeout: 400_000 }, async (t) => {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  const pods = [cluster.podIp(1), cluster.podIp(2)]
  for (const [index, pod] of cluster.pods.entries()) {
    await serve(pod, `pod-${index + 1}`, pods[index]!, 8080)
  }
  cluster.write(manifests(pods))
  const total = (SERVICES - 2) * ENDPOINTS + 4
  const first = await cluster.startProxy('--proxy-mode', 'nfqueue', '--log-level', 'debug')
  t.teardown(() => first.stop('SIGKILL'))
  const last = `10.97.${(SERVICES - 1) >> 8}.${(SERVICES - 1) & 255}`

  const slots = async (): Promise<Map<string, string>> => {
    const text = await cluster.onNode('nft', 'list', 'map', 'ip', 'kube-sluice', 'endpoints')
    const elements = text.matchAll(/(0x[0-9a-f]+) comment "([^"]*)" : ([\d.]+ \. \d+)/g)
    return new Map([...elements].map(([, mark, comment, to]) => [`${comment} ${to}`, mark!]))
  }
  const before = await slots()
  t.equal(before.size, total, 'every endpoint has its slot')
  const map = ['list', 'map', 'ip', 'kube-sluice', 'endpoints'] as const
  t.match(await cluster.onNode('nft', '-t', ...map), /size 524288/, 'made for that many at once')
  for (const host of ['10.97.0.0', last]) {
    t.equal((await answers(cluster.client, { host })).length, 2, `${host} is steered`)
  }
  t.equal((await totalsOf(first))['passed'] ?? 0, 0, 'nothing was left to the standby')

  await t.test('one change touches one endpoint', async (t) => {
    const more = slice('s1', ['10.99.0.1']) as { metadata: object }
    cluster.write([{ ...more, metadata: { ...more.metadata, name: 's1-more' } }], 'change.json')
    await untilInForce(first, 2)
    t.equal((await slots()).size, total + 1)
  })

  await t.test('a restart keeps every slot', async (t) => {
    await first.stop('SIGKILL')
    const second = await cluster.startProxy('--proxy-mode', 'nfqueue')
    t.teardown(() => second.stop('SIGKILL'))
    const after = await slots()
    t.equal(after.size, total + 1)
    t.same(
      [...before].filter(([key, mark]) => after.get(key) !== mark),
      [],
    )
    t.equal((await answers(cluster.client, { host: last })).length, 2)
  })
})

t.test('more events than the socket holds', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await startCluster(1)
  t.teardown(() => cluster.close())
  const [pod] = cluster.pods as [Agent]
  await serveEcho(pod, cluster.podIp(1))
  cluster.write([
    service('long', { clusterIP: '10.96.0.11' }),
    slice('long', [cluster.podIp(1)], { port: 8090, protocol: 'TCP' }),
  ])
  const flags = ['--proxy-mode', 'nfqueue', '--conntrack-event-buffer', '65536']
  const proxy = await cluster.startProxy(...flags)
  t.teardown(() => proxy.stop('SIGKILL'))
  const open = (wanted: number) =>
    proxy.until(`${wanted} open`, ({ services }) =>
      services.some(({ name, activeConnections }) => {
        return name === 'test/long' && activeConnections === wanted
      }),
    )
  await hold(cluster.client, '10.96.0.11', 1000)
  await open(1000)
  const { eventOverruns: overruns = 0, resyncs = 0 } = await totalsOf(proxy)

  // While the process is stopped, more connections end than events of them fit in its socket.
  proxy.child.kill('SIGSTOP')
  await release(cluster.client, 990, true)
  await untilEstablished(cluster, 10)
  proxy.child.kill('SIGCONT')
  await open(10)
  const after = await totalsOf(proxy)
  t.ok((after['eventOverruns'] ?? 0) > overruns, 'the overrun is counted')
  t.ok((after['resyncs'] ?? 0) > resyncs, 'and the table read anew')
  await hold(cluster.client, '10.96.0.11', 5)
  await open(15)
})

/** Waits, for 10 s at most, until the node tracks no more established connections than that. */
async function untilEstablished(cluster: TestCluster, count: number): Promise<void> {
  const deadline = Date.now() + 10_000
  while (Date.now() < deadline) {
    const text = await cluster.onNode('conntrack', '-L', '-p', 'tcp', '--state', 'ESTABLISHED')
    if ((text.match(/^tcp/gm) ?? []).length <= count) return
  }
  throw new Error(`not within 10 s: ${count} established connections`)
}

/** Waits for that many syncs by the log: each status of so many endpoints takes a second. */
async function untilInForce(proxy: Proxy, syncs: number): Promise<void> {
  const signal = AbortSignal.timeout(20_000)
  while (proxy.log().split('in force').length <= syncs) {
    await once(proxy.child.stderr!, 'data', { signal })
  }
}
