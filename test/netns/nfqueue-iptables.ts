/** The nfqueue mode where slots and the standby are iptables rules, as time goes by. */
import t, { type Test } from 'tap'

import { answers, reach, serve } from '../fixtures/reach.js'
import {
  type Proxy,
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'

const FLAGS = ['--proxy-mode', 'nfqueue', '--nfqueue-dnat', 'iptables'] as const
const PORT = { port: 8080, protocol: 'TCP' }

async function start(t: Test, cluster: TestCluster, ...flags: string[]): Promise<Proxy> {
  const proxy = await cluster.startProxy(...FLAGS, ...flags)
  t.teardown(() => proxy.stop('SIGKILL'))
  return proxy
}

const steeredBy = async (proxy: Proxy) =>
  (await proxy.status()).steering as unknown as Record<string, number>

/** The rules of slots, without counters. */
const slotRules = async (cluster: TestCluster) =>
  (await cluster.onNode('iptables-save', '-t', 'nat'))
    .split('\n')
    .filter((line) => line.startsWith('-A KUBE-SLUICE-EP-'))
    .sort()

t.test('kill, restart, flush, cleanup', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  const { client } = cluster
  const pods = [cluster.podIp(1), cluster.podIp(2)]
  for (const [index, pod] of cluster.pods.entries()) {
    await serve(pod, `pod-${index + 1}`, pods[index]!, 8080)
  }
  cluster.write([
    service('web', { clusterIP: '10.96.0.10' }),
    slice('web', pods, PORT),
    service('empty', { clusterIP: '10.96.0.11' }),
  ])
  const first = await start(t, cluster)
  const both = ['pod-1 10.244.1.1', 'pod-2 10.244.2.1']
  t.same(await answers(client, { host: '10.96.0.10' }), both)
  t.equal(await reach(client, { host: '10.96.0.11' }), 'ECONNREFUSED')
  const { steered = 0, rejected = 0 } = await steeredBy(first)
  t.ok(steered >= 12, 'steered, and not left to the standby')
  t.ok(rejected >= 1)
  t.notMatch(await cluster.onNode('nft', 'list', 'tables'), /kube-sluice/)
  const before = await slotRules(cluster)
  t.equal(before.length, 2)

  await t.test('the standby serves when the daemon is killed', async (t) => {
    await first.stop('SIGKILL')
    t.same(await answers(client, { host: '10.96.0.10' }, 40), both)
    t.equal(await reach(client, { host: '10.96.0.11' }), 'ECONNREFUSED')
  })

  const second = await start(t, cluster)
  await t.test('a restart keeps the slots and steers again', async (t) => {
    t.same(await slotRules(cluster), before)
    t.same(await answers(client, { host: '10.96.0.10' }), both)
    t.ok(((await steeredBy(second))['steered'] ?? 0) >= 12)
  })

  await t.test('endpoints come and go', async (t) => {
    cluster.write([service('web', { clusterIP: '10.96.0.10' }), slice('web', [pods[1]!], PORT)])
    await second.until('one endpoint', ({ services }) =>
      services.some(({ name, endpoints }) => name === 'test/web' && endpoints.length === 1),
    )
    t.same(await answers(client, { host: '10.96.0.10' }), [both[1]])
    t.equal((await slotRules(cluster)).length, 1)
  })

  await t.test('the other way of translating takes over, and its rules go', async (t) => {
    await second.stop('SIGKILL')
    const third = await cluster.startProxy('--proxy-mode', 'nfqueue', '--nfqueue-dnat', 'nftables')
    t.teardown(() => third.stop('SIGKILL'))
    t.same(await answers(client, { host: '10.96.0.10' }), [both[1]])
    t.notMatch(await cluster.onNode('iptables-save', '-t', 'nat'), /KUBE-SLUICE-EP-|KUBE-SVC-/)
    t.ok(((await steeredBy(third))['steered'] ?? 0) >= 12)
    await third.stop('SIGKILL')
    const fourth = await start(t, cluster)
    t.same(await answers(client, { host: '10.96.0.10' }), [both[1]])
    t.notMatch(await cluster.onNode('nft', 'list', 'tables'), /kube-sluice/)
    await fourth.stop()
  })

  await t.test('cleanup leaves nothing', async (t) => {
    t.match(await cluster.onNode(process.execPath, 'dist/cli/main.js', 'cleanup'), /removed/)
    const left = await cluster.onNode('sh', '-c', 'nft list ruleset; iptables-save; ipset list -n')
    t.notMatch(left, /sluice|KUBE-S/i)
  })
})

t.test('more endpoints than slots', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await startCluster(1)
  t.teardown(() => cluster.close())
  await serve(cluster.pods[0]!, 'pod-1', cluster.podIp(1), 8080)
  // 12 bits: two flags, and 1,023 endpoints, of which `a` takes all but three.
  const ips = (count: number) =>
    Array.from({ length: count }, (_, i) => `10.99.${i >> 8}.${(i & 255) + 1}`)
  cluster.write([
    service('a', { clusterIP: '10.96.0.10' }),
    slice('a', ips(1020), PORT),
    service('b', { clusterIP: '10.96.0.11' }),
    slice('b', [cluster.podIp(1)], PORT),
  ])
  const proxy = await start(t, cluster, '--conntrack-mark-mask', '0xfff00000')
  t.ok((await cluster.onNode('ipset', 'save', 'KUBE-SLUICE-STEERED')).includes('10.96.0.11,'))
  cluster.write(
    [service('d', { clusterIP: '10.96.0.13' }), slice('d', [cluster.podIp(1), ...ips(5)], PORT)],
    'd.json',
  )
  await proxy.until('a warning', ({ warnings }) => warnings.some((line) => line.includes('slots')))
  const set = await cluster.onNode('ipset', 'save', 'KUBE-SLUICE-STEERED')
  t.match(set, /10\.96\.0\.11,tcp:80/, 'who has slots is steered')
  t.notMatch(set, /10\.96\.0\.13,tcp:80/, 'who found none is left to the standby')
})
