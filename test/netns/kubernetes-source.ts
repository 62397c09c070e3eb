/** The proxy as a cluster runs it: objects from an API server, which dies and comes back. */
import t from 'tap'
import { ApiServerChild } from '../fixtures/api-server-child.js'
import type { ApiObject } from '../fixtures/api-server.js'
import { CertificateAuthority } from '../fixtures/certificates.js'
import { writeKubeconfig } from '../fixtures/kubeconfig.js'
import { metricsOf, untilMetrics } from '../fixtures/metrics.js'
import { node } from '../fixtures/objects.js'
import { answers, serve } from '../fixtures/reach.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const VIP = '10.96.0.10'
const SERVER = '10.0.9.2'

t.test('traffic does not notice that the API server dies', { skip: rootOnly }, async (t) => {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  for (const [index, pod] of cluster.pods.entries()) {
    await serve(pod, `pod-${index + 1}`, cluster.podIp(index + 1), 8080)
  }
  const authority = new CertificateAuthority()
  const options = {
    tls: { ...authority.server([SERVER]), ca: authority.cert },
    tokens: ['secret'],
    host: SERVER,
  }
  const spawn = (command: [string, ...string[]]) =>
    cluster.namespaces.spawn(cluster.clientNetns, command, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
  const api = await ApiServerChild.start(spawn, options)
  t.teardown(() => api.kill())
  await api.call({
    do: 'put',
    objects: [
      node({ name: 'node-a' }),
      service('echo', { clusterIP: VIP, externalIPs: ['10.0.0.300'] }),
      slice('echo', [cluster.podIp(1)]),
    ],
  })
  const { port, version } = await api.call({ do: 'state' })
  const kubeconfig = writeKubeconfig(t, {
    server: `https://${SERVER}:${port}`,
    ca: authority.cert,
    user: { tokenFile: 'token' },
    files: { token: 'secret\n' },
  })
  const proxy = await cluster.startProxy('--kubeconfig', kubeconfig, '--proxy-mode', 'userspace')
  t.teardown(() => proxy.stop('SIGKILL'))
  const ask = async () =>
    (await answers(cluster.client, { host: VIP })).map((answer) => answer.split(' ')[0])
  const uses = (count: number) => (status: { totals: { endpoints: number } }) =>
    status.totals.endpoints === count

  t.strictSame(await ask(), ['pod-1'], 'what the API server has is in force')
  const events = async () => (await api.call({ do: 'state' })).events
  const said = async () => (await events()).map(({ type, reason }) => [type, reason].join(' '))
  await proxy.until('two events', () => proxy.log().includes('spec.externalIPs[0]'))
  t.strictSame((await said()).sort(), ['Normal Starting', 'Warning FieldIgnored'])
  t.match(await events(), [
    { regarding: { kind: 'Node', name: 'node-a' }, reportingInstance: 'node-a' },
    { regarding: { kind: 'Service', name: 'echo', namespace: 'test', uid: /^uid-/ } },
  ])
  const read = await metricsOf(cluster)
  for (const kind of ['Service', 'EndpointSlice', 'Node']) {
    t.equal(read(`kube_sluice_api_lists_total{kind="${kind}"}`), 1, kind)
    t.equal(read(`kube_sluice_api_watches_total{kind="${kind}"}`), 1, 'the same stream')
    t.ok(read(`kube_sluice_api_watch_events_total{kind="${kind}"}`)! >= 2)
    t.equal(read(`kube_sluice_api_failures_total{kind="${kind}",reason="other"}`), 0)
  }
  t.equal(read('kube_sluice_events_total{result="written"}'), 2)
  t.equal(read('kube_sluice_events_total{result="dropped"}'), 0)
  const at = `host="${SERVER}:${port}",method="GET"`
  t.ok(read(`rest_client_requests_total{code="200",${at}}`)! >= 3)
  const both = [cluster.podIp(1), cluster.podIp(2)]
  await api.call({ do: 'put', objects: [slice('echo', both)] })
  await proxy.until('two endpoints', uses(2))
  t.strictSame(await ask(), ['pod-1', 'pod-2'], 'a change is taken over')

  await api.kill()
  await proxy.until('the server is missed', () => proxy.log().includes('what is in force stays'))
  t.strictSame(await ask(), ['pod-1', 'pod-2'], 'without the server, traffic goes on')
  // Before the next server is there, or no request would have failed.
  const failed = `rest_client_requests_total{code="<error>",${at}}`
  await untilMetrics(cluster, 'it is asked in vain', (read) => (read(failed) ?? 0) >= 1)

  const objects = [
    node({ name: 'node-a' }),
    service('echo', { clusterIP: VIP }),
    slice('echo', [cluster.podIp(2)]),
  ] as unknown as ApiObject[]
  const next = await ApiServerChild.start(spawn, { ...options, port, startVersion: version + 100 })
  t.teardown(() => next.kill())
  await next.call({ do: 'put', objects })
  await proxy.until('its new state', uses(1))
  t.strictSame(await ask(), ['pod-2'], 'what changed meanwhile is taken over')
  const after = await metricsOf(cluster)
  t.ok(after('kube_sluice_api_failures_total{kind="Service",reason="other"}')! >= 1)
  t.equal(
    after('kube_sluice_api_lists_total{kind="EndpointSlice"}'),
    2,
    'its history is another one',
  )
  t.equal(after('kube_sluice_api_failures_total{kind="EndpointSlice",reason="expired"}'), 1)
  t.equal(await proxy.stop(), 0)
})
