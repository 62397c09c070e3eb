/** The nfqueue mode as time goes by: a kill under load, a restart, endpoints that come and go. */
import type { Socket as UdpSocket } from 'node:dgram'
import type { Socket } from 'node:net'
import t, { type Test } from 'tap'

import { hold, release, serveEcho } from '../fixtures/held-connections.js'
import { answers, reach, serve } from '../fixtures/reach.js'
import {
  type Proxy,
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'

const PORT = { port: 8080, protocol: 'TCP' }
const UDP = { port: 8080, protocol: 'UDP' }
const FLAGS = ['--proxy-mode', 'nfqueue'] as const

type Totals = Record<string, number>
const packetsOf = (status: Awaited<ReturnType<Proxy['status']>>) =>
  (status.steering as unknown as Totals)['packets']
const totalsOf = async (proxy: Proxy) => (await proxy.status()).steering as unknown as Totals

/** A cluster whose pods answer with their name on TCP and UDP. */
async function answering(t: Test, pods: number): Promise<TestCluster> {
  const cluster = await startCluster(pods)
  t.teardown(() => cluster.close())
  for (const [index, pod] of cluster.pods.entries()) {
    await serve(pod, `pod-${index + 1}`, cluster.podIp(index + 1), 8080)
  }
  return cluster
}

async function start(t: Test, cluster: TestCluster, ...flags: string[]): Promise<Proxy> {
  const proxy = await cluster.startProxy(...FLAGS, ...flags)
  t.teardown(() => proxy.stop('SIGKILL'))
  return proxy
}

t.test('SIGKILL under load, and a restart', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await answering(t, 3)
  const { client } = cluster
  const pods = [1, 2, 3].map((pod) => cluster.podIp(pod))
  for (const [index, pod] of cluster.pods.entries()) await serveEcho(pod, pods[index]!)
  cluster.write([
    service('web', { clusterIP: '10.96.0.10' }),
    slice('web', pods, PORT),
    service('long', { clusterIP: '10.96.0.11' }),
    slice('long', pods, { port: 8090, protocol: 'TCP' }),
    service('sticky', { clusterIP: '10.96.0.12', sessionAffinity: 'ClientIP' }),
    slice('sticky', pods, { port: 8090, protocol: 'TCP' }),
  ])
  const first = await start(t, cluster)
  await hold(client, '10.96.0.11', 30)
  await hold(client, '10.96.0.12', 1)
  await first.until('30 open', ({ services }) => openOf(services, 'test/long') === 30)
  const before = await stateOf(cluster)

  const load = client.run(
    async ({ net, state }, { host, milliseconds }) => {
      const end = Date.now() + milliseconds
      const failures: string[] = []
      let requests = 0
      const worker = async () => {
        while (Date.now() < end && state['isOver'] !== true) {
          requests++
          await new Promise<void>((resolve) => {
            const socket = net.connect({ host, port: 80 })
            let text = ''
            socket.setTimeout(10_000, () => socket.destroy(new Error('time-out')))
            socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
            socket.on('error', (error) => failures.push(error.message))
            socket.on('close', () => {
              if (!text.startsWith('pod-')) failures.push(`answer "${text}"`)
              resolve()
            })
          })
        }
      }
      await Promise.all(Array.from({ length: 32 }, worker))
      return { requests, failures }
    },
    { host: '10.96.0.10', milliseconds: 60_000 },
  )
  await pause(1500)
  await first.stop('SIGKILL')
  const killedAt = await totalPackets(cluster)
  await pause(1500)
  t.ok((await answers(client, { host: '10.96.0.10' })).length > 1, 'the standby balances')
  const second = await start(t, cluster)
  await second.until('the new process steers', (status) => {
    return ((status.steering as unknown as Totals)['steered'] ?? 0) > 100
  })
  await client.run(async ({ state }) => {
    state['isOver'] = true
  }, undefined)
  const { requests, failures } = await load
  t.ok(requests > 500, `${requests} requests`)
  t.same(failures, [], 'no request has failed')
  t.ok(killedAt >= 0)

  await t.test('it has removed nothing that was right', async (t) => {
    const after = await stateOf(cluster)
    t.same(after.endpoints, before.endpoints, 'endpoints keep their slots')
    t.same(after.steered, before.steered)
  })

  await t.test('counts and affinity come back from connection marks', async (t) => {
    await second.until('30 open', ({ services }) => openOf(services, 'test/long') === 30)
    const { services } = await second.status()
    const counts = services
      .find(({ name }) => name === 'test/long')!
      .endpoints.map(({ activeConnections }) => activeConnections)
    t.same(counts, [10, 10, 10])
    const pinned = services
      .find(({ name }) => name === 'test/sticky')!
      .endpoints.find(({ activeConnections }) => activeConnections === 1)!.address
    await hold(client, '10.96.0.12', 5)
    await second.until('6 at the same endpoint', (status) =>
      status.services
        .find(({ name }) => name === 'test/sticky')!
        .endpoints.some((one) => one.address === pinned && one.activeConnections === 6),
    )
  })

  await t.test('counts are exact however connections end', async () => {
    await release(client, 10, false)
    await second.until('20 open', ({ services }) => openOf(services, 'test/long') === 20)
    await release(client, 10, true)
    await second.until('10 open', ({ services }) => openOf(services, 'test/long') === 10)
  })

  await t.test('SIGTERM leaves the standby, cleanup leaves nothing', async (t) => {
    t.equal(await second.stop(), 0)
    t.ok((await answers(client, { host: '10.96.0.10' })).length > 1)
    t.match(await cluster.onNode(process.execPath, 'dist/cli/main.js', 'cleanup'), /removed/)
    const left = await cluster.onNode('sh', '-c', 'nft list ruleset; iptables-save; ipset list -n')
    t.notMatch(left, /sluice/i)
  })
})

