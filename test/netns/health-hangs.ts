/**
 * Backends that take no more connections, seen by the connections of clients alone, and a backend that is
 * killed, seen by probes alone; under constant load, in the modes that decide per connection.
 */
import t, { type Test } from 'tap'
import type { EndpointStatus } from '../../src/observe/status.js'
import type { Agent } from '../fixtures/agent.js'
import { startLoad, stopLoad } from '../fixtures/constant-load.js'
import { loggedAtMs } from '../fixtures/proxy-log.js'
import { type Proxy, rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const VIP = '10.96.0.10'
const PORT = { port: 8080, protocol: 'TCP' }
/** Probed every second, once there is a proxy that ejects nobody. */
const probed = {
  'kube-sluice.io/health-check': 'http',
  'kube-sluice.io/health-check-interval': '1s',
}
/** What was on its way to a process when it was killed, nobody else can answer. */
const DYING_MS = 300

/** Answers with the name; keeps few connections waiting when it does not come to accept them. */
async function serve(agent: Agent, name: string): Promise<void> {
  await agent.run(async ({ http, once }, name) => {
    const server = http.createServer((_request, response) => {
      response.writeHead(200, { Connection: 'close' })
      response.end(name)
    })
    server.listen({ host: '::', port: 8080, backlog: 8 })
    await once(server, 'listening')
  }, name)
}

for (const mode of ['userspace', 'nfqueue']) {
  t.test(`backends that hang, ${mode} mode`, { skip: rootOnly, timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(3)
    t.teardown(() => cluster.close())
    const { client, pods, namespaces } = cluster
    const ips = [1, 2, 3].map((pod) => cluster.podIp(pod))
    for (const [index, pod] of pods.entries()) await serve(pod, `pod-${index + 1}`)
    const write = (annotations: Record<string, string>) => {
      const metadata = { name: 'web', namespace: 'test', annotations }
      cluster.write([service('web', { clusterIP: VIP }, { metadata }), slice('web', ips, PORT)])
    }
    const untilOf = (
      proxy: Proxy,
      pod: number,
      what: string,
      holds: (endpoint: EndpointStatus) => boolean,
    ) =>
      proxy.until(`pod ${pod}: ${what}`, ({ services }) =>
        holds(services[0]!.endpoints.find(({ address }) => address === `${ips[pod - 1]!}:8080`)!),
      )

    await t.test('clients alone', async (t) => {
      write({})
      const proxy = await cluster.startProxy('--proxy-mode', mode)
      t.teardown(() => proxy.stop('SIGTERM'))
      /** From `begin` on pod 3 takes no connection, until `end`. */
      const hang = async (t: Test, begin: () => unknown, end: () => unknown) => {
        await startLoad(client, { host: VIP, rate: 100, timeoutMs: 20_000 })
        await untilOf(
          proxy,
          3,
          'is known to answer',
          ({ totalConnections }) => totalConnections > 5,
        )
        const hungAtMs = Date.now()
        await begin()
        await untilOf(proxy, 3, 'is passed over', ({ ejectedSince }) => ejectedSince !== undefined)
        const ejectedAtMs = loggedAtMs(proxy, /10\.244\.3\.2:8080 .*passed over/, hungAtMs)!
        t.comment(`passed over after ${ejectedAtMs - hungAtMs} ms`)
        t.ok(ejectedAtMs - hungAtMs < 1000, `${ejectedAtMs - hungAtMs} ms`)
        await end()
        const { failures, requests } = await stopLoad(client)
        t.same(failures, [])
        t.ok(requests > 50)
      }

      await t.test('a host that is gone without a word', async (t) => {
        const netns = namespaces.names.find((one) => one.endsWith('-pod-3'))!
        const rule = (action: string) =>
          cluster.inNamespace(
            netns,
            'iptables',
            action,
            'INPUT',
            ...'-p tcp --dport 8080 --syn -j DROP'.split(' '),
          )
        await hang(
          t,
          () => rule('-A'),
          () => rule('-D'),
        )
        await startLoad(client, { host: VIP, rate: 100 })
        await untilOf(proxy, 3, 'is used again', ({ ejectedSince }) => ejectedSince === undefined)
        t.same((await stopLoad(client)).failures, [])
      })

      await t.test('a process that is stopped, once its backlog is full', async (t) => {
        await hang(
          t,
          () => {
            pods[2]!.kill('SIGSTOP')
          },
          () => {
            pods[2]!.kill('SIGCONT')
          },
        )
      })
    })

    await t.test('probes alone: one that is killed is out within 3 s', async (t) => {
      write(probed)
      const proxy = await cluster.startProxy('--proxy-mode', mode, '--ejection-max-percent', '0')
      t.teardown(() => proxy.stop('SIGTERM'))
      await untilOf(proxy, 1, 'is checked', ({ health }) => health?.trend === 'up')
      await startLoad(client, { host: VIP, rate: 50 })
      const killedAtMs = Date.now()
      pods[0]!.kill('SIGKILL')
      await untilOf(proxy, 1, 'is out', ({ inUse }) => !inUse)
      const downAtMs = loggedAtMs(proxy, /10\.244\.1\.2:8080 .*is down/, killedAtMs)!
      t.comment(`down after ${downAtMs - killedAtMs} ms`)
      t.ok(downAtMs - killedAtMs < 3000, `${downAtMs - killedAtMs} ms`)
      t.equal(loggedAtMs(proxy, /passed over/, killedAtMs), undefined)
      const { failures, failedAtMs } = await stopLoad(client)
      const late = failures.filter((_text, i) => failedAtMs[i]! > killedAtMs + DYING_MS)
      t.same(late, [])
    })
  })
}
