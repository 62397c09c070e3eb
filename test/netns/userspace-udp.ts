/** UDP Services end to end, in network namespaces. */
import type { Socket } from 'node:dgram'
import t from 'tap'
import type { Agent } from '../fixtures/agent.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const UDP = { protocol: 'UDP', port: 53 }

/** Echoes each datagram, with `name` in front; an empty name echoes it as it is. */
function serveUdp(agent: Agent, name: string, host: string, port: number): Promise<void> {
  return agent.run(
    async ({ dgram, once, state }, args) => {
      const socket = dgram.createSocket(args.host.includes(':') ? 'udp6' : 'udp4')
      socket.on('message', (message, from) => {
        const prefix = args.name === '' ? '' : `${args.name} ${from.address} `
        socket.send(Buffer.concat([Buffer.from(prefix), message]), from.port, from.address)
      })
      socket.bind(args.port, args.host)
      await once(socket, 'listening')
      socket.setRecvBufferSize(1 << 20)
      socket.setSendBufferSize(1 << 20)
      state[`udp${args.port}`] = socket
    },
    { name, host, port },
  )
}

interface Asked {
  /** 'reply', an errno name, or 'time-out'. */
  readonly outcome: string
  readonly text: string
  readonly bytes: number
  /** Source address of the reply. */
  readonly from: string
}

/** Sends one datagram of that size from a new socket and waits up to 2.5 s for an answer. */
function ask(
  agent: Agent,
  target: { host: string; port: number; bytes?: number; bind?: string; isConnected?: boolean },
): Promise<Asked> {
  return agent.run(async ({ dgram, once }, { host, port, bytes = 16, bind, isConnected }) => {
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
    socket.bind(0, bind)
    await once(socket, 'listening')
    socket.setSendBufferSize(1 << 20)
    socket.setRecvBufferSize(1 << 20)
    return new Promise<Asked>((resolve) => {
      const settle = (outcome: string, message: Buffer, from: string) => {
        clearTimeout(timer)
        socket.removeAllListeners()
        socket.close()
        resolve({ outcome, text: message.toString('latin1', 0, 40), bytes: message.length, from })
      }
      const none = Buffer.alloc(0)
      const timer = setTimeout(() => {
        settle('time-out', none, '')
      }, 2500)
      socket.on('message', (message, from) => {
        settle('reply', message, from.address)
      })
      socket.on('error', (error: NodeJS.ErrnoException) => {
        settle(error.code ?? 'error', none, '')
      })
      const payload = Buffer.alloc(bytes, 'x')
      if (isConnected === true) {
        socket.connect(port, host, () => {
          socket.send(payload)
        })
      } else {
        socket.send(payload, port, host)
      }
    })
  }, target)
}