function openOf(services: Awaited<ReturnType<Proxy['status']>>['services'], name: string): number {
  return services.find((one) => one.name === name)?.activeConnections ?? -1
}

async function totalPackets(cluster: TestCluster): Promise<number> {
  return Number((await cluster.onNode('conntrack', '-C')).split('\n')[0])
}

async function stateOf(cluster: TestCluster) {
  const map = await cluster.onNode('nft', 'list', 'map', 'ip', 'kube-sluice', 'endpoints')
  const set = await cluster.onNode('ipset', 'save', 'KUBE-SLUICE-STEERED')
  const elements = [...map.matchAll(/0x[0-9a-f]+ comment "[^"]*" : [\d.]+ \. \d+/g)]
  return {
    endpoints: elements.map(([text]) => text).sort(),
    steered: set
      .split('\n')
      .filter((line) => line.startsWith('add'))
      .sort(),
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds))
}

t.test('UDP', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await answering(t, 2)
  const { client } = cluster
  const [one, two] = [cluster.podIp(1), cluster.podIp(2)]
  const dns = (endpoints: string[]) => [
    service('dns', { clusterIP: '10.96.0.20', ports: [{ port: 80, protocol: 'UDP' }] }),
    slice('dns', endpoints, UDP),
    service('empty', { clusterIP: '10.96.0.21', ports: [{ port: 80, protocol: 'UDP' }] }),
  ]
  cluster.write(dns([one, two]))
  const proxy = await start(t, cluster)

  await t.test('2,000 pairs sent back to back: none is split', async (t) => {
    const { pairs, splits, lost } = await client.run(async ({ dgram, once }, host) => {
      let splits = 0
      let lost = 0
      let pairs = 0
      for (let i = 0; i < 2000; i++) {
        const socket = dgram.createSocket('udp4')
        const seen: string[] = []
        const both = new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 2000)
          socket.on('message', (message) => {
            seen.push(message.toString())
            if (seen.length < 2) return
            clearTimeout(timer)
            resolve()
          })
        })
        socket.bind()
        await once(socket, 'listening')
        socket.send('a', 80, host)
        socket.send('b', 80, host)
        await both
        socket.close()
        pairs++
        if (seen.length < 2) lost++
        else if (seen[0] !== seen[1]) splits++
      }
      return { pairs, splits, lost }
    }, '10.96.0.20')
    t.equal(pairs, 2000)
    t.equal(splits, 0)
    t.equal(lost, 0)
  })

  await t.test('a flow that has no answer comes up once, not for every datagram', async (t) => {
    cluster.write(
      [
        service('sink', { clusterIP: '10.96.0.22', ports: [{ port: 80, protocol: 'UDP' }] }),
        slice('sink', [one], { port: 8092, protocol: 'UDP' }),
      ],
      'sink.json',
    )
    await cluster.pods[0]!.run(async ({ dgram, once }) => {
      const socket = dgram.createSocket('udp4')
      socket.bind(8092)
      await once(socket, 'listening')
    }, undefined)
    await proxy.until('sink', ({ services }) => services.some(({ name }) => name === 'test/sink'))
    const before = (await totalsOf(proxy))['packets'] ?? 0
    const send = (count: number) =>
      client.run(
        async ({ dgram, once, state }, args) => {
          const socket = (state['one-way'] as UdpSocket | undefined) ?? dgram.createSocket('udp4')
          if (state['one-way'] === undefined) {
            socket.bind()
            await once(socket, 'listening')
          }
          state['one-way'] = socket
          for (let i = 0; i < args.count; i++) {
            await new Promise((resolve) => {
              socket.send('x', 80, args.host, resolve)
            })
          }
        },
        { host: '10.96.0.22', count },
      )
    await send(1)
    await proxy.until('its verdict', (status) => packetsOf(status) === before + 1)
    await send(200)
    t.match(
      await cluster.onNode('conntrack', '-L', '-p', 'udp', '--orig-dst', '10.96.0.22'),
      /UNREPLIED/,
    )
    t.equal((await totalsOf(proxy))['packets'], before + 1)
  })

  await t.test('an endpoint goes: its flows move at once', async (t) => {
    const flow = await client.run(async ({ dgram, once, state }, host) => {
      const socket = dgram.createSocket('udp4')
      socket.bind()
      await once(socket, 'listening')
      state['flow'] = socket
      socket.send('?', 80, host)
      const [message] = (await once(socket, 'message')) as [Buffer]
      return message.toString()
    }, '10.96.0.20')
    const [stays, gone] = flow.startsWith('pod-1') ? [two, one] : [one, two]
    cluster.write(dns([stays]))
    await proxy.until('one endpoint', ({ services }) =>
      services.some((port) => port.name === 'test/dns' && port.endpoints.length === 1),
    )
    const entries = await cluster.onNode('conntrack', '-L', '-p', 'udp', '--orig-dst', '10.96.0.20')
    t.notMatch(entries, new RegExp(`src=${gone} `), 'no entry leads there any more')
    const again = await client.run(async ({ once, state }, host) => {
      const socket = state['flow'] as UdpSocket
      socket.send('?', 80, host)
      const [message] = (await once(socket, 'message')) as [Buffer]
      return message.toString()
    }, '10.96.0.20')
    t.not(again.split(' ')[0], flow.split(' ')[0])
    await proxy.until('counts follow', ({ services }) =>
      services
        .filter(({ name }) => name === 'test/dns')
        .every(({ endpoints }) => endpoints.every((one) => one.address.startsWith(stays))),
    )
  })

  await t.test(
    'an entry of another proxy to an endpoint that does not serve goes too',
    async (t) => {
      await cluster.onNode(
        ...('conntrack -I -p udp -s 10.0.1.2 -d 10.96.0.20 --sport 5000 --dport 80 -r 10.244.9.9 -q 10.0.1.2 --reply-port-src 8080 --reply-port-dst 5000 -t 100'.split(
          ' ',
        ) as [string]),
      )
      t.match(await cluster.onNode('conntrack', '-L', '-p', 'udp'), /10\.244\.9\.9/)
      cluster.write(dns([one, two]))
      await proxy.until('two endpoints', ({ services }) =>
        services.some((port) => port.name === 'test/dns' && port.endpoints.length === 2),
      )
      t.notMatch(await cluster.onNode('conntrack', '-L', '-p', 'udp'), /10\.244\.9\.9/)
    },
  )

  await t.test('all endpoints go: refused, and no entry is left', async (t) => {
    cluster.write(dns([]))
    await proxy.until('no endpoint', ({ services }) =>
      services.some((port) => port.name === 'test/dns' && port.endpoints.length === 0),
    )
    t.equal(await reach(client, { host: '10.96.0.20', udp: true }), 'ECONNREFUSED')
    const entries = await cluster.onNode('conntrack', '-L', '-p', 'udp', '--orig-dst', '10.96.0.20')
    t.notMatch(entries, /10\.244\./)
  })
})

