/** The HTTP endpoints of a running proxy, byte for byte where that is what others rely on. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import {
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'

const HEAD = 'apiVersion: kube-sluice.io/v1alpha1\nkind: KubeSluiceConfiguration\n'

const nodeObject = (extra: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'node-a' },
  status: { addresses: [{ type: 'InternalIP', address: '10.0.1.1' }] },
  ...extra,
})
const web = (endpoints: readonly object[]) => [
  service('web', {
    type: 'LoadBalancer',
    clusterIP: '10.96.0.10',
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: 32000,
    ports: [
      { name: 'a', port: 80, protocol: 'TCP' },
      { name: 'b', port: 81, protocol: 'TCP' },
    ],
  }),
  {
    ...slice('web', endpoints),
    ports: [
      { name: 'a', port: 8080, protocol: 'TCP' },
      { name: 'b', port: 8081, protocol: 'TCP' },
    ],
  },
]
const local = (address: string, conditions = {}) => ({
  addresses: [address],
  nodeName: 'node-a',
  conditions,
})

/** The whole answer as it comes from the socket, without the date. */
async function rawFromClient(
  cluster: TestCluster,
  port: number,
  request = 'GET /',
): Promise<string> {
  const script = `exec 3<>/dev/tcp/10.0.1.1/${port} && printf '${request} HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`
  const text = await cluster.onClient('bash', '-c', script)
  return text.replace(/^Date: .*\r\n/m, '')
}

