/** `--log-connections` of a running proxy, in both modes that decide per connection. */
import t from 'tap'
import { reach, serve } from '../fixtures/reach.js'
import { rootOnly, service, slice, startCluster, type Proxy } from '../fixtures/test-cluster.js'

type Line = Readonly<Record<string, unknown>>

async function lines(proxy: Proxy, count: number): Promise<Line[]> {
  const deadline = Date.now() + 20_000
  for (;;) {
    const found = proxy
      .log()
      .split('\n')
      .filter((line) => line.includes('"msg":"connection"'))
      .map((line) => JSON.parse(line) as Line)
    if (found.length >= count) return found
    if (Date.now() > deadline) throw new Error(`${found.length} of ${count} lines: ${proxy.log()}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

for (const mode of ['userspace', 'nfqueue'] as const) {
  t.test(`the connection log in ${mode} mode`, { skip: rootOnly, timeout: 90_000 }, async (t) => {
    const cluster = await startCluster(2)
    t.teardown(() => cluster.close())
    const [one, two] = [cluster.podIp(1), cluster.podIp(2)]
    // Nobody listens on the second one.
    await serve(cluster.pods[0]!, 'pod-1', one, 8080)
    cluster.write([
      service('web', { clusterIP: '10.96.0.10' }),
      slice('web', [one]),
      service('half', { clusterIP: '10.96.0.20' }),
      slice('half', [two, one]),
      service('other', { clusterIP: '10.96.0.30' }),
      slice('other', [one]),
      service('none', { clusterIP: '10.96.0.40' }),
    ])
    const flags = ['--log-connections', 'test/web,test/half', '--log-connections', 'test/none']
    const proxy = await cluster.startProxy('--proxy-mode', mode, ...flags)
    t.teardown(() => proxy.stop('SIGKILL'))

    await t.test('client, VIP, endpoint, attempts, outcome, duration', async (t) => {
      t.match(await reach(cluster.client, { host: '10.96.0.30' }), /^pod-1/)
      t.match(await reach(cluster.client, { host: '10.96.0.10' }), /^pod-1/)
      const [line, ...others] = await lines(proxy, 1)
      t.same(others, [], 'a Service that is not named has no lines')
      t.match(line, {
        servicePort: /^test\/web.*TCP\/IPv4$/,
        client: /^10\.0\.1\.2:\d+$/,
        vip: '10.96.0.10:80',
        endpoint: `${one}:8080`,
        attempts: 1,
        outcome: 'closed',
      })
      t.ok(typeof line?.['durationMs'] === 'number' && line['durationMs'] < 20_000)
      if (mode === 'userspace') t.ok((line?.['bytesToClient'] as number) >= 'pod-1 '.length)
    })

    await t.test('an endpoint that refused is an attempt', async (t) => {
      for (let i = 0; i < 2; i++) await reach(cluster.client, { host: '10.96.0.20' })
      const found = (await lines(proxy, 3)).slice(1)
      t.same(
        found.map(({ endpoint }) => endpoint),
        [`${one}:8080`, `${one}:8080`],
      )
      t.ok(
        found.some(({ attempts }) => attempts === 2),
        JSON.stringify(found),
      )
    })

    await t.test('lines above the bound are counted', async (t) => {
      await proxy.stop()
      const bounded = await cluster.startProxy(
        ...['--proxy-mode', mode, '--log-connections', 'test/web', '--log-connections-rate', '1'],
      )
      t.teardown(() => bounded.stop('SIGKILL'))
      await Promise.all(
        Array.from({ length: 20 }, () => reach(cluster.client, { host: '10.96.0.10' })),
      )
      await bounded.until(
        'some are dropped',
        ({ boundsHit }) => (boundsHit?.['log-connections-rate'] ?? 0) > 0,
      )
      const { boundsHit } = await bounded.status()
      const written = (await lines(bounded, 1)).length
      t.ok(written + (boundsHit?.['log-connections-rate'] ?? 0) <= 20)
    })
  })
}