t.test('an address that another Service takes over', { skip: rootOnly }, async (t) => {
  const cluster = await answering(t, 2)
  const { client, pods } = cluster
  const [one, two] = [cluster.podIp(1), cluster.podIp(2)]
  await serveEcho(pods[0]!, one)
  await serveEcho(pods[1]!, two)
  const a = service('a', { clusterIP: '10.96.0.30' })
  const b = service('b', { clusterIP: '10.96.0.31' })
  cluster.write([a, slice('a', [one], { port: 8090, protocol: 'TCP' }), b, slice('b', [two], PORT)])
  const proxy = await start(t, cluster)
  await hold(client, '10.96.0.30', 5)
  await proxy.until('5 open', ({ services }) => openOf(services, 'test/a') === 5)
  // Pod 1 is b's from now on, at another port, and a has pod 2.
  cluster.write([a, slice('a', [two], { port: 8090, protocol: 'TCP' }), b, slice('b', [one], PORT)])
  await proxy.until('moved', ({ services }) =>
    services.some((port) => port.name === 'test/b' && port.endpoints[0]?.address === `${one}:8080`),
  )
  t.same(await answers(client, { host: '10.96.0.31' }, 4), ['pod-1 10.244.1.1'])
  const stillOpen = await client.run(async ({ once, state }) => {
    const sockets = state['held'] as Socket[]
    let open = 0
    for (const socket of sockets) {
      socket.write('x')
      await once(socket, 'data')
      open++
    }
    return open
  }, undefined)
  t.equal(stillOpen, 5, 'connections to the old endpoint go on')
  await hold(client, '10.96.0.30', 3)
  await proxy.until('3 at the new endpoint', ({ services }) => openOf(services, 'test/a') === 3)
})

