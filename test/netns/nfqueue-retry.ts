/** The nfqueue mode, when endpoints do not answer: clients connect to another one and never notice. */
import { setTimeout as sleep } from 'node:timers/promises'

import t from 'tap'

import type { Agent } from '../fixtures/agent.js'
import { startLoad, stopLoad } from '../fixtures/constant-load.js'
import { reach, serve } from '../fixtures/reach.js'
import { type Proxy, rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const PORT = { port: 8080, protocol: 'TCP' }
const DATAGRAMS = { port: 80, protocol: 'UDP' }

type Totals = Record<string, number>
const totalsOf = async (proxy: Proxy) => (await proxy.status()).steering as unknown as Totals

/** Milliseconds of each connect, and what went wrong, one after the other. */
function connectTimes(
  agent: Agent,
  target: { host: string; count: number },
): Promise<{ times: number[]; failures: string[] }> {
  return agent.run(async ({ net }, { host, count }) => {
    const times: number[] = []
    const failures: string[] = []
    for (let i = 0; i < count; i++) {
      const startedAt = performance.now()
      await new Promise<void>((resolve) => {
        const socket = net.connect({ host, port: 80 })
        socket.setTimeout(4000, () => socket.destroy(new Error('time-out')))
        socket.on('connect', () => {
          times.push(performance.now() - startedAt)
          socket.destroy()
        })
        socket.on('error', (error) => failures.push(error.message))
        socket.on('close', () => {
          resolve()
        })
      })
    }
    return { times, failures }
  }, target)
}

/** What sockets were told that send every 50 ms until somebody answers, one after the other. */
function askByDatagrams(
  agent: Agent,
  target: { host: string; count: number },
): Promise<{ answers: string[]; refused: number }> {
  return agent.run(async ({ dgram }, { host, count }) => {
    const answers: string[] = []
    let refused = 0
    for (let i = 0; i < count; i++) {
      const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
      const answer = await new Promise<string>((resolve) => {
        const end = setTimeout(resolve, 10_000, 'silence')
        const failed = () => refused++
        socket.on('error', failed)
        socket.on('message', (message) => {
          clearTimeout(end)
          clearInterval(repeat)
          resolve(message.toString().split(' ')[0] ?? '')
        })
        const repeat = setInterval(() => {
          socket.send('?', () => undefined)
        }, 50)
        socket.connect(80, host)
      })
      socket.close()
      answers.push(answer)
    }
    return { answers, refused }
  }, target)
}

t.test('connections that nobody takes', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await startCluster(3)
  t.teardown(() => cluster.close())
  const { client, node, namespaces } = cluster
  const [pod1, pod2] = cluster.pods as [Agent, Agent, Agent]
  for (const family of [4, 6] as const) {
    await serve(pod1, 'pod-1', cluster.podIp(1, family), 8080)
    await serve(pod2, 'pod-2', cluster.podIp(2, family), 8080)
    // Pod 3 serves nothing: it refuses.
  }
  const onPod = async (pod: number, command: string) => {
    const name = namespaces.names.find((one) => one.endsWith(`-pod-${pod}`))!
    await cluster.inNamespace(name, 'sh', '-c', command)
  }
  const [one, two, three] = [1, 2, 3].map((pod) => cluster.podIp(pod)) as [string, string, string]
  const three6 = cluster.podIp(3, 6)
  cluster.write([
    service('refused', { clusterIP: '10.96.0.10' }),
    slice('refused', [one, three], PORT),
    service('refused6', { clusterIP: 'fd00:96::10', ipFamilies: ['IPv6'] }),
    slice('refused6', [cluster.podIp(1, 6), three6], PORT),
    service('silent', { clusterIP: '10.96.0.11' }),
    slice('silent', [one, two], { port: 8081, protocol: 'TCP' }),
    service('unreachable', { clusterIP: '10.96.0.12' }),
    slice('unreachable', [one, two], { port: 8082, protocol: 'TCP' }),
    service('dead', { clusterIP: '10.96.0.13' }),
    slice('dead', [two, three], { port: 8083, protocol: 'TCP' }),
    service('local', {
      clusterIP: '10.96.0.14',
      externalIPs: ['192.0.2.14'],
      externalTrafficPolicy: 'Local',
    }),
    slice(
      'local',
      [one, three].map((address) => ({ addresses: [address], nodeName: 'node-a' })),
      PORT,
    ),
    service('host', { clusterIP: '10.96.0.15' }),
    slice('host', ['10.0.1.1', one], PORT),
    service('datagrams', { clusterIP: '10.96.0.17', ports: [DATAGRAMS] }),
    slice('datagrams', [one, three], { ...PORT, protocol: 'UDP' }),
    service('datagrams6', {
      clusterIP: 'fd00:96::17',
      ipFamilies: ['IPv6'],
      ports: [DATAGRAMS],
    }),
    slice('datagrams6', [cluster.podIp(1, 6), three6], { ...PORT, protocol: 'UDP' }),
  ])
  await serve(pod1, 'pod-1', one, 8081)
  await serve(pod2, 'pod-2', two, 8081)
  await serve(pod1, 'pod-1', one, 8082)
  await serve(pod2, 'pod-2', two, 8082)
  const proxy = await cluster.startProxy('--proxy-mode', 'nfqueue')
  t.teardown(() => proxy.stop('SIGKILL'))

  await t.test('a refused connect goes to another endpoint within milliseconds', async (t) => {
    for (const [agent, host] of [
      [client, '10.96.0.10'],
      [client, 'fd00:96::10'],
      [pod2, '10.96.0.10'],
      [node, '10.96.0.10'],
      [client, '192.0.2.14'],
      [client, '10.96.0.15'],
      [node, '10.96.0.15'],
    ] as const) {
      const { times, failures } = await connectTimes(agent, { host, count: 20 })
      t.same(failures, [], host)
      t.equal(times.length, 20, host)
      // A repeated SYN would take a second.
      t.ok(Math.max(...times) < 900, `${host}: ${Math.max(...times)} ms`)
    }
    const { refusals, retries, exhausted } = await totalsOf(proxy)
    t.ok((refusals ?? 0) >= 4, `${refusals} refusals`)
    t.equal(retries, refusals)
    t.equal(exhausted, 0)
  })

  await t.test('after a load nothing is open, nor are connects that were refused', async (t) => {
    await startLoad(client, { host: '10.96.0.10', rate: 500 })
    await sleep(4000)
    const { requests, failures } = await stopLoad(client)
    t.ok(requests > 500, `${requests} connections`)
    t.same(failures, [])
    await proxy.until('none open', ({ services }) =>
      services.every(({ activeConnections }) => activeConnections === 0),
    )
  })

  await t.test('the address of the client is kept when it is sent again', async (t) => {
    // Local policy: no masquerade. Some of these were refused by pod 3 at first.
    for (let i = 0; i < 6; i++) {
      t.equal(await reach(client, { host: '192.0.2.14' }), 'pod-1 10.0.1.2')
    }
  })

  await t.test('the datagram after a refused one goes to another endpoint', async (t) => {
    const before = await totalsOf(proxy)
    let refused = 0
    for (const [agent, host] of [
      [client, '10.96.0.17'],
      [client, 'fd00:96::17'],
      [pod2, '10.96.0.17'],
      [node, '10.96.0.17'],
    ] as const) {
      const told = await askByDatagrams(agent, { host, count: 4 })
      t.strictSame(told.answers, ['pod-1', 'pod-1', 'pod-1', 'pod-1'], host)
      refused += told.refused
    }
    const { refusals = 0 } = await totalsOf(proxy)
    t.ok(refusals > (before['refusals'] ?? 0), `${refusals} refusals`)
    t.ok(refused > 0, 'the client is told')
  })

  await t.test('an endpoint that drops SYNs: every connect succeeds within 2 s', async (t) => {
    await onPod(1, 'iptables -A INPUT -p tcp --dport 8081 --syn -j DROP')
    const before = await totalsOf(proxy)
    const { times, failures } = await connectTimes(client, { host: '10.96.0.11', count: 20 })
    t.same(failures, [])
    t.ok(Math.max(...times) < 2000, `${Math.max(...times)} ms`)
    const after = await totalsOf(proxy)
    t.ok((after['unansweredSyns'] ?? 0) > (before['unansweredSyns'] ?? 0))
    t.ok(times.filter((time) => time > 900).length <= 3, 'others are spared the dead endpoint')
    const { services } = await proxy.status()
    const endpoints = services.find(({ name }) => name === 'test/silent')!.endpoints
    t.ok(endpoints.find(({ address }) => address === `${one}:8081`)!.connectFailures > 0)
    t.equal(endpoints.find(({ address }) => address === `${two}:8081`)!.connectFailures, 0)
  })

  await t.test('an endpoint that answers with an ICMP error is passed over', async (t) => {
    await onPod(
      1,
      'iptables -A INPUT -p tcp --dport 8082 --syn -j REJECT --reject-with icmp-port-unreachable',
    )
    const { times, failures } = await connectTimes(client, { host: '10.96.0.12', count: 10 })
    t.same(failures, [])
    t.ok(Math.max(...times) < 900, `${Math.max(...times)} ms`)
  })

  await t.test('an endpoint that comes back is used again', async (t) => {
    await onPod(1, 'iptables -F INPUT')
    const deadline = Date.now() + 40_000
    const seen = new Set<string>()
    while (seen.size < 2 && Date.now() < deadline) {
      seen.add(await reach(client, { host: '10.96.0.11' }))
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    t.equal(seen.size, 2, [...seen].join())
  })

  await t.test('when all have refused, the client sees it, at once', async (t) => {
    const startedAt = Date.now()
    t.equal(await reach(client, { host: '10.96.0.13' }), 'ECONNREFUSED')
    t.ok(Date.now() - startedAt < 900)
    t.ok(((await totalsOf(proxy))['exhausted'] ?? 0) > 0)
  })

  await t.test('a reset of an established connection is not taken up', async (t) => {
    const before = await totalsOf(proxy)
    await pod1.run(async ({ net, once }) => {
      const server = net.createServer((socket) => {
        socket.on('error', () => undefined)
        setTimeout(() => socket.resetAndDestroy(), 50)
      })
      server.listen(8084)
      await once(server, 'listening')
    }, undefined)
    cluster.write(
      [
        service('resets', { clusterIP: '10.96.0.16' }),
        slice('resets', [one], { port: 8084, protocol: 'TCP' }),
      ],
      'resets.json',
    )
    await proxy.until('resets', ({ services }) =>
      services.some(({ name }) => name === 'test/resets'),
    )
    t.equal(await reach(client, { host: '10.96.0.16' }), 'ECONNRESET')
    const after = await totalsOf(proxy)
    t.equal(after['refusals'], before['refusals'])
    t.equal(after['packets'], (before['packets'] ?? 0) + 1, 'only its SYN has come up')
  })
})
