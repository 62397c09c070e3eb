/** The nfqueue mode at its edges: several queues, full ones, and connections that tracking has lost. */
import type { Socket } from 'node:net'
import t from 'tap'

import type { Agent } from '../fixtures/agent.js'
import { hold, release, serveEcho } from '../fixtures/held-connections.js'
import { answers, serve } from '../fixtures/reach.js'
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
const ECHO = { port: 8090, protocol: 'TCP' }
const [FIRST, QUEUES] = [2000, 4]
const LENGTH = 4
const VIPS = Array.from({ length: 16 }, (_, i) => `10.96.1.${i + 1}`)

const FLAGS = [
  ...['--proxy-mode', 'nfqueue'],
  ...['--nfqueue-first', `${FIRST}`, '--nfqueue-count', `${QUEUES}`],
]

const totalsOf = async (proxy: Proxy) =>
  (await proxy.status()).steering as unknown as Record<string, number>

/** Packets that each queue has taken up, by its number. */
async function taken(cluster: TestCluster): Promise<Map<number, number>> {
  const text = await cluster.onNode('cat', '/proc/net/netfilter/nfnetlink_queue')
  const lines = text.trim().split('\n')
  // net/netfilter/nfnetlink_queue.c, seq_show: number first, ids given out in the eighth place.
  return new Map(
    lines.map((line) => line.trim().split(/\s+/).map(Number)).map((f) => [f[0]!, f[7]!]),
  )
}

/** Opens all at once; resolves to how many have got an answer by then and at the end. */
function burst(
  agent: Agent,
  target: { host: string; count: number; waitMs: number },
): Promise<{ early: number; failures: string[] }> {
  return agent.run(async ({ net, state }, { host, count, waitMs }) => {
    let answered = 0
    const failures: string[] = []
    const all = Array.from(
      { length: count },
      () =>
        new Promise<void>((resolve) => {
          const socket = net.connect({ host, port: 80 })
          socket.setTimeout(20_000, () => socket.destroy(new Error('time-out')))
          socket.on('data', () => answered++)
          socket.on('error', (error) => failures.push(error.message))
          socket.on('close', () => {
            resolve()
          })
        }),
    )
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    const early = answered
    state['burst'] = Promise.all(all).then(() => ({ answered, failures }))
    return { early, failures }
  }, target)
}

function burstEnd(agent: Agent): Promise<{ answered: number; failures: string[] }> {
  return agent.run(
    async ({ state }) => state['burst'] as Promise<{ answered: number; failures: string[] }>,
    undefined,
  )
}

/** Writes on the held connection: `x` when it echoes, the code of its error, or `nothing`. */
function write(agent: Agent, waitMs: number): Promise<string> {
  return agent.run(async ({ state }, wait) => {
    const [socket] = state['held'] as Socket[]
    return new Promise<string>((resolve) => {
      setTimeout(resolve, wait, 'nothing')
      socket!.once('data', (data) => {
        resolve(data.toString())
      })
      socket!.once('error', (error: NodeJS.ErrnoException) => {
        resolve(error.code ?? error.message)
      })
      socket!.write('x')
    })
  }, waitMs)
}