t.test('a connection table that is nearly full', { skip: rootOnly }, async (t) => {
  const cluster = await answering(t, 2)
  const { client } = cluster
  cluster.write([
    service('web', { clusterIP: '10.96.0.10' }),
    slice('web', [cluster.podIp(1), cluster.podIp(2)], PORT),
  ])
  const proxy = await start(t, cluster)
  const max = Number(
    (await cluster.onNode('sysctl', '-n', 'net.netfilter.nf_conntrack_max')).trim(),
  )
  if (max > 300_000) {
    t.comment(`nf_conntrack_max is ${max}; the table is filled to 300,000 only`)
  }
  const wanted = Math.min(max, 300_000)
  // One-way datagrams from many ports to many ports, through the node.
  const sent = await client.run(
    async ({ dgram, once }, { host, count }) => {
      let sent = 0
      for (let i = 0; sent < count; i++) {
        const socket = dgram.createSocket('udp4')
        socket.bind(20_000 + i)
        await once(socket, 'listening')
        socket.setSendBufferSize(1 << 22)
        for (let port = 1; port <= 60_000 && sent < count; port++) {
          socket.send('x', port, host)
          sent++
          if (port % 500 === 0) await new Promise((resolve) => setImmediate(resolve))
        }
        await new Promise<void>((resolve) => {
          socket.send('x', 1, host, () => {
            resolve()
          })
        })
        socket.close()
      }
      return sent
    },
    // Nobody there: the node forwards it, and that is all.
    { host: '192.0.2.77', count: wanted },
  )
  t.equal(sent, wanted)
  const entries = await totalPackets(cluster)
  t.ok(entries > wanted * 0.9, `${entries} entries of ${max}`)
  const seen = await answers(client, { host: '10.96.0.10' }, 50)
  t.same(seen, ['pod-1 10.244.1.1', 'pod-2 10.244.2.1'])
  // A sync whose clean-up walks the table, while verdicts go on.
  cluster.write(
    [
      service('dns', { clusterIP: '10.96.0.20', ports: [{ port: 80, protocol: 'UDP' }] }),
      slice('dns', [cluster.podIp(1)], UDP),
    ],
    'dns.json',
  )
  await proxy.until('dns', ({ services }) => services.some(({ name }) => name === 'test/dns'))
  t.same(await answers(client, { host: '10.96.0.10' }, 50), seen)
  t.equal((await proxy.status()).lastSyncError, undefined)
})
