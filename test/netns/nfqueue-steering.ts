/** The nfqueue mode end to end: where each connection ends, whom the endpoint sees, which marks remain. */
import t, { type Test } from 'tap'

import type { Agent } from '../fixtures/agent.js'
import { answers, reach, serve } from '../fixtures/reach.js'
import { type Proxy, rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const SILENCE_MS = 500
const UDP = { port: 80, protocol: 'UDP' }
const TCP = { port: 80, protocol: 'TCP' }

type Status = Awaited<ReturnType<Proxy['status']>>
const steeringOf = (status: Status) => status.steering as unknown as Record<string, number>

for (const dnat of ['nftables', 'iptables'] as const) {
  t.test(`every kind of VIP, ${dnat}`, { skip: rootOnly, timeout: 170_000 }, (t) =>
    everyKind(t, dnat),
  )
}

async function everyKind(t: Test, dnat: 'nftables' | 'iptables'): Promise<void> {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  const { client, node, namespaces } = cluster
  const [pod1, pod2] = cluster.pods as [Agent, Agent]
  const nodeNs = namespaces.names.find((name) => name.endsWith('-node'))!
  await namespaces.sysctl(nodeNs, {
    'net.ipv4.icmp_ratelimit': '0',
    'net.ipv6.icmp.ratelimit': '0',
  })
  for (const [index, pod] of cluster.pods.entries()) {
    for (const family of [4, 6] as const) {
      await serve(pod, `pod-${index + 1}`, cluster.podIp(index + 1, family), 8080)
    }
  }
  cluster.write([4, 6].flatMap((family) => servicesOf(family as 4 | 6)))
  const proxy = await cluster.startProxy('--proxy-mode', 'nfqueue', '--nfqueue-dnat', dnat)
  t.teardown(() => proxy.stop('SIGKILL'))

  function servicesOf(family: 4 | 6): object[] {
    const ip = (last: number) => (family === 4 ? `10.96.0.${last}` : `fd00:96::${last}`)
    const external = (last: number) => (family === 4 ? `192.0.2.${last}` : `2001:db8::${last}`)
    const pods = [1, 2].map((pod) => cluster.podIp(pod, family))
    const make = (name: string, last: number, spec: object, extra: object = {}) =>
      service(
        `${name}-${family}`,
        {
          clusterIP: ip(last),
          ipFamilies: [`IPv${family}`],
          ports: [
            { ...TCP, name: 't' },
            { ...UDP, name: 'u' },
          ],
          ...spec,
        },
        extra,
      )
    const endpoints = (name: string, list: readonly (string | object)[]) => ({
      ...slice(`${name}-${family}`, list),
      ports: [
        { name: 't', port: 8080, protocol: 'TCP' },
        { name: 'u', port: 8080, protocol: 'UDP' },
      ],
    })
    const nodePort = 30_000 + family * 100
    const balancer = { status: { loadBalancer: { ingress: [{ ip: external(20) }] } } }
    const closed = { status: { loadBalancer: { ingress: [{ ip: external(21) }] } } }
    const isHere = (address: string) => ({ addresses: [address], nodeName: 'node-a' })
    const isElsewhere = (address: string) => ({ addresses: [address], nodeName: 'node-b' })
    return [
      make('web', 10, {
        type: 'NodePort',
        externalIPs: [external(10)],
        ports: [
          { ...TCP, name: 't', nodePort },
          { ...UDP, name: 'u', nodePort },
        ],
      }),
      endpoints('web', pods),
      make('open', 20, { type: 'LoadBalancer' }, balancer),
      endpoints('open', pods),
      make(
        'closed',
        21,
        {
          type: 'LoadBalancer',
          loadBalancerSourceRanges: [family === 4 ? '10.244.1.0/24' : 'fd00:244:1::/64'],
        },
        closed,
      ),
      endpoints('closed', pods),
      make('local', 22, { externalIPs: [external(22)], externalTrafficPolicy: 'Local' }),
      endpoints('local', [isHere(pods[0]!), isElsewhere(pods[1]!)]),
      make('away', 23, { externalIPs: [external(23)], externalTrafficPolicy: 'Local' }),
      endpoints('away', [isElsewhere(pods[1]!)]),
      make('inside', 24, { internalTrafficPolicy: 'Local' }),
      endpoints('inside', [isHere(pods[0]!), isElsewhere(pods[1]!)]),
      make('nowhere', 25, { internalTrafficPolicy: 'Local' }),
      endpoints('nowhere', [isElsewhere(pods[1]!)]),
      make('empty', 26, {}),
      make('sticky', 27, { sessionAffinity: 'ClientIP' }),
      endpoints('sticky', pods),
      make('self', 28, {}),
      endpoints('self', [pods[0]!]),
    ]
  }

  for (const family of [4, 6] as const) {
    await t.test(`IPv${family}`, (t) => testFamily(t, family))
  }

  async function testFamily(t: Test, family: 4 | 6): Promise<void> {
    const ip = (last: number) => (family === 4 ? `10.96.0.${last}` : `fd00:96::${last}`)
    const external = (last: number) => (family === 4 ? `192.0.2.${last}` : `2001:db8::${last}`)
    const clientIp = family === 4 ? '10.0.1.2' : 'fd00:1::2'
    const nodeIp = family === 4 ? '10.0.1.1' : 'fd00:1::1'
    const podIp = (pod: number) => cluster.podIp(pod, family)
    const gateway = (pod: number) => (family === 4 ? `10.244.${pod}.1` : `fd00:244:${pod}::1`)
    const nodePort = 30_000 + family * 100
    const masqueraded = [`pod-1 ${gateway(1)}`, `pod-2 ${gateway(2)}`]

    for (const udp of [false, true]) {
      const via = udp ? 'UDP' : 'TCP'
      await t.test(`${via}: pods keep their address toward a cluster IP`, async (t) => {
        t.same(await answers(pod1, { host: ip(10), udp }), [
          `pod-1 ${gateway(1)}`,
          `pod-2 ${podIp(1)}`,
        ])
      })
      await t.test(`${via}: the node and outsiders are masqueraded`, async (t) => {
        for (const host of [ip(10), external(10), external(20)]) {
          t.same(await answers(client, { host, udp }), masqueraded, host)
        }
        t.same(await answers(client, { host: nodeIp, port: nodePort, udp }), masqueraded)
        t.same(await answers(node, { host: ip(10), udp }), masqueraded)
        t.same(await answers(node, { host: external(10), udp }), masqueraded)
        t.same(await answers(node, { host: nodeIp, port: nodePort, udp }), masqueraded)
      })
      await t.test(`${via}: loadBalancerSourceRanges`, async (t) => {
        t.equal(await reach(client, { host: external(21), udp, timeoutMs: SILENCE_MS }), 'silence')
        t.equal(await reach(pod2, { host: external(21), udp, timeoutMs: SILENCE_MS }), 'silence')
        t.same(await answers(pod1, { host: external(21), udp }), masqueraded)
        t.same(await answers(client, { host: ip(21), udp }), masqueraded)
      })
      await t.test(`${via}: traffic policies`, async (t) => {
        t.same(await answers(client, { host: external(22), udp }), [`pod-1 ${clientIp}`])
        t.same(await answers(pod2, { host: external(22), udp }), [
          `pod-1 ${podIp(2)}`,
          `pod-2 ${gateway(2)}`,
        ])
        t.same(await answers(node, { host: external(22), udp }), masqueraded)
        t.equal(await reach(client, { host: external(23), udp, timeoutMs: SILENCE_MS }), 'silence')
        t.same(await answers(pod1, { host: external(23), udp }), [`pod-2 ${podIp(1)}`])
        t.same(await answers(client, { host: ip(24), udp }), [`pod-1 ${gateway(1)}`])
        t.equal(await reach(client, { host: ip(25), udp, timeoutMs: SILENCE_MS }), 'silence')
      })
      await t.test(`${via}: without an endpoint it is refused`, async (t) => {
        for (const agent of [client, node, pod1]) {
          t.equal(await reach(agent, { host: ip(26), udp }), 'ECONNREFUSED')
        }
      })
      await t.test(`${via}: session affinity`, async (t) => {
        t.equal((await answers(client, { host: ip(27), udp })).length, 1)
        t.equal((await answers(pod1, { host: ip(27), udp })).length, 1)
      })
      await t.test(`${via}: an endpoint that reaches itself sees the node`, async (t) => {
        t.same(await answers(pod1, { host: ip(28), udp }), [`pod-1 ${gateway(1)}`])
      })
    }
    if (family === 4) {
      await t.test('loopback serves node ports', async (t) => {
        t.same(await answers(node, { host: '127.0.0.1', port: nodePort }), masqueraded)
      })
    }
  }

  await t.test('all of it was steered, nothing was left to the standby', async (t) => {
    const status = await proxy.status()
    const steering = steeringOf(status)
    t.equal(steering['passed'], 0)
    const entries = (await cluster.onNode('sh', '-c', 'conntrack -L 2>/dev/null')).split('\n')
    const toVips = entries.filter((line) => /dst=(10\.96\.|192\.0\.2\.)/.test(line))
    t.ok(toVips.length > 50)
    const unmarked = toVips.filter(
      (line) => (Number(/mark=(\d+)/.exec(line)?.[1]) & 0x0fffff00) === 0,
    )
    t.same(unmarked, [])
  })

  await t.test("bits of others in a packet's mark and a connection's mark stay", async (t) => {
    await cluster.onNode(
      'sh',
      '-c',
      `
      iptables -t raw -A PREROUTING -d 10.96.0.28 -j MARK --set-mark 0x80041005
      iptables -t mangle -I PREROUTING 1 -d 10.96.0.28 -m conntrack --ctstate NEW -j CONNMARK --set-mark 0x40000081/0xc00000ff
      iptables -t mangle -A FORWARD -m connmark ! --mark 0x0/0xfffff00 -m mark --mark 0x80041005 -m conntrack --ctstate NEW -j CONNMARK --set-mark 0x80000000/0x80000000`,
    )
    t.same(await answers(client, { host: '10.96.0.28' }, 2), [`pod-1 10.244.1.1`])
    const entries = await cluster.onNode('conntrack', '-L', '-d', '10.96.0.28', '-s', '10.0.1.2')
    const marks = [...entries.matchAll(/mark=(\d+)/g)].map(([, mark]) => Number(mark) >>> 0)
    t.ok(marks.length > 0)
    for (const mark of marks) {
      // 0xc0: what was there, and the bit that says that FORWARD saw the packet's own mark again.
      t.equal((mark & 0xc00000ff) >>> 0, 0xc0000081, mark.toString(16))
      t.not(mark & 0x0fffff00, 0, mark.toString(16))
    }
  })

  await t.test(
    'what fragments carry arrives whole, and path MTU errors reach the endpoint',
    async (t) => {
      const bytes = await client.run(
        async ({ dgram }, host) =>
          new Promise<number>((resolve) => {
            const socket = dgram.createSocket('udp4')
            setTimeout(resolve, 3000, -1).unref()
            socket.on('message', (message) => {
              socket.close()
              resolve(message.length)
            })
            socket.send(Buffer.alloc(9000), 80, host)
          }),
        '10.96.0.10',
      )
      t.ok(bytes > 0, 'a datagram of seven fragments is answered')
      // The way to the client narrows: the pod's large segments meet an ICMP "fragmentation needed",
      // which connection tracking must translate for the pod to believe it.
      await serveBytes(pod1, 8090, 300_000)
      cluster.write(
        [
          service('large', { clusterIP: '10.96.0.40' }),
          slice('large', [cluster.podIp(1)], { port: 8090, protocol: 'TCP' }),
        ],
        'large.json',
      )
      await proxy.until('large', ({ services }) =>
        services.some(({ name }) => name === 'test/large'),
      )
      await cluster.onNode('ip', 'link', 'set', 'client', 'mtu', '1280')
      const received = await fetchBytes(client, '10.96.0.40')
      await cluster.onNode('ip', 'link', 'set', 'client', 'mtu', '1500')
      t.equal(received, 300_000)
    },
  )

  await t.test('SCTP has its verdict', async (t) => {
    cluster.write(
      [
        service('sctp', { clusterIP: '10.96.0.41', ports: [{ port: 80, protocol: 'SCTP' }] }),
        slice('sctp', [cluster.podIp(1)], { port: 8091, protocol: 'SCTP' }),
      ],
      'sctp.json',
    )
    await proxy.until('sctp', ({ services }) => services.some(({ name }) => name === 'test/sctp'))
    const before = steeringOf(await proxy.status())['steered'] ?? 0
    // Its kernel may have no SCTP and say so, and a refusal takes the entry away.
    const pod = cluster.namespaces.names.find((one) => one.endsWith('-pod-1'))!
    await cluster.inNamespace(pod, 'iptables', '-A', 'OUTPUT', '-p', 'icmp', '-j', 'DROP')
    // An INIT by hand: not every kernel has SCTP sockets. Ports, tag 0, CRC left out; INIT chunk.
    const sent = await cluster.onClient('python3', '-c', SCTP_INIT)
    t.equal(sent.trim(), 'sent')
    await proxy.until('one more verdict', (status) => (steeringOf(status)['steered'] ?? 0) > before)
    const entries = await cluster.onNode('conntrack', '-L', '-p', 'sctp')
    t.match(entries, /dst=10\.96\.0\.41 .*src=10\.244\.1\.2 .*sport=8091/)
  })
}

/** Sends one SCTP INIT with a right CRC32c, which connection tracking looks at. */
const SCTP_INIT = `
import socket, struct
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff
chunk = struct.pack('!BBHIIHHI', 1, 0, 20, 0x12345678, 65536, 1, 1, 1)
head = struct.pack('!HHI', 40000, 80, 0)
crc = struct.pack('<I', crc32c(head + b'\\0\\0\\0\\0' + chunk))
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
s.sendto(head + crc + chunk, ('10.96.0.41', 0))
print('sent')
`

function serveBytes(agent: Agent, port: number, count: number): Promise<void> {
  return agent.run(
    async ({ net, once }, args) => {
      const server = net.createServer((socket) => {
        socket.on('error', () => undefined)
        socket.end(Buffer.alloc(args.count))
      })
      server.listen(args.port)
      await once(server, 'listening')
    },
    { port, count },
  )
}

function fetchBytes(agent: Agent, host: string): Promise<number> {
  return agent.run(
    async ({ net }, target) =>
      new Promise<number>((resolve) => {
        const socket = net.connect({ host: target, port: 80 })
        let bytes = 0
        socket.setTimeout(5000, () => socket.destroy())
        socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
        socket.on('error', () => undefined)
        socket.on('close', () => {
          resolve(bytes)
        })
      }),
    host,
  )
}
