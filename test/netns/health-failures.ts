/**
 * Backends that flap, hang and die under constant load, in the modes that decide per connection. Times are
 * taken from the proxy's own log and from when requests began.
 */
import t from 'tap'
import type { Agent } from '../fixtures/agent.js'
import { startLoad, stopLoad } from '../fixtures/constant-load.js'
import { loggedAtMs } from '../fixtures/proxy-log.js'
import { type Proxy, rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const VIP = '10.96.0.10'
const annotations = {
  'kube-sluice.io/health-check': 'http',
  'kube-sluice.io/health-check-path': '/probe',
  'kube-sluice.io/health-check-interval': '1s',
}
/** A sync has to follow before new connections go elsewhere. */
const SYNC_MS = 500

/** Answers with the name; every second probe fails while `flaps` is set. */
async function serve(agent: Agent, name: string): Promise<void> {
  await agent.run(async ({ http, once, state }, name) => {
    let probes = 0
    const server = http.createServer(({ url }, response) => {
      const isBad = url === '/probe' && state['flaps'] === true && probes++ % 2 === 0
      response.writeHead(isBad ? 503 : 200, { Connection: 'close' })
      response.end(name)
    })
    server.listen({ host: '::', port: 8080 })
    await once(server, 'listening')
  }, name)
}

const setFlapping = (agent: Agent, flaps: boolean) =>
  agent.run(({ state }, flaps) => {
    state['flaps'] = flaps
  }, flaps)

for (const mode of ['userspace', 'nfqueue']) {
  t.test(`failing backends in the ${mode} mode`, { skip: rootOnly, timeout: 60_000 }, async (t) => {
    const cluster = await startCluster(3)
    t.teardown(() => cluster.close())
    const { client, pods } = cluster
    const ips = [1, 2, 3].map((pod) => cluster.podIp(pod))
    const metadata = { name: 'web', namespace: 'test', annotations }
    cluster.write([service('web', { clusterIP: VIP }, { metadata }), slice('web', ips)])
    for (const [index, pod] of pods.entries()) await serve(pod, `pod-${index + 1}`)
    const proxy = await cluster.startProxy('--proxy-mode', mode)
    t.teardown(() => proxy.stop('SIGKILL'))
    const untilOf = (pod: number, what: string, holds: (endpoint: EndpointStatus) => boolean) =>
      proxy.until(`pod ${pod}: ${what}`, ({ services }) =>
        holds(services[0]!.endpoints.find(({ address }) => address === `${ips[pod - 1]!}:8080`)!),
      )
    for (const pod of [1, 2, 3]) await untilOf(pod, 'checked', (one) => one.health?.trend === 'up')

    await t.test('one that fails every second probe stays in rotation', async (t) => {
      await startLoad(client, { host: VIP, rate: 50 })
      await setFlapping(pods[2]!, true)
      await untilOf(3, 'three probes failed', ({ health }) => (health?.failures ?? 0) >= 3)
      await setFlapping(pods[2]!, false)
      const { failures, counts } = await stopLoad(client)
      t.same(failures, [])
      t.ok(counts['pod-3']! > 10)
      t.match((await proxy.status()).health, { wentDown: 0, cameUp: 0 })
    })

    await t.test('one that hangs gets no new connections after 3 s', async (t) => {
      await startLoad(client, { host: VIP, rate: 50, timeoutMs: 20_000 })
      const stoppedAtMs = Date.now()
      pods[1]!.kill('SIGSTOP')
      await untilOf(2, 'is out', ({ inUse }) => !inUse)
      const downAtMs = loggedAtMs(proxy, /10\.244\.2\.2:8080 .*is down/, stoppedAtMs)!
      t.comment(`down after ${downAtMs - stoppedAtMs} ms`)
      t.ok(downAtMs - stoppedAtMs < 3000, `${downAtMs - stoppedAtMs} ms`)
      await new Promise((resolve) => setTimeout(resolve, 2 * SYNC_MS))
      const continuedAtMs = Date.now()
      pods[1]!.kill('SIGCONT')
      await untilOf(2, 'is back', ({ inUse }) => inUse)
      const { failures, answers } = await stopLoad(client)
      t.same(failures, [], 'what it had accepted was answered late')
      const late = answers.filter(
        ([atMs, name]) => name === 'pod-2' && atMs > downAtMs + SYNC_MS && atMs < continuedAtMs,
      )
      t.same(late, [])
    })

    await t.test('one that is killed is passed over within a second', async (t) => {
      await startLoad(client, { host: VIP, rate: 100 })
      const killedAtMs = Date.now()
      pods[0]!.kill('SIGKILL')
      await untilOf(1, 'is out', ({ inUse }) => !inUse)
      const ejectedAtMs = loggedAtMs(proxy, /10\.244\.1\.2:8080 .*passed over/, killedAtMs)!
      t.comment(`passed over after ${ejectedAtMs - killedAtMs} ms`)
      t.ok(ejectedAtMs - killedAtMs < 1000, `${ejectedAtMs - killedAtMs} ms`)
      const downAtMs = loggedAtMs(proxy, /10\.244\.1\.2:8080 .*is down/, killedAtMs)!
      t.ok(downAtMs - killedAtMs < 3000, `${downAtMs - killedAtMs} ms`)
      const { failures, failedAtMs, counts } = await stopLoad(client)
      // What it was answering when it was killed, nobody else can; on a busy machine a process that is
      // killed goes on for some hundred milliseconds.
      t.same(
        failures.filter((_text, index) => failedAtMs[index]! > killedAtMs + 300),
        [],
      )
      t.ok(failures.length <= 5, `${failures.length} failed`)
      t.ok(counts['pod-2']! > 10)
    })
  })
}

type EndpointStatus = Awaited<ReturnType<Proxy['status']>>['services'][number]['endpoints'][number]