t.test('at the edges', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  const { client } = cluster
  const pods = [cluster.podIp(1), cluster.podIp(2)]
  for (const [index, pod] of cluster.pods.entries()) {
    await serve(pod, `pod-${index + 1}`, pods[index]!, 8080)
    await serve(pod, `pod-${index + 1}`, cluster.podIp(index + 1, 6), 8080)
    await serveEcho(pod, pods[index]!)
  }
  cluster.write([
    ...VIPS.flatMap((clusterIP, i) => [
      service(`web-${i}`, { clusterIP }),
      slice(`web-${i}`, pods, PORT),
    ]),
    service('long', { clusterIP: '10.96.0.11' }),
    slice('long', pods, ECHO),
    service('six', {
      clusterIP: 'fd00:96::10',
      ipFamilies: ['IPv6'],
      ports: [{ port: 80, protocol: 'UDP' }],
    }),
    slice('six', [cluster.podIp(1, 6), cluster.podIp(2, 6)], UDP),
  ])
  let proxy = await cluster.startProxy(...FLAGS, '--nfqueue-length', `${LENGTH}`)
  t.teardown(() => proxy.stop('SIGKILL'))
  const untilOpen = (count: number) =>
    proxy.until(`${count} open`, ({ services }) =>
      services.some((one) => one.name === 'test/long' && one.activeConnections === count),
    )

  await t.test('several queues share the first packets', async (t) => {
    const sizes = new RegExp(
      `"queueLength":${LENGTH},"queueBufferBytes":\\d+,"eventBufferBytes":\\d+`,
    )
    t.match(proxy.log(), sizes, 'queue length and buffers are told')
    const rules = await cluster.onNode('iptables-save', '-t', 'mangle')
    t.match(rules, `--queue-balance ${FIRST}:${FIRST + QUEUES - 1} --queue-bypass`)
    t.match(rules, `--queue-num ${FIRST + QUEUES} --queue-bypass`)
    for (const host of VIPS) t.equal((await answers(client, { host }, 4)).length, 2, host)
    const counts = await taken(cluster)
    t.same([...counts.keys()].sort(), [2000, 2001, 2002, 2003, 2004])
    // By a hash of the addresses, with a seed of the kernel's.
    const used = [...counts].filter(([queue, count]) => queue < FIRST + QUEUES && count > 0)
    t.ok(used.length >= 2, `queues ${used.join(' ')}`)
    t.equal((await totalsOf(proxy))['passed'] ?? 0, 0, 'all of it was steered')
  })

  await t.test('what a full queue cannot hold goes to the standby', async (t) => {
    proxy.child.kill('SIGSTOP')
    const { early, failures } = await burst(client, { host: VIPS[0]!, count: 40, waitMs: 700 })
    t.same(failures, [])
    t.equal(early, 40 - LENGTH, 'answered although nobody decides')
    proxy.child.kill('SIGCONT')
    t.same(await burstEnd(client), { answered: 40, failures: [] }, 'and then the others')
    const { boundsHit } = await proxy.until('they are counted', (status) => {
      return (status.boundsHit?.['nfqueue-length'] ?? 0) > 0
    })
    t.equal(boundsHit?.['nfqueue-length'], 40 - LENGTH)
  })

  await t.test('IPv6 extension headers are passed over', async (t) => {
    const before = (await totalsOf(proxy))['steered'] ?? 0
    for (const option of ['IPV6_DSTOPTS', 'IPV6_HOPOPTS']) {
      t.match(await cluster.onClient('python3', '-c', withOption(option)), /^pod-[12] /, option)
    }
    await proxy.until('two verdicts', (status) => {
      const { steered } = status.steering as unknown as Record<string, number>
      return (steered ?? 0) >= before + 2
    })
  })

  await t.test('a connection whose entry is lost: taken up in the middle', async (t) => {
    await cluster.onNode('sysctl', '-w', 'net.netfilter.nf_conntrack_tcp_loose=1')
    await hold(client, '10.96.0.11', 1)
    await untilOpen(1)
    await cluster.onNode('conntrack', '-D', '-p', 'tcp', '--orig-dst', '10.96.0.11')
    await untilOpen(0)
    // It is steered as if it were new: to its endpoint, or to one that resets it. It never hangs.
    const result = await write(client, 10_000)
    t.ok(['x', 'ECONNRESET'].includes(result), result)
    await release(client, 1, true)
    await untilOpen(0)
    t.match(await totalsOf(proxy), { refusals: 0, retries: 0 }, 'nobody is blamed for it')
    await hold(client, '10.96.0.11', 3)
    await untilOpen(3)
    await release(client, 3, true)
    await untilOpen(0)
  })

  await t.test('the same where tracking takes up none', async (t) => {
    await cluster.onNode('sysctl', '-w', 'net.netfilter.nf_conntrack_tcp_loose=0')
    await hold(client, '10.96.0.11', 1)
    await untilOpen(1)
    const { packets } = await totalsOf(proxy)
    await cluster.onNode('conntrack', '-D', '-p', 'tcp', '--orig-dst', '10.96.0.11')
    await untilOpen(0)
    t.equal(await write(client, 700), 'nothing', 'invalid, and not forwarded as it is')
    t.equal((await totalsOf(proxy))['packets'], packets, 'no verdict is asked for')
    await release(client, 1, true)
    t.equal((await answers(client, { host: VIPS[0]! })).length, 2, 'new connections are')
    await cluster.onNode('sysctl', '-w', 'net.netfilter.nf_conntrack_tcp_loose=1')
  })

  await t.test('a restart with other options keeps slots and counts', async (t) => {
    await hold(client, '10.96.0.11', 6)
    await untilOpen(6)
    const slots = async () => {
      const text = await cluster.onNode('nft', 'list', 'map', 'ip', 'kube-sluice', 'endpoints')
      return [...text.matchAll(/0x[0-9a-f]+ comment "[^"]*" : [\d.]+ \. \d+/g)].map(String).sort()
    }
    const before = await slots()
    t.ok(before.length >= 2 * VIPS.length)
    await proxy.stop('SIGKILL')
    // Which are other rules, so that the table is made anew.
    proxy = await cluster.startProxy(...FLAGS, '--masquerade-all')
    t.same(await slots(), before)
    const { services } = await untilOpen(6)
    const { endpoints } = services.find(({ name }) => name === 'test/long')!
    t.same(
      endpoints.map(({ activeConnections }) => activeConnections),
      [3, 3],
    )
  })
})

/** Sends a datagram with an extension header before UDP; prints the answer. */
function withOption(name: string): string {
  return `
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(10)
padding = bytes([0, 0, 1, 4, 0, 0, 0, 0])
s.sendmsg([b'?'], [(socket.IPPROTO_IPV6, socket.${name}, padding)], 0, ('fd00:96::10', 80))
print(s.recv(100).decode())
`
}
