/** The nftables mode as a program: what it serves, repairs, leaves behind, and removes. */
import t, { type Test } from 'tap'

import { answers, reach, serve } from '../fixtures/reach.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const UDP = { port: 8080, protocol: 'UDP' }
const DEADLINE_MS = 15_000

async function eventually(t: Test, what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + DEADLINE_MS
  while (Date.now() < end) {
    if (await holds()) {
      t.pass(what)
      return
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  t.fail(what)
}

t.test('the nftables mode', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await startCluster(3)
  t.teardown(() => cluster.close())
  const { client } = cluster
  for (const [index, pod] of cluster.pods.entries()) {
    for (const family of [4, 6] as const) {
      await serve(pod, `pod-${index + 1}`, cluster.podIp(index + 1, family), 8080)
    }
  }
  const ips = [1, 2, 3].map((pod) => cluster.podIp(pod))
  const weighted = (weights: object) => {
    const one = slice('weighted', ips) as { metadata: object }
    const annotations = { 'kube-sluice.io/weights': JSON.stringify(weights) }
    return { ...one, metadata: { ...one.metadata, annotations } }
  }
  const manifests = (over: {
    sticky?: readonly string[]
    udp?: readonly string[]
    weights?: object
  }) => [
    service('web', {
      clusterIP: '10.96.0.10',
      type: 'NodePort',
      ports: [{ port: 80, nodePort: 30080 }],
    }),
    slice('web', ips),
    service('web6', { clusterIP: 'fd00:96::10', ipFamilies: ['IPv6'] }),
    slice('web6', [cluster.podIp(1, 6)]),
    service('weighted', { clusterIP: '10.96.0.11' }),
    weighted(over.weights ?? { [ips[0]!]: 12, [ips[1]!]: 4, [ips[2]!]: 0 }),
    service('sticky', {
      clusterIP: '10.96.0.12',
      sessionAffinity: 'ClientIP',
      type: 'NodePort',
      ports: [{ port: 80, nodePort: 30082 }],
    }),
    slice('sticky', over.sticky ?? ips),
    service('dns', { clusterIP: '10.96.0.13', ports: [{ port: 80, protocol: 'UDP' }] }),
    slice('dns', over.udp ?? ips.slice(0, 1), UDP),
  ]
  cluster.write(manifests({}))
  const proxy = await cluster.startProxy('--proxy-mode', 'nftables')
  t.teardown(() => proxy.stop('SIGKILL'))
  const generation = async () => (await proxy.status()).generation
  const change = async (over: Parameters<typeof manifests>[0]) => {
    const before = await generation()
    cluster.write(manifests(over))
    await proxy.until('the change is in force', (status) => status.generation > before)
  }

  await t.test('cluster IPs, node ports and IPv6 lead to the endpoints', async (t) => {
    const masqueraded = ['pod-1', 'pod-2', 'pod-3'].map((name, i) => `${name} 10.244.${i + 1}.1`)
    t.strictSame(await answers(client, { host: '10.96.0.10' }, 60), masqueraded)
    t.strictSame(await answers(client, { host: '10.0.1.1', port: 30080 }, 60), masqueraded)
    t.strictSame(await answers(cluster.node, { host: '127.0.0.1', port: 30080 }, 60), masqueraded)
    t.strictSame(await answers(client, { host: 'fd00:96::10' }), ['pod-1 fd00:244:1::1'])
    t.equal((await proxy.status()).mode, 'nftables')
  })

  await t.test('weights are shares of slots, and 0 drains', async (t) => {
    const slots = await cluster.onNode('nft', 'list', 'map', 'ip', 'kube-sluice', 'vip-slots')
    const count = (ip: string) =>
      [...slots.matchAll(/10\.96\.0\.11 \. tcp \. 80 \. \S+ : (\S+) \. 8080/g)].filter(
        ([, endpoint]) => endpoint === ip,
      ).length
    t.strictSame(ips.map(count), [3, 1, 0])
    t.strictSame(await answers(client, { host: '10.96.0.11' }, 60), [
      'pod-1 10.244.1.1',
      'pod-2 10.244.2.1',
    ])
  })

  await t.test('session affinity outlives other endpoints, and not its own', async (t) => {
    const vip = { host: '10.96.0.12' }
    const port = { host: '10.0.1.1', port: 30082 }
    const [first, ...more] = await answers(client, vip, 20)
    t.strictSame(more, [], 'one endpoint for all connections')
    t.strictSame(await answers(client, port, 20), [first], 'and at the node port')
    const mine = ips.find((ip) => first?.endsWith(ip.replace(/2$/, '1')))!
    const others = ips.filter((ip) => ip !== mine)
    for (const kept of others) {
      await change({ sticky: [mine, kept].sort() })
      t.strictSame(await answers(client, vip, 20), [first], `with ${kept} alone beside it`)
      t.strictSame(await answers(client, port, 20), [first])
    }
    await change({ sticky: others })
    const [next, ...rest] = await answers(client, vip, 20)
    t.not(next, first, 'its endpoint has gone')
    t.strictSame(rest, [])
    await change({})
    t.strictSame(await answers(client, vip, 20), [next], 'the old endpoint is back')
  })

  await t.test('a UDP flow does not stay with an endpoint that has gone', async (t) => {
    const say = () =>
      client.run(async ({ dgram, state }) => {
        state['flow'] ??= dgram.createSocket('udp4').bind(40_001)
        const socket = state['flow'] as ReturnType<typeof dgram.createSocket>
        const answer = new Promise<string>((resolve) => {
          socket.once('message', (text) => {
            resolve(text.toString())
          })
          setTimeout(resolve, 1000, 'silence').unref()
        })
        socket.send('?', 80, '10.96.0.13')
        return answer
      }, undefined)
    t.match(await say(), /^pod-1/)
    await change({ udp: ips.slice(1, 2) })
    await eventually(t, 'the flow goes on with the new endpoint', async () =>
      (await say()).startsWith('pod-2'),
    )
    await change({})
  })

  const flushes: readonly (readonly [string, ...string[]])[] = [
    ['nft', 'flush', 'ruleset'],
    ['nft', 'flush', 'table', 'ip', 'kube-sluice'],
    ['nft', 'flush', 'chain', 'ip', 'kube-sluice', 'services'],
    ['nft', 'delete', 'table', 'ip', 'kube-sluice'],
    ['nft', 'flush', 'table', 'ip', 'kube-sluice'],
  ]
  await t.test('a flush is repaired without a change, one after the other', async (t) => {
    for (const command of flushes) {
      await cluster.onNode(...(command as [string, ...string[]]))
      const flushedMs = Date.now()
      await eventually(t, `it serves again after ${command.join(' ')}`, async () =>
        (await reach(client, { host: '10.96.0.10', timeoutMs: 300 })).startsWith('pod-'),
      )
      t.comment(`${Date.now() - flushedMs} ms`)
    }
    const told = proxy.log().match(/somebody has flushed or removed our nftables table/g) ?? []
    t.ok(told.length >= flushes.length, 'told of each')
  })

  await t.test('a stop leaves the rules, cleanup removes them', async (t) => {
    t.equal(await proxy.stop(), 0)
    t.match(await reach(client, { host: '10.96.0.10' }), /^pod-/)
    const again = await cluster.startProxy('--proxy-mode', 'nftables')
    t.teardown(() => again.stop('SIGKILL'))
    t.match(await reach(client, { host: '10.96.0.10' }), /^pod-/)
    await again.stop()
    const main = new URL('../../dist/cli/main.js', import.meta.url).pathname
    t.match(
      await cluster.onNode(process.execPath, main, 'cleanup'),
      /removed nftables table ip kube-sluice/,
    )
    t.equal((await cluster.onNode('nft', 'list', 'ruleset')).includes('kube-sluice'), false)
  })
})
