/**
 * A backend whose process is stopped while its kernel goes on accepting, under constant load, noticed by what
 * clients are not answered: kube-sluice.io/first-byte-timeout.
 */
import t from 'tap'
import type { EndpointStatus } from '../../src/observe/status.js'
import { serveHttp, startLoad, stopLoad } from '../fixtures/constant-load.js'
import { loggedAtMs } from '../fixtures/proxy-log.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const VIP = '10.96.0.10'
const PORT = { port: 8080, protocol: 'TCP' }

t.test(
  'a process that is stopped is passed over',
  { skip: rootOnly, timeout: 120_000 },
  async (t) => {
    const cluster = await startCluster(3)
    t.teardown(() => cluster.close())
    const { client, pods } = cluster
    const ips = [1, 2, 3].map((pod) => cluster.podIp(pod))
    for (const [index, pod] of pods.entries()) await serveHttp(pod, `pod-${index + 1}`, 8080)
    const annotations = { 'kube-sluice.io/first-byte-timeout': '500ms' }
    const metadata = { name: 'web', namespace: 'test', annotations }
    cluster.write([service('web', { clusterIP: VIP }, { metadata }), slice('web', ips, PORT)])
    const proxy = await cluster.startProxy('--proxy-mode', 'userspace')
    t.teardown(() => proxy.stop('SIGKILL'))
    const untilThird = (what: string, holds: (one: EndpointStatus) => boolean) =>
      proxy.until(what, ({ services }) =>
        holds(services[0]!.endpoints.find(({ address }) => address === `${ips[2]!}:8080`)!),
      )

    await startLoad(client, { host: VIP, rate: 30, timeoutMs: 60_000 })
    await untilThird('it has answered', ({ totalConnections }) => totalConnections > 3)
    const stoppedAtMs = Date.now()
    pods[2]!.kill('SIGSTOP')
    await untilThird('it is passed over', ({ ejectedSince }) => ejectedSince !== undefined)
    const ejectedAtMs = loggedAtMs(proxy, /10\.244\.3\.2:8080 .*passed over/, stoppedAtMs)!
    t.comment(`passed over after ${ejectedAtMs - stoppedAtMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const continuedAtMs = Date.now()
    pods[2]!.kill('SIGCONT')
    await untilThird('it is used again', ({ ejectedSince }) => ejectedSince === undefined)
    const { failures, answers } = await stopLoad(client)
    t.same(failures, [], 'what it had accepted was answered late')
    const meanwhile = answers.filter(([atMs]) => atMs > ejectedAtMs + 200 && atMs < continuedAtMs)
    const trials = meanwhile.filter(([, name]) => name === 'pod-3').length
    t.ok(meanwhile.length > 5, `${meanwhile.length} requests meanwhile`)
    t.ok(trials <= 2, `${trials} of ${meanwhile.length} have tried it`)
    const { services } = await proxy.status()
    t.equal(services[0]!.endpoints[2]!.connectFailures, 0, 'no connect has failed')
  },
)
