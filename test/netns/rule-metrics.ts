/** /metrics of the modes that write rules, against what is in the kernel. */
import t, { type Test } from 'tap'

import type { Agent } from '../fixtures/agent.js'
import { brittleTools } from '../fixtures/brittle-tools.js'
import { hold, release, serveEcho } from '../fixtures/held-connections.js'
import { metricsOf, untilMetrics } from '../fixtures/metrics.js'
import { reach, serve } from '../fixtures/reach.js'
import {
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'

const SYNC = 'kubeproxy_sync_proxy_rules'
const V4 = '{ip_family="IPv4"}'

async function twoPods(t: Test): Promise<TestCluster> {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  for (const [index, pod] of cluster.pods.entries()) {
    await serve(pod, `pod-${index + 1}`, cluster.podIp(index + 1), 8080)
    await serveEcho(pod, cluster.podIp(index + 1))
  }
  return cluster
}

function manifests(cluster: TestCluster, pods: readonly number[]): object[] {
  const ips = pods.map((pod) => cluster.podIp(pod))
  return [
    service('web', {
      clusterIP: '10.96.0.10',
      type: 'NodePort',
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }],
    }),
    slice('web', ips),
    service('none', { clusterIP: '10.96.0.11' }),
    service('echo', { clusterIP: '10.96.0.12' }),
    slice('echo', [cluster.podIp(1)], { port: 8090, protocol: 'TCP' }),
    service('dns', { clusterIP: '10.96.0.13', ports: [{ port: 80, protocol: 'UDP' }] }),
    slice('dns', ips.slice(0, 1), { port: 8080, protocol: 'UDP' }),
  ]
}

/** From the same port each time: one flow. */
function sayByUdp(client: Agent): Promise<string> {
  return client.run(async ({ dgram, once, state }) => {
    state['flow'] ??= dgram.createSocket('udp4').bind(40_001)
    const socket = state['flow'] as ReturnType<typeof dgram.createSocket>
    socket.send('?', 80, '10.96.0.13')
    const [text] = (await once(socket, 'message')) as [Buffer]
    return text.toString()
  }, undefined)
}

/** Rules in chains of ours: not the jumps from built-in chains, the canaries, the kubelet's chain. */
async function rulesInKernel(cluster: TestCluster, table: string): Promise<number> {
  const saved = await cluster.onNode('iptables-save', '-t', table)
  const ours = saved.split('\n').filter((line) => line.startsWith('-A KUBE-'))
  return ours.filter((line) => !/-A KUBE-(PROXY-CANARY|FIREWALL) /.test(line)).length
}

t.test('iptables', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await twoPods(t)
  const { client } = cluster
  const tools = brittleTools()
  t.teardown(() => {
    tools.remove()
  })
  cluster.write(manifests(cluster, [1]))
  const flags = ['--cluster-cidr', '10.244.0.0/16', '--proxy-mode', 'iptables']
  const proxy = await cluster.startPlainProxy(flags, [tools.folder])
  t.teardown(() => proxy.stop('SIGKILL'))

  await t.test('rules in the kernel, and those that the last restore wrote', async (t) => {
    const first = await metricsOf(cluster)
    for (const table of ['nat', 'filter']) {
      const labels = `{table="${table}",ip_family="IPv4"}`
      t.equal(first(`${SYNC}_iptables_total${labels}`), await rulesInKernel(cluster, table), table)
      t.equal(
        first(`${SYNC}_iptables_last${labels}`),
        first(`${SYNC}_iptables_total${labels}`),
        'all of them',
      )
    }
    t.equal(first(`kubeproxy_sync_full_proxy_rules_duration_seconds_count${V4}`), 1)
    t.equal(first(`kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv6"}`), 1)
    t.match(await sayByUdp(client), /^pod-1/)
    const partial = `kubeproxy_sync_partial_proxy_rules_duration_seconds_count${V4}`
    const before = first(partial) ?? 0
    cluster.write(manifests(cluster, [2]))
    const then = await untilMetrics(cluster, 'partial', (read) => (read(partial) ?? 0) > before)
    const nat = '{table="nat",ip_family="IPv4"}'
    t.equal(then(`${SYNC}_iptables_total${nat}`), await rulesInKernel(cluster, 'nat'))
    t.ok(then(`${SYNC}_iptables_last${nat}`)! < then(`${SYNC}_iptables_total${nat}`)!)
    t.equal(then(`kubeproxy_sync_full_proxy_rules_duration_seconds_count${V4}`), 1)
  })

  await t.test('UDP entries of an endpoint that has gone', async (t) => {
    const deleted = `kubeproxy_conntrack_reconciler_deleted_entries_total${V4}`
    const read = await untilMetrics(cluster, 'deleted', (read) => read(deleted) === 1)
    t.ok(read(`kubeproxy_conntrack_reconciler_sync_duration_seconds_count${V4}`)! >= 2)
    t.match(await sayByUdp(client), /^pod-2/)
  })

  await t.test('restores that fail, and how the next one mends it', async (t) => {
    tools.break(true)
    cluster.write(manifests(cluster, [1, 2]))
    const failures = `${SYNC}_iptables_restore_failures_total${V4}`
    const partial = `${SYNC}_iptables_partial_restore_failures_total${V4}`
    const read = await untilMetrics(cluster, 'failed', (read) => (read(failures) ?? 0) >= 1)
    t.equal(read(partial), 1, 'after it everything is written')
    t.equal(read('kube_sluice_syncs_total{result="failure"}')! >= 1, true)
    tools.break(false)
    const full = `kubeproxy_sync_full_proxy_rules_duration_seconds_count${V4}`
    await untilMetrics(cluster, 'mended', (read) => read(full) === 2)
    t.match(await reach(client, { host: '10.96.0.10' }), /^pod-/)
  })

  await t.test('packets that connection tracking calls invalid', async () => {
    const dropped = 'kubeproxy_iptables_ct_state_invalid_dropped_packets_total'
    const before = (await metricsOf(cluster))(dropped)!
    await hold(client, '10.96.0.12', 1)
    await cluster.onNode('sysctl', '-w', 'net.netfilter.nf_conntrack_tcp_loose=0')
    await cluster.onNode('conntrack', '-D', '-p', 'tcp', '-s', '10.0.1.2')
    const route = ['route', 'replace', '10.96.0.12', 'via', '10.0.1.1']
    await cluster.onClient('ip', ...route)
    await release(client, 1, false)
    await untilMetrics(cluster, 'dropped', (read) => read(dropped)! > before)
  })
})

