/** Balancers end to end, in both modes that decide per connection: where connections really end. */
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

import type { Agent } from '../fixtures/agent.js'
import { hold, release, serveEcho } from '../fixtures/held-connections.js'
import { reach, serve } from '../fixtures/reach.js'
import { type Proxy, rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const PLUGIN = fileURLToPath(new URL('../../deploy/examples/balancer-first.mjs', import.meta.url))
const PORT = { port: 8080, protocol: 'TCP' }
const HELD_PORT = { port: 8090, protocol: 'TCP' }
const FLAGS = {
  // Connections are held while a proxy is stopped: it need not wait for them.
  userspace: ['--proxy-mode', 'userspace', '--drain-timeout', '500ms'],
  nfqueue: ['--proxy-mode', 'nfqueue', '--drain-timeout', '500ms'],
} as const

const annotated = (object: object, annotations: Record<string, string>): object => {
  const { metadata } = object as { metadata: object }
  return { ...object, metadata: { ...metadata, annotations } }
}
const balanced = (name: string, last: number, balancer: string, spec: object = {}): object =>
  annotated(service(name, { clusterIP: `10.96.0.${last}`, ...spec }), {
    'kube-sluice.io/balancer': balancer,
  })
const weighted = (name: string, weights: Record<string, number>): object =>
  annotated(slice(name, Object.keys(weights), PORT), {
    'kube-sluice.io/weights': JSON.stringify(weights),
  })

/** How often each endpoint answered. */
async function spread(client: Agent, host: string, count: number): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (let i = 0; i < count; i++) {
    const name = (await reach(client, { host })).split(' ')[0]!
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return counts
}

const serviceOf = (status: Awaited<ReturnType<Proxy['status']>>, name: string) =>
  status.services.find((one) => one.name === `test/${name}`)!
const activeOf = (status: Awaited<ReturnType<Proxy['status']>>, name: string) =>
  serviceOf(status, name).endpoints.map(({ activeConnections }) => activeConnections)

for (const mode of ['userspace', 'nfqueue'] as const) {
  t.test(`balancers in ${mode} mode`, { skip: rootOnly, timeout: 170_000 }, async (t) => {
    const cluster = await startCluster(4)
    t.teardown(() => cluster.close())
    const { client } = cluster
    const ips = [1, 2, 3, 4].map((pod) => cluster.podIp(pod))
    const [one, two, three] = ips as [string, string, string, string]
    for (const [index, pod] of cluster.pods.entries()) {
      await serve(pod, `pod-${index + 1}`, ips[index]!, 8080)
      await serveEcho(pod, ips[index]!)
    }
    const base = [
      balanced('weights', 20, 'weighted-round-robin'),
      weighted('weights', { [one]: 1, [two]: 3, [three]: 0 }),
      balanced('maglev', 30, 'maglev', { sessionAffinity: 'ClientIP' }),
      slice('maglev', ips, PORT),
      balanced('first', 40, 'plugin'),
      slice('first', ips, HELD_PORT),
    ]
    const leastOf = (count: number, balancer = 'least-connections') => [
      balanced('least', 10, balancer),
      slice('least', ips.slice(0, count), HELD_PORT),
    ]
    cluster.write([...base, ...leastOf(2)])
    const start = (...flags: string[]) => cluster.startProxy(...FLAGS[mode], ...flags)
    const proxy = await start()
    t.teardown(() => proxy.stop('SIGKILL'))

    await t.test('least-connections evens out after a scale-out from 2 to 4', (t) =>
      scaleOut(t, {
        cluster,
        proxy,
        write: (count) => {
          cluster.write([...base, ...leastOf(count)])
        },
      }),
    )

    await t.test('another balancer takes over the connections that are open', async (t) => {
      cluster.write([...base, ...leastOf(4, 'weighted-least-connections')])
      const inUse = (status: Awaited<ReturnType<Proxy['status']>>) =>
        serviceOf(status, 'least').balancer === 'weighted-least-connections'
      await proxy.until('the new balancer', inUse)
      await hold(client, '10.96.0.10', 8)
      const status = await proxy.until(
        'all are open',
        (status) => sum(activeOf(status, 'least')) === 40,
      )
      t.strictSame(activeOf(status, 'least'), [10, 10, 10, 10])
    })

    await t.test('connections that end make room for new ones', async (t) => {
      // The oldest twelve were spread over the first two endpoints.
      await release(client, 12, true)
      await proxy.until('they have ended', (status) => sum(activeOf(status, 'least')) === 28)
      await hold(client, '10.96.0.10', 12)
      const status = await proxy.until(
        'all are open',
        (status) => sum(activeOf(status, 'least')) === 40,
      )
      t.strictSame(activeOf(status, 'least'), [10, 10, 10, 10])
    })

    await t.test('weights are honoured, and weight 0 drains', async (t) => {
      const counts = await spread(client, '10.96.0.20', 40)
      t.ok(Math.abs(counts.get('pod-1')! - 10) <= 2, `${counts.get('pod-1')} of 40, weight 1 of 4`)
      t.ok(Math.abs(counts.get('pod-2')! - 30) <= 2, `${counts.get('pod-2')} of 40, weight 3 of 4`)
      t.equal(counts.get('pod-3'), undefined)
      const { endpoints } = serviceOf(await proxy.status(), 'weights')
      t.strictSame(
        endpoints.map(({ weight, inUse }) => [weight, inUse]),
        [
          [1, true],
          [3, true],
          [0, false],
        ],
      )
      cluster.write([
        ...base,
        ...leastOf(4),
        weighted('weights', { [one]: 0, [two]: 0, [three]: 1 }),
      ])
    })

    await t.test(
      'maglev: the same endpoint for the same client, through another proxy too; a plug-in',
      async (t) => {
        const before = await spread(client, '10.96.0.30', 6)
        t.equal(before.size, 1)
        await proxy.stop('SIGTERM')
        const other = await start('--balancer-plugin', PLUGIN)
        t.teardown(() => other.stop('SIGKILL'))
        t.strictSame([...(await spread(client, '10.96.0.30', 6)).keys()], [...before.keys()])
        t.strictSame([...(await spread(client, '10.96.0.20', 6)).keys()], ['pod-3'], 'drained')
        await hold(client, '10.96.0.40', 5)
        const status = await other.until('5 are open', (now) => sum(activeOf(now, 'first')) === 5)
        t.strictSame(
          activeOf(status, 'first'),
          [5, 0, 0, 0],
          'the plug-in fills one after the other',
        )
        t.equal(serviceOf(status, 'first').balancer, 'plugin')
        t.strictSame(status.balancerPlugin, { failures: 0, overruns: 0, isOff: false })
      },
    )
  })
}

interface ScaleOut {
  readonly cluster: Awaited<ReturnType<typeof startCluster>>
  readonly proxy: Proxy
  readonly write: (endpoints: number) => void
}

/** Ten long-lived connections each on two endpoints; the next sixteen go to the two new ones. */
async function scaleOut(t: Test, { cluster, proxy, write }: ScaleOut): Promise<void> {
  const { client } = cluster
  await hold(client, '10.96.0.10', 16)
  const two = await proxy.until('16 are open', (status) => sum(activeOf(status, 'least')) === 16)
  t.strictSame(activeOf(two, 'least'), [8, 8])
  write(4)
  await proxy.until('four endpoints', (status) => activeOf(status, 'least').length === 4)
  await hold(client, '10.96.0.10', 8)
  const half = await proxy.until('24 are open', (status) => sum(activeOf(status, 'least')) === 24)
  t.strictSame(activeOf(half, 'least'), [8, 8, 4, 4])
  await hold(client, '10.96.0.10', 8)
  const even = await proxy.until('32 are open', (status) => sum(activeOf(status, 'least')) === 32)
  t.strictSame(activeOf(even, 'least'), [8, 8, 8, 8])
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0)
}
