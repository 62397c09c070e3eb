/** The iptables mode end to end: where connections end, what is repaired, what stays and what is left alone. */
import t, { type Test } from 'tap'

import type { Agent } from '../fixtures/agent.js'
import { answers, reach, serve } from '../fixtures/reach.js'
import {
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'

const SILENCE_MS = 500

async function twoPods(t: Test): Promise<TestCluster> {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  for (const [index, pod] of cluster.pods.entries()) {
    for (const family of [4, 6] as const) {
      await serve(pod, `pod-${index + 1}`, cluster.podIp(index + 1, family), 8080)
    }
  }
  return cluster
}

const isHere = (address: string) => ({ addresses: [address], nodeName: 'node-a' })
const isElsewhere = (address: string) => ({ addresses: [address], nodeName: 'node-b' })

/** `COUNT names of ours`, and the rest as it is. */
async function rulesOf(cluster: TestCluster): Promise<string[]> {
  const saved = await cluster.onNode('sh', '-c', 'iptables-save; ip6tables-save')
  return saved.split('\n').filter((line) => /KUBE-/.test(line))
}

t.test('Services by rules', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await twoPods(t)
  const { client, node } = cluster
  const [pod1] = cluster.pods as [Agent, Agent]
  const pods = [1, 2].map((pod) => cluster.podIp(pod))
  const manifests = [
    service('web', {
      clusterIP: '10.96.0.10',
      type: 'NodePort',
      externalIPs: ['192.0.2.10'],
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }],
    }),
    slice('web', pods),
    service('six', { clusterIP: 'fd00:96::10', ipFamilies: ['IPv6'] }),
    slice('six', [cluster.podIp(1, 6)]),
    service('none', { clusterIP: '10.96.0.11' }),
    service('local', {
      clusterIP: '10.96.0.12',
      type: 'NodePort',
      externalTrafficPolicy: 'Local',
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_082 }],
    }),
    slice('local', [isHere(pods[0]!), isElsewhere(pods[1]!)]),
    service('away', { clusterIP: '10.96.0.13', internalTrafficPolicy: 'Local' }),
    slice('away', [isElsewhere(pods[1]!)]),
    service('sticky', { clusterIP: '10.96.0.14', sessionAffinity: 'ClientIP' }),
    slice('sticky', pods),
    service('dns', { clusterIP: '10.96.0.15', ports: [{ port: 80, protocol: 'UDP' }] }),
    slice('dns', pods, { port: 8080, protocol: 'UDP' }),
  ]
  cluster.write(manifests)
  const foreign = '*filter\n:MINE - [0:0]\n-A MINE -s 203.0.113.9 -j DROP\nCOMMIT\n'
  await cluster.onNode('sh', '-c', `printf '${foreign}' | iptables-restore --noflush`)
  const proxy = await cluster.startProxy('--proxy-mode', 'iptables')
  t.teardown(() => proxy.stop('SIGKILL'))

  await t.test('every kind of VIP', async (t) => {
    const masqueraded = ['pod-1 10.244.1.1', 'pod-2 10.244.2.1']
    t.same(await answers(client, { host: '10.96.0.10' }), masqueraded, 'not from a pod')
    t.same(await answers(client, { host: '192.0.2.10' }), masqueraded)
    t.same(await answers(client, { host: '10.0.1.1', port: 30_080 }), masqueraded)
    t.same(await answers(node, { host: '127.0.0.1', port: 30_080 }), masqueraded)
    t.match(await reach(client, { host: 'fd00:96::10' }), /^pod-1 /)
    t.equal((await answers(client, { host: '10.96.0.15', udp: true }, 20)).length, 2)
  })

  await t.test('from a pod its address is kept, but for the way to itself', async (t) => {
    t.same(await answers(pod1, { host: '10.96.0.10' }, 20), [
      'pod-1 10.244.1.1',
      'pod-2 10.244.1.2',
    ])
  })

  await t.test('refused without endpoints, silent without local ones', async (t) => {
    t.equal(await reach(client, { host: '10.96.0.11' }), 'ECONNREFUSED')
    t.equal(await reach(client, { host: '10.96.0.13', timeoutMs: SILENCE_MS }), 'silence')
    t.same(await answers(client, { host: '10.0.1.1', port: 30_082 }), ['pod-1 10.0.1.2'])
    t.equal((await answers(node, { host: '10.0.1.1', port: 30_082 }, 20)).length, 2)
  })

  await t.test('one client, one endpoint', async (t) => {
    t.equal((await answers(client, { host: '10.96.0.14' }, 20)).length, 1)
  })

  await t.test('an edit replaces what it is about', async (t) => {
    cluster.write([
      ...manifests.slice(2),
      service('web', { clusterIP: '10.96.0.10' }),
      slice('web', [pods[1]!]),
    ])
    await proxy.until('one endpoint', ({ services }) =>
      services.some(({ name, endpoints }) => name === 'test/web' && endpoints.length === 1),
    )
    t.same(await answers(client, { host: '10.96.0.10' }), ['pod-2 10.244.2.1'])
    t.notMatch((await rulesOf(cluster)).join('\n'), /30080/)
  })

  await t.test('rules that somebody flushes are back at once', async (t) => {
    const flush = ['mangle', 'nat'].map((table) => `iptables -t ${table} -F`).join(';')
    await cluster.onNode('sh', '-c', flush)
    const deadline = Date.now() + 30_000
    let answer = ''
    while (answer !== 'pod-2 10.244.2.1' && Date.now() < deadline) {
      answer = await reach(client, { host: '10.96.0.10', timeoutMs: 200 })
    }
    t.equal(answer, 'pod-2 10.244.2.1')
    t.match(proxy.log(), /somebody has flushed iptables rules/)
  })

  await t.test('a restart takes the rules over, whatever wrote them', async (t) => {
    const before = await rulesOf(cluster)
    await proxy.stop('SIGKILL')
    t.match(await reach(client, { host: '10.96.0.10' }), /^pod-2 /, 'they need no process')
    const stale = '*nat\\n:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]\\nCOMMIT\\n'
    await cluster.onNode('sh', '-c', `printf '${stale}' | iptables-restore --noflush`)
    const second = await cluster.startProxy('--proxy-mode', 'iptables')
    t.teardown(() => second.stop('SIGKILL'))
    const withoutCounters = (lines: string[]) =>
      lines.map((line) => line.replace(/\[.*\]/, '')).sort()
    t.same(withoutCounters(await rulesOf(cluster)), withoutCounters(before))
    await second.stop('SIGTERM')
    t.match(await reach(client, { host: '10.96.0.10' }), /^pod-2 /, 'and outlive it')
  })

  await t.test('cleanup leaves what is not ours', async (t) => {
    await cluster.onNode(process.execPath, 'dist/cli/main.js', 'cleanup')
    const left = await rulesOf(cluster)
    t.same(
      left.filter((line) => !line.includes('KUBE-FIREWALL')),
      [],
      'nothing but the chain of the kubelet',
    )
    t.match(
      await cluster.onNode('iptables-save', '-t', 'filter'),
      '-A MINE -s 203.0.113.9/32 -j DROP',
    )
  })
})
