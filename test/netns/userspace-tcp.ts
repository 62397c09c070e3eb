/** TCP Services end to end: real clients, a real node and real pods in network namespaces. */
import t from 'tap'
import type { Agent } from '../fixtures/agent.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

/** Serves `name` and the address that it saw, one line a connection, then closes. */
function serveName(agent: Agent, name: string, host = '0.0.0.0', port = 8080): Promise<void> {
  return agent.run(
    async ({ net, once, state }, args) => {
      const server = net.createServer((socket) => {
        socket.on('error', () => undefined)
        socket.end(`${args.name} ${socket.remoteAddress}\n`)
      })
      server.listen({ host: args.host, port: args.port, backlog: 4096 })
      await once(server, 'listening')
      state[`server${args.port}`] = server
    },
    { name, host, port },
  )
}

interface Outcome {
  readonly counts: Record<string, number>
  readonly failures: string[]
}

/** Makes connections, some at a time, and counts the answers. */
function requestMany(
  agent: Agent,
  target: { host: string; port: number; count: number; concurrency: number },
): Promise<Outcome> {
  return agent.run(async ({ net }, { host, port, count, concurrency }) => {
    const counts: Record<string, number> = {}
    const failures: string[] = []
    let left = count
    const one = () =>
      new Promise<void>((resolve) => {
        const socket = net.connect({ host, port })
        let text = ''
        socket.setTimeout(10_000, () => socket.destroy(new Error('time-out')))
        socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
        socket.on('error', (error: Error) => failures.push(error.message))
        socket.on('close', () => {
          if (text === '') failures.push('empty')
          else counts[text.trim()] = (counts[text.trim()] ?? 0) + 1
          resolve()
        })
      })
    const worker = async () => {
      while (left-- > 0) await one()
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    return { counts, failures }
  }, target)
}

/** What a client sees of one connect: 'connected', an errno name, or 'time-out' after 1.5 s. */
function connectOutcome(agent: Agent, host: string, port: number): Promise<string> {
  return agent.run(
    async ({ net }, target) =>
      new Promise<string>((resolve) => {
        const socket = net.connect(target)
        const timer = setTimeout(() => {
          socket.destroy()
          resolve('time-out')
        }, 1500)
        const settle = (outcome: string) => {
          clearTimeout(timer)
          socket.destroy()
          resolve(outcome)
        }
        socket.on('connect', () => {
          settle('connected')
        })
        socket.on('error', (error: NodeJS.ErrnoException) => {
          settle(error.code ?? 'error')
        })
      }),
    { host, port },
  )
}

const byName = (counts: Record<string, number>) => {
  const names: Record<string, number> = {}
  for (const [line, count] of Object.entries(counts)) {
    const name = line.split(' ')[0] ?? ''
    names[name] = (names[name] ?? 0) + count
  }
  return names
}
const spread = (counts: Record<string, number>) =>
  Math.max(...Object.values(counts)) - Math.min(...Object.values(counts))

const WAYS = [
  { capture: 'anyip', relay: 'splice' },
  { capture: 'tproxy', relay: 'splice' },
  { capture: 'redirect', relay: 'splice' },
  // Where Node's sockets and the native thread differ most: a foreign source, the destination before nat.
  { capture: 'tproxy', relay: 'node' },
  { capture: 'redirect', relay: 'node' },
] as const

for (const { capture, relay } of WAYS) {
  t.test(`userspace by ${capture}, ${relay}`, { skip: rootOnly }, async (t) => {
    const cluster = await startCluster(3)
    t.teardown(() => cluster.close())
    const { client, node, pods } = cluster
    await Promise.all(pods.map((pod, i) => serveName(pod, `pod-${i + 1}`)))
    await Promise.all(pods.map((pod, i) => serveName(pod, `pod-${i + 1}`, '::', 8086)))
    await serveName(node, 'host-1', '0.0.0.0', 8099)
    const endpoints = [1, 2, 3].map((pod) => cluster.podIp(pod))
    cluster.write([
      service('web', { clusterIP: '10.96.0.10', externalIPs: ['192.0.2.10'] }),
      slice('web', endpoints),
      service('web6', {
        clusterIP: 'fd00:96::10',
        ipFamilies: ['IPv6'],
        clusterIPs: ['fd00:96::10'],
      }),
      slice(
        'web6',
        [1, 2, 3].map((pod) => cluster.podIp(pod, 6)),
        { port: 8086, protocol: 'TCP' },
      ),
      service('empty', { clusterIP: '10.96.0.11' }),
      service('elsewhere', { clusterIP: '10.96.0.12', internalTrafficPolicy: 'Local' }),
      slice('elsewhere', [{ addresses: [endpoints[0]], nodeName: 'node-b' }]),
      service('nodeport', {
        type: 'NodePort',
        clusterIP: '10.96.0.13',
        ports: [{ port: 80, nodePort: 30080, protocol: 'TCP' }],
      }),
      slice('nodeport', endpoints),
      service(
        'limited',
        {
          type: 'LoadBalancer',
          clusterIP: '10.96.0.14',
          loadBalancerSourceRanges: ['10.244.1.0/24'],
        },
        { status: { loadBalancer: { ingress: [{ ip: '192.0.2.20' }] } } },
      ),
      slice('limited', endpoints),
      service('sticky', { clusterIP: '10.96.0.15', sessionAffinity: 'ClientIP' }),
      slice('sticky', endpoints),
      service('half-dead', { clusterIP: '10.96.0.16' }),
      slice('half-dead', [endpoints[0]!, '10.244.2.99', endpoints[2]!]),
      service('host-network', { clusterIP: '10.96.0.18' }),
      slice('host-network', ['10.0.1.1'], { port: 8099, protocol: 'TCP' }),
      service('dead', { clusterIP: '10.96.0.17' }),
      slice('dead', endpoints, { port: 9, protocol: 'TCP' }),
    ])
    const proxy = await cluster.startProxy(
      ...['--userspace-capture', capture, '--userspace-relay', relay],
    )
    t.teardown(() => proxy.stop('SIGKILL'))

    // The native thread has picks ahead: those that the main thread makes meanwhile come out of turn.
    const outOfTurn = relay === 'node' ? 0 : 2
    await t.test('10,000 connections over three endpoints take turns', async (t) => {
      const target = { host: '10.96.0.10', port: 80, count: 10_000, concurrency: 32 }
      const { counts, failures } = await requestMany(client, target)
      t.strictSame(failures, [])
      t.ok(spread(byName(counts)) <= 1 + outOfTurn, JSON.stringify(counts))
      t.equal(
        Object.values(counts).reduce((sum, n) => sum + n),
        10_000,
      )
    })

    await t.test('the endpoint sees the client under tproxy, the node otherwise', async (t) => {
      const target = { host: '10.96.0.10', port: 80, count: 3, concurrency: 1 }
      // A pod of this node: inside the cluster CIDR, so nothing is masqueraded.
      const { counts, failures } = await requestMany(pods[0]!, target)
      t.strictSame(failures, [])
      const seen = Object.keys(counts).map((line) => line.split(' '))
      for (const [name, address] of seen) {
        const pod = Number(name?.slice(-1))
        // A pod that reaches itself is masqueraded (hairpin), whatever the capture.
        const expected = capture === 'tproxy' && pod !== 1 ? '10.244.1.2' : `10.244.${pod}.1`
        t.equal(address, expected, `address seen by ${name ?? '?'}`)
      }
      t.equal(seen.length, 3)
    })

    await t.test('IPv6', async (t) => {
      const target = { host: 'fd00:96::10', port: 80, count: 30, concurrency: 4 }
      const { counts, failures } = await requestMany(client, target)
      t.strictSame(failures, [])
      t.ok(spread(byName(counts)) <= outOfTurn, JSON.stringify(counts))
    })

    await t.test('external IP, node port on each node address, and the node itself', async (t) => {
      for (const [agent, host, port] of [
        [client, '192.0.2.10', 80],
        [client, '10.0.1.1', 30080],
        [client, '10.244.1.1', 30080],
        [node, '10.96.0.10', 80],
        [node, '127.0.0.1', 30080],
        [pods[0]!, '10.96.0.10', 80],
      ] as const) {
        const { counts, failures } = await requestMany(agent, {
          host,
          port,
          count: 6,
          concurrency: 2,
        })
        t.strictSame(failures, [], `${host}:${port}`)
        t.equal(
          Object.values(byName(counts)).reduce((sum, n) => sum + n),
          6,
          `${host}:${port}`,
        )
      }
    })

    await t.test('no endpoints: refused at once; Local without local ones: dropped', async (t) => {
      t.equal(await connectOutcome(client, '10.96.0.11', 80), 'ECONNREFUSED')
      t.equal(await connectOutcome(node, '10.96.0.11', 80), 'ECONNREFUSED')
      t.equal(await connectOutcome(client, '10.96.0.12', 80), 'time-out')
    })

    await t.test('source ranges: others are dropped, at the load-balancer IP only', async (t) => {
      t.equal(await connectOutcome(client, '192.0.2.20', 80), 'time-out')
      t.equal(await connectOutcome(pods[0]!, '192.0.2.20', 80), 'connected')
      t.equal(await connectOutcome(client, '10.96.0.14', 80), 'connected')
    })

    await t.test('an endpoint in the host network of this node is reached by pods', async (t) => {
      const target = { host: '10.96.0.18', port: 80, count: 3, concurrency: 1 }
      for (const agent of [pods[0]!, client, node]) {
        const { counts, failures } = await requestMany(agent, target)
        t.strictSame(failures, [])
        t.strictSame(byName(counts), { 'host-1': 3 })
      }
    })

    await t.test('session affinity keeps a client on one endpoint', async (t) => {
      const target = { host: '10.96.0.15', port: 80, count: 20, concurrency: 4 }
      await requestMany(client, { ...target, count: 1, concurrency: 1 })
      const { counts, failures } = await requestMany(client, target)
      t.strictSame(failures, [])
      t.equal(Object.keys(counts).length, 1, JSON.stringify(counts))
    })

    await t.test(
      'an endpoint that does not answer costs the client nothing but time',
      async (t) => {
        const target = { host: '10.96.0.16', port: 80, count: 9, concurrency: 9 }
        const { counts, failures } = await requestMany(client, target)
        t.strictSame(failures, [])
        t.strictSame(Object.keys(byName(counts)).sort(), ['pod-1', 'pod-3'])
        const { services } = await proxy.status()
        t.ok(services.find(({ name }) => name === 'test/half-dead')!.retries >= 3)
      },
    )

    await t.test('when every endpoint refuses, the client sees a reset', async (t) => {
      const target = { host: '10.96.0.17', port: 80, count: 1, concurrency: 1 }
      const { failures } = await requestMany(client, target)
      t.match(failures[0], /ECONNRESET/)
    })

    await t.test('SIGINT leaves nothing behind', async (t) => {
      t.equal(await proxy.stop('SIGINT'), 0, proxy.log())
      t.equal(await cluster.onNode('ip', 'route', 'show', 'table', 'local', 'proto', '75'), '')
      t.notMatch(await cluster.onNode('ip', 'rule'), /1075/)
      t.notMatch(await cluster.onNode('iptables-save'), /SLUICE/)
      t.notMatch(await cluster.onNode('ip6tables-save'), /SLUICE/)
      t.notMatch(await cluster.onNode('ipset', 'list', '-n'), /SLUICE/)
    })
  })
}