for (const capture of ['anyip', 'tproxy', 'redirect'] as const) {
  t.test(`UDP by ${capture}`, { skip: rootOnly }, async (t) => {
    const cluster = await startCluster(3)
    t.teardown(() => cluster.close())
    const { client, node, pods } = cluster
    for (const [index, pod] of pods.entries()) {
      await serveUdp(pod, `pod-${index + 1}`, '0.0.0.0', 5353)
      await serveUdp(pod, `pod-${index + 1}`, '::', 5354)
      await serveUdp(pod, '', '0.0.0.0', 5355)
    }
    const ips = [1, 2, 3].map((pod) => cluster.podIp(pod))
    cluster.write([
      service('dns', { clusterIP: '10.96.0.53', ports: [UDP] }),
      slice('dns', ips, { port: 5353, protocol: 'UDP' }),
      service('dns6', {
        clusterIP: 'fd00:96::53',
        clusterIPs: ['fd00:96::53'],
        ipFamilies: ['IPv6'],
        ports: [UDP],
      }),
      slice(
        'dns6',
        [1, 2, 3].map((pod) => cluster.podIp(pod, 6)),
        { port: 5354, protocol: 'UDP' },
      ),
      service('echo', { clusterIP: '10.96.0.54', ports: [UDP] }),
      slice('echo', ips, { port: 5355, protocol: 'UDP' }),
      service('empty', { clusterIP: '10.96.0.55', ports: [UDP] }),
      service('elsewhere', {
        clusterIP: '10.96.0.56',
        internalTrafficPolicy: 'Local',
        ports: [UDP],
      }),
      slice('elsewhere', [{ addresses: [ips[0]], nodeName: 'node-b' }], {
        port: 5353,
        protocol: 'UDP',
      }),
      service('nodeport', {
        type: 'NodePort',
        clusterIP: '10.96.0.57',
        ports: [{ ...UDP, nodePort: 30053 }],
      }),
      slice('nodeport', ips, { port: 5353, protocol: 'UDP' }),
      service('one-dead', { clusterIP: '10.96.0.58', ports: [UDP] }),
      // Nobody listens at this port: the kernel of pod 1 answers port unreachable.
      {
        ...slice('one-dead', [ips[0]!], { port: 9, protocol: 'UDP' }),
        metadata: {
          name: 'one-dead-a',
          namespace: 'test',
          labels: { 'kubernetes.io/service-name': 'one-dead' },
        },
      },
      slice('one-dead', [ips[1]!], { port: 5353, protocol: 'UDP' }),
    ])
    const proxy = await cluster.startProxy('--userspace-capture', capture)
    t.teardown(() => proxy.stop('SIGKILL'))

    await t.test(
      'each new socket goes to the next endpoint; replies come from the VIP',
      async (t) => {
        const counts = new Map<string, number>()
        for (let i = 0; i < 9; i++) {
          const { outcome, text, from } = await ask(client, { host: '10.96.0.53', port: 53 })
          t.equal(outcome, 'reply')
          t.equal(from, '10.96.0.53')
          const name = text.split(' ')[0]!
          counts.set(name, (counts.get(name) ?? 0) + 1)
        }
        t.strictSame([...counts.values()], [3, 3, 3])
      },
    )

    await t.test('whole datagrams up to 65,507 bytes', async (t) => {
      for (const bytes of [0, 1472, 9000, 65_507]) {
        const answer = await ask(client, { host: '10.96.0.54', port: 53, bytes })
        t.match(answer, { outcome: 'reply', bytes }, `${bytes} bytes`)
      }
    })

    await t.test('IPv6, the node itself, a pod, and node ports of every address', async (t) => {
      for (const [agent, host, port] of [
        [client, 'fd00:96::53', 53],
        [node, '10.96.0.53', 53],
        [pods[0]!, '10.96.0.53', 53],
        [client, '10.0.1.1', 30053],
        [client, '10.0.9.1', 30053],
        // Not the address that the node would answer from by itself.
        [client, '10.244.1.1', 30053],
      ] as const) {
        const { outcome, from } = await ask(agent, { host, port })
        t.equal(outcome, 'reply', `${host}:${port}`)
        t.equal(from, host)
      }
    })

    await t.test('no endpoints: port unreachable; Local without local ones: nothing', async (t) => {
      const asked = await ask(client, { host: '10.96.0.55', port: 53, isConnected: true })
      t.equal(asked.outcome, 'ECONNREFUSED')
      const dropped = await ask(client, { host: '10.96.0.56', port: 53, isConnected: true })
      t.equal(dropped.outcome, 'time-out')
    })

    await t.test('a datagram that one endpoint refuses is answered by the next', async (t) => {
      // The pod first: under tproxy its own address is dialled from, so the refusal comes to it.
      for (const agent of [pods[2]!, client, pods[2]!, client, pods[2]!, client]) {
        const { outcome, text } = await ask(agent, { host: '10.96.0.58', port: 53 })
        t.equal(outcome, 'reply')
        t.match(text, /^pod-2 /)
      }
      const { services } = await proxy.status()
      t.ok(services.find(({ name }) => name === 'test/one-dead')!.retries >= 1)
    })

    await t.test('an endpoint that no longer serves loses its sessions', async (t) => {
      // One socket, so one session: its datagrams follow it to the endpoint that is left.
      const endpoints = (serving: boolean) => [
        { addresses: [ips[0]], conditions: { ready: serving, serving } },
        { addresses: [ips[1]], conditions: { ready: !serving, serving: !serving } },
      ]
      const moving = service('moving', { clusterIP: '10.96.0.59', ports: [UDP] })
      const port = { port: 5353, protocol: 'UDP' }
      cluster.write([moving, slice('moving', endpoints(true), port)], 'moving.json')
      await proxy.until('moving is served', ({ services }) =>
        services.some(({ name, vips }) => name === 'test/moving' && vips.length > 0),
      )
      const query = () =>
        client.run(async ({ dgram, once, state }) => {
          const known = state['session'] as Socket | undefined
          const socket = known ?? dgram.createSocket('udp4')
          state['session'] = socket
          const reply = once(socket, 'message', { signal: AbortSignal.timeout(2000) })
          socket.send('q', 53, '10.96.0.59')
          return String((await reply)[0]).split(' ')[0]
        }, undefined)
      t.equal(await query(), 'pod-1')
      t.equal(await query(), 'pod-1')
      cluster.write([moving, slice('moving', endpoints(false), port)], 'moving.json')
      await proxy.until('pod-2 serves', ({ services }) =>
        services.some(
          ({ name, endpoints }) => name === 'test/moving' && endpoints[1]?.inUse === true,
        ),
      )
      t.equal(await query(), 'pod-2')
    })
  })
}