async function bodyOnNode(cluster: TestCluster, path: string): Promise<string> {
  const script = `exec 3<>/dev/tcp/127.0.0.1/10249 && printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3`
  const text = await cluster.onNode('bash', '-c', script)
  return text.slice(text.indexOf('\r\n\r\n') + 4)
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

t.test('process surface', { skip: rootOnly }, async (t) => {
  const cluster = await startCluster(1)
  t.teardown(() => cluster.close())
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-test-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const file = join(folder, 'config.yaml')
  writeFileSync(file, `${HEAD}metricsPerEndpoint: 2\nminSyncPeriod: 0s\n`)
  const endpoints = [local('10.244.1.2'), local('10.244.1.3'), { addresses: ['10.244.9.9'] }]
  cluster.write([nodeObject(), ...web(endpoints)])
  const proxy = await cluster.startProxy(
    ...['--config', file, '--proxy-mode', 'userspace', '--userspace-capture', 'anyip'],
    ...['--metrics-allowed-hosts', 'node-a.example'],
  )
  t.teardown(() => proxy.stop())

  await t.test('healthCheckNodePort answers as kube-proxy does', async (t) => {
    await until('listener', async () => (await rawFromClient(cluster, 32000)).startsWith('HTTP'))
    const answer = (status: string, count: number) => {
      const body = `{\n\t"service": {\n\t\t"namespace": "test",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": ${count},\n\t"serviceProxyHealthy": true\n}`
      return (
        `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n` +
        `X-Load-Balancing-Endpoint-Weight: ${count}\r\nContent-Length: ${body.length}\r\n` +
        `Connection: close\r\n\r\n${body}`
      )
    }
    t.equal(await rawFromClient(cluster, 32000), answer('200 OK', 2), 'two ports count once')
    t.equal(await rawFromClient(cluster, 32000, 'GET /any/path?x'), answer('200 OK', 2))
    t.equal(await rawFromClient(cluster, 32000, 'POST /'), answer('200 OK', 2), 'any method')
    const leaving = { ready: false, serving: true, terminating: true }
    cluster.write([nodeObject(), ...web([local('10.244.1.2', leaving), endpoints[2]!])])
    const gone = answer('503 Service Unavailable', 0)
    await until('no local endpoint', async () => (await rawFromClient(cluster, 32000)) === gone)
    cluster.write([nodeObject(), ...web(endpoints)])
    await until('back', async () => (await rawFromClient(cluster, 32000)) === answer('200 OK', 2))
  })

  await t.test('/healthz tells load balancers of a node that goes, /livez does not', async (t) => {
    const before = await rawFromClient(cluster, 10256, 'GET /healthz')
    t.match(before, /^HTTP\/1.1 200 OK\r\nContent-Type: application\/json\r\n/)
    t.match(before, 'X-Content-Type-Options: nosniff')
    t.match(
      before,
      /"nodeEligible":true,"healthy":true,"status":\{"IPv4":\{"lastUpdated":"2.*Z","healthy":true\}/,
    )
    const taints = [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }]
    cluster.write([nodeObject({ spec: { taints } }), ...web(endpoints)])
    await until('not eligible', async () =>
      (await rawFromClient(cluster, 10256, 'GET /healthz')).startsWith('HTTP/1.1 503'),
    )
    t.match(
      await rawFromClient(cluster, 10256, 'GET /healthz'),
      '"nodeEligible":false,"healthy":true',
    )
    t.match(await rawFromClient(cluster, 10256, 'GET /livez'), /^HTTP\/1.1 200 /)
    t.match(await rawFromClient(cluster, 10256, 'GET /readyz'), /^HTTP\/1.1 404 /)
    cluster.write([nodeObject(), ...web(endpoints)])
    await until('eligible', async () =>
      (await rawFromClient(cluster, 10256, 'GET /healthz')).startsWith('HTTP/1.1 200'),
    )
  })

  await t.test('/metrics has kube-proxy’s and ours, within the bounds', async (t) => {
    const text = await bodyOnNode(cluster, '/metrics')
    for (const expected of [
      /^kubeproxy_sync_proxy_rules_duration_seconds_bucket\{le="0.001",ip_family="IPv4"\} \d+$/m,
      /^kubeproxy_sync_proxy_rules_duration_seconds_bucket\{le="16.384",ip_family="IPv6"\} \d+$/m,
      /^kubeproxy_network_programming_duration_seconds_bucket|^# TYPE kubeproxy_network_programming_duration_seconds histogram$/m,
      /^kubeproxy_sync_proxy_rules_endpoint_changes_total [1-9]\d*$/m,
      /^kubeproxy_sync_proxy_rules_service_changes_pending 0$/m,
      /^kubeproxy_sync_proxy_rules_no_local_endpoints_total\{traffic_policy="external",ip_family="IPv4"\} 0$/m,
      /^kubeproxy_proxy_healthz_total\{code="503"\} [1-9]/m,
      /^kubeproxy_proxy_livez_total\{code="200"\} [1-9]/m,
      /^kube_sluice_proxy_mode\{mode="userspace"\} 1$/m,
      /^kube_sluice_service_port_endpoints\{namespace="test",service="web",port="a",protocol="TCP",ip_family="IPv4"\} 3$/m,
      /^kube_sluice_metrics_left_out\{of="endpoints"\} 4$/m,
      /^kube_sluice_bound_hits_total\{bound="max-connections"\} 0$/m,
      /^kube_sluice_pump_bytes_total\{by="copy"\} \d+$/m,
      /^process_resident_memory_bytes \d+$/m,
    ]) {
      t.match(text, expected)
    }
    t.equal(text.match(/^kube_sluice_endpoint_in_use\{/gm)?.length, 2)
  })

  await t.test('/proxyMode, /configz and /healthz of the metrics address', async (t) => {
    t.equal(await bodyOnNode(cluster, '/proxyMode'), 'userspace')
    t.equal(await bodyOnNode(cluster, '/healthz'), 'ok')
    const configz = JSON.parse(await bodyOnNode(cluster, '/configz')) as Record<string, object>
    t.match(configz['kubeproxy.config.k8s.io'], {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      clusterCIDR: '10.244.0.0/16,fd00:244::/32',
      hostnameOverride: 'node-a',
    })
    t.match(configz['kube-sluice.io'], { userspaceCapture: 'anyip', metricsPerEndpoint: 2 })
    t.match(await bodyOnNode(cluster, '/debug/memory'), 'no such path')
  })

  await t.test('a name that is led to loopback is not answered', async (t) => {
    const called = (host: string) =>
      bodyOnNode(cluster, `/proxyMode HTTP/1.1\\r\\nHost: ${host}\\r\\nX: y`)
    t.equal(await called('localhost:10249'), 'userspace')
    t.equal(await called('node-a.example'), 'userspace')
    t.match(await called('evil.example:10249'), 'this address is not called "evil.example:10249"')
  })

  await t.test('a changed configuration file is applied live, a broken one is not', async (t) => {
    writeFileSync(file, `${HEAD}metricsPerEndpoint: 3\nconnectAttempts: 5\n`)
    const series = async () =>
      (await bodyOnNode(cluster, '/metrics')).match(/^kube_sluice_endpoint_in_use\{/gm)?.length
    await until('three endpoints', async () => (await series()) === 3)
    await until('log', async () => proxy.log().includes('restart for the change'))
    t.match(proxy.log(), /config.yaml is in force/)
    t.match(proxy.log(), /restart for the change of --connect-attempts/)
    t.match(await bodyOnNode(cluster, '/configz'), '"connectAttempts":3')
    writeFileSync(file, `${HEAD}metricsPerEndpoint: many\n`)
    await until('refused', async () => proxy.log().includes('nothing was changed'))
    t.match(
      proxy.log(),
      /configuration is not valid, nothing was changed: \S+config.yaml:3: KubeSluiceConfiguration metricsPerEndpoint \\"many\\" is not a whole number/,
    )
    t.equal(await series(), 3)
  })

  await t.test('the node is set up, with what it was before', async (t) => {
    t.match(
      proxy.log(),
      /nf_conntrack_tcp_timeout_(established|close_wait) (is \d+ now, was \d+|stays)/,
    )
    t.match(proxy.log(), /oom_score_adj (is -999 now, was -?\d+|stays)/)
  })
})

t.test('a port that is taken is a warning, and is tried again', { skip: rootOnly }, async (t) => {
  const cluster = await startCluster(1)
  t.teardown(() => cluster.close())
  const taken = await cluster.node.run(async ({ net, once }) => {
    const server = net.createServer().listen(32000, '0.0.0.0')
    await once(server, 'listening')
    Object.assign(globalThis, { taken: server })
    return true
  }, undefined)
  t.ok(taken)
  cluster.write([nodeObject(), ...web([local('10.244.1.2')])])
  const proxy = await cluster.startProxy('--sync-period', '1s', '--proxy-mode', 'userspace')
  t.teardown(() => proxy.stop())
  await until('warning', async () =>
    proxy.log().includes('healthCheckNodePort 32000 cannot be bound'),
  )
  t.match(
    proxy.log(),
    /Service test\/web: healthCheckNodePort 32000 cannot be bound: .*EADDRINUSE.*next sync/,
  )
  await cluster.node.run(async () => {
    ;(globalThis as unknown as { taken: { close(): void } }).taken.close()
  }, undefined)
  await until('bound', async () => (await rawFromClient(cluster, 32000)).startsWith('HTTP/1.1 200'))
  t.equal(proxy.log().split('cannot be bound').length, 2, 'told of once')
})
