/** Active health checks, on the real proxy, in the modes that decide per connection, under constant load. */
import t from 'tap'
import { serveHttp, setFailing, startLoad, stopLoad } from '../fixtures/constant-load.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const VIP = '10.96.0.10'
const POD_PORT = { port: 8080, protocol: 'TCP' }

function checked(name: string, spec: object, settings: Record<string, string>): object {
  const prefixed = Object.entries(settings).map(([key, value]) => [`kube-sluice.io/${key}`, value])
  const annotations = Object.fromEntries(prefixed) as object
  const metadata = { name, namespace: 'test', annotations }
  return service(name, spec, { metadata })
}

const EVERY_SECOND = { 'health-check': 'http', 'health-check-interval': '1s' }

for (const mode of ['userspace', 'nfqueue']) {
  t.test(`health checks in the ${mode} mode`, { skip: rootOnly, timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(4)
    t.teardown(() => cluster.close())
    const { client, pods } = cluster
    const ips = [1, 2, 3, 4].map((pod) => cluster.podIp(pod))
    cluster.write([checked('web', { clusterIP: VIP }, EVERY_SECOND), slice('web', ips, POD_PORT)])
    for (const [index, pod] of pods.entries()) await serveHttp(pod, `pod-${index + 1}`, 8080)
    const proxy = await cluster.startProxy('--proxy-mode', mode)
    t.teardown(() => proxy.stop('SIGKILL'))
    const untilUsed = (...used: number[]) =>
      proxy.until(`pods ${used.join()} are used`, ({ services }) => {
        const { endpoints } = services.find(({ name }) => name === 'test/web')!
        const addresses = endpoints.filter(({ inUse }) => inUse).map(({ address }) => address)
        return addresses.join() === used.map((pod) => `${ips[pod - 1]!}:8080`).join()
      })
    const untilChecked = () =>
      proxy.until('all are checked', ({ services }) =>
        services[0]!.endpoints.every(({ health }) => health?.trend === 'up'),
      )

    await t.test(
      'one that answers with errors is out of rotation in 3 s, and comes back',
      async (t) => {
        await untilChecked()
        await startLoad(client, { host: VIP, rate: 100 })
        await setFailing(pods[1]!, true)
        const failedAtMs = Date.now()
        await untilUsed(1, 3, 4)
        await new Promise((resolve) => setTimeout(resolve, 500))
        const { failures, lastAtMs, counts } = await stopLoad(client)
        t.same(failures, [])
        const tookMs = lastAtMs['pod-2']! - failedAtMs
        t.comment(`out of rotation after ${tookMs} ms`)
        t.ok(tookMs < 5000, `${tookMs} ms`)
        t.ok(counts['pod-1']! > 10)
        const { services, health } = await proxy.status()
        const bad = services[0]!.endpoints.find(({ address }) => address === `${ips[1]!}:8080`)
        t.match(bad?.health, { check: 'http', isUp: false, reason: 'HTTP 503', since: String })
        t.match(health, { probedEndpoints: 4, unhealthyEndpoints: 1, wentDown: 1 })
        t.match(proxy.log(), /endpoint 10\.244\.2\.2:8080 of test\/web is down.*HTTP 503/)
        await setFailing(pods[1]!, false)
        await untilUsed(1, 2, 3, 4)
        t.match(proxy.log(), /endpoint 10\.244\.2\.2:8080 of test\/web is up/)
      },
    )

    await t.test('half of them down is no panic, three of four are', async () => {
      await setFailing(pods[0]!, true)
      await setFailing(pods[1]!, true)
      await untilUsed(3, 4)
      await setFailing(pods[2]!, true)
      await untilUsed(1, 2, 3, 4)
      t.match(proxy.log(), /too few endpoints of test\/web are healthy/)
      for (const pod of pods) await setFailing(pod, false)
      await untilChecked()
      await untilUsed(1, 2, 3, 4)
    })

    await t.test('a bad annotation is told, and harms nobody else', async (t) => {
      cluster.write(
        [
          checked('bad', { clusterIP: '10.96.0.20' }, { 'health-check': 'htpp' }),
          slice('bad', [ips[0]!], POD_PORT),
        ],
        'bad.json',
      )
      await proxy.until('bad', ({ services }) => services.length === 2)
      t.match(proxy.log(), /Service test\/bad: .*no health check.*did you mean http/)
      await untilUsed(1, 2, 3, 4)
    })
  })
}