t.test('nftables', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await twoPods(t)
  cluster.write(manifests(cluster, [1]))
  const proxy = await cluster.startProxy('--proxy-mode', 'nftables')
  t.teardown(() => proxy.stop('SIGKILL'))
  const full = `kubeproxy_sync_full_proxy_rules_duration_seconds_count${V4}`
  const partial = `kubeproxy_sync_partial_proxy_rules_duration_seconds_count${V4}`
  const failures = `${SYNC}_nftables_sync_failures_total${V4}`
  t.match(await sayByUdp(cluster.client), /^pod-1/)
  const first = await metricsOf(cluster)
  t.equal(first(full), 1)
  t.equal(first(failures) ?? 0, 0)
  const before = first(partial) ?? 0
  cluster.write(manifests(cluster, [2]))
  const then = await untilMetrics(cluster, 'partial', (read) => (read(partial) ?? 0) > before)
  t.equal(then(full), 1, 'a change is not a full sync')
  const deleted = `kubeproxy_conntrack_reconciler_deleted_entries_total${V4}`
  await untilMetrics(cluster, 'the flow to pod 1', (read) => read(deleted) === 1)

  t.comment('an element that the next change is to delete is gone already')
  const slots = await cluster.onNode('nft', 'list', 'map', 'ip', 'kube-sluice', 'vip-slots')
  const element = /10\.96\.0\.10 \. tcp \. 80 \. \S+/.exec(slots)?.[0] ?? ''
  const words = ['delete', 'element', 'ip', 'kube-sluice', 'vip-slots', `{ ${element} }`]
  t.equal(await cluster.onNode('nft', ...words), '')
  cluster.write(manifests(cluster, []))
  const last = await untilMetrics(cluster, 'everything loaded', (read) => read(full) === 2)
  t.equal(last(failures), 1)
  t.equal(last('kube_sluice_syncs_total{result="failure"}'), 0, 'in the same sync')
})

t.test('nfqueue', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await twoPods(t)
  const ips = [1, 2].map((pod) => cluster.podIp(pod))
  cluster.write([
    service('sticky', { clusterIP: '10.96.0.10', sessionAffinity: 'ClientIP' }),
    slice('sticky', ips),
  ])
  const proxy = await cluster.startProxy('--proxy-mode', 'nfqueue', '--affinity-max-clients', '1')
  t.teardown(() => proxy.stop('SIGKILL'))
  t.match(await reach(cluster.client, { host: '10.96.0.10' }), /^pod-/)
  t.match(await reach(cluster.pods[0]!, { host: '10.96.0.10' }), /^pod-/)
  const hits = (bound: string) => `kube_sluice_bound_hits_total{bound="${bound}"}`
  const read = await untilMetrics(
    cluster,
    'a client forgotten',
    (read) => read(hits('affinity-max-clients')) === 1,
  )
  t.equal(read('kube_sluice_affinity_clients'), 1)
  for (const bound of ['nfqueue-length', 'nfqueue-buffer', 'nfqueue-flows']) {
    t.equal(read(hits(bound)), 0, bound)
  }
  t.equal(read(hits('conntrack-event-buffer')), 0)
  t.ok(read(`kubeproxy_sync_full_proxy_rules_duration_seconds_count${V4}`)! >= 1, 'the standby')
})
