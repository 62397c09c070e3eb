/**
 * Churn at the API server, with connections that break and a history that goes: the
 * heap does not grow, and in the end the kernel has what the API server has. The long one, at 10,000
 * Services, is perf/scenario/soak.mjs.
 */
import t from 'tap'
import { ApiServerChild } from '../fixtures/api-server-child.js'
import { CertificateAuthority } from '../fixtures/certificates.js'
import { writeKubeconfig } from '../fixtures/kubeconfig.js'
import { metricsOf } from '../fixtures/metrics.js'
import { rootOnly, startCluster, type TestCluster } from '../fixtures/test-cluster.js'

const SERVER = '10.0.9.2'
const LOAD = { services: 1000, endpoints: 10_000, perSlice: 10 }
const RATE = 150
const WARM_UP_SECONDS = 4
const SECONDS = 14
/** Of some 54 million, which vary by half of this; a change that were kept would be 2 kB, 2,100 of them 4 MB. */
const GROWTH_BYTES = 1_000_000

/** What is reachable, after a full collection. */
async function heapBytes(cluster: TestCluster): Promise<number> {
  const script =
    "exec 3<>/dev/tcp/127.0.0.1/10249 && printf 'GET /debug/memory?collect HTTP/1.0\\r\\n\\r\\n' >&3 && cat <&3"
  const text = await cluster.onNode('bash', '-c', script)
  const { heapUsed, external } = JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as {
    heapUsed: number
    external: number
  }
  return heapUsed + external
}

/** `10.96.0.1 10.0.0.1` for each slot in the kernel. */
async function pairsInKernel(cluster: TestCluster): Promise<string[]> {
  const slots = await cluster.onNode('nft', 'list', 'map', 'ip', 'kube-sluice', 'vip-slots')
  const pairs = [...slots.matchAll(/(10\.96\.\S+) \. tcp \. 80 \. \S+ : (\S+) \. 8080/g)]
  return pairs.map(([, vip, endpoint]) => `${vip} ${endpoint}`).sort()
}

t.test('memory and datapath after churn', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await startCluster(0)
  t.teardown(() => cluster.close())
  const authority = new CertificateAuthority()
  const tls = { ...authority.server([SERVER]), ca: authority.cert }
  const api = await ApiServerChild.start(
    (command) =>
      cluster.namespaces.spawn(cluster.clientNetns, command, {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      }),
    { tls, host: SERVER },
  )
  t.teardown(() => api.kill())
  const { port } = await api.call({ do: 'fill', load: LOAD })
  const kubeconfig = writeKubeconfig(t, { server: `https://${SERVER}:${port}`, ca: authority.cert })
  const proxy = await cluster.startProxy(
    ...['--kubeconfig', kubeconfig, '--proxy-mode', 'nfqueue', '--profiling'],
  )
  t.teardown(() => proxy.stop('SIGKILL'))
  const churn = async (seconds: number): Promise<void> => {
    const plan = { perSecond: RATE, seconds, disturbEverySeconds: 3 }
    await api.call({ do: 'churn', plan }, seconds * 1000)
  }
  const hasWhatTheServerHas = async (): Promise<string[]> => {
    const wanted = [...(await api.call({ do: 'pairs' })).pairs].sort()
    const deadline = Date.now() + 30_000
    for (;;) {
      const found = await pairsInKernel(cluster)
      if (found.join() === wanted.join() || Date.now() > deadline) {
        const missing = new Set(wanted)
        for (const pair of found) missing.delete(pair)
        return [`${found.length} of ${wanted.length}`, ...[...missing].slice(0, 5)]
      }
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
  }
  const all = [`${LOAD.endpoints} of ${LOAD.endpoints}`]

  await churn(WARM_UP_SECONDS)
  t.strictSame(await hasWhatTheServerHas(), all)
  const before = await heapBytes(cluster)
  await churn(SECONDS)
  t.strictSame(await hasWhatTheServerHas(), all, 'after all of it')
  const after = await heapBytes(cluster)
  t.comment(`heap: ${before} bytes, then ${after} (${after - before}) of ${RATE * SECONDS} changes`)
  t.ok(after - before < GROWTH_BYTES, `the heap grew by ${after - before} bytes`)
  const read = await metricsOf(cluster)
  t.ok(read('kube_sluice_api_failures_total{kind="EndpointSlice",reason="expired"}')! >= 1)
  t.ok(read('kube_sluice_api_lists_total{kind="EndpointSlice"}')! >= 2)
  t.equal(read('kube_sluice_syncs_total{result="failure"}'), 0)
})
