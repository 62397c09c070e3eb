/** What `explain` says against where connections really go, in modes of each kind. */
import { fileURLToPath } from 'node:url'
import type { Server, Socket } from 'node:net'
import t, { type Test } from 'tap'
import type { TrackedConnection } from '../../src/kernel/find-connections.js'
import type { Candidate } from '../../src/observe/explain/candidates.js'
import type { Explanation } from '../../src/observe/explain/explain.js'
import type { Agent } from '../fixtures/agent.js'
import {
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const CLIENT = '10.0.1.2'
const PORT = { port: 8080, protocol: 'TCP' }

const annotated = (object: object, annotations: Record<string, string>): object => {
  const { metadata } = object as { metadata: object }
  return { ...object, metadata: { ...metadata, annotations } }
}
const balanced = (name: string, last: number, balancer: string, spec: object = {}): object =>
  annotated(service(name, { clusterIP: `10.96.0.${last}`, ...spec }), {
    'kube-sluice.io/balancer': balancer,
  })

/** Says its address to whoever connects, and keeps the connection. */
function serveAddress(agent: Agent, host: string): Promise<void> {
  return agent.run(async ({ net, once, state }, at) => {
    const server = (state['server'] = net.createServer((socket) => {
      socket.on('error', () => undefined)
      socket.write(at)
    }))
    server.listen(8080, at)
    await once(server, 'listening')
  }, host)
}

/** Connects and holds; which endpoint it was, and from which port. */
function connect(
  agent: Agent,
  host: string,
): Promise<{ readonly endpoint: string; readonly port: number }> {
  return agent.run(async ({ net, once, state }, to) => {
    const socket = net.connect({ host: to, port: 80 })
    const held = (state['explained'] ??= []) as Socket[]
    held.push(socket)
    const [name] = (await once(socket, 'data')) as [Buffer]
    return { endpoint: `${String(name)}:8080`, port: socket.localPort ?? 0 }
  }, host)
}

type Answer = Explanation & { readonly tracked?: readonly TrackedConnection[] }

async function explained(cluster: TestCluster, from: string, vip: string, ...flags: string[]) {
  const words = ['explain', 'tcp', from, `${vip}:80`, '-o', 'json', ...flags]
  const text = await cluster.onNode(process.execPath, MAIN, ...words)
  if (!text.startsWith('{')) throw new Error(text)
  return JSON.parse(text) as Answer
}

/** The endpoint of this very connection, by the table of connections or the relay. */
async function follows(t: Test, cluster: TestCluster, vip: string): Promise<void> {
  const { endpoint, port } = await connect(cluster.client, vip)
  const { tracked, relayed } = await explained(cluster, `${CLIENT}:${port}`, vip, '--packet')
  if (relayed !== undefined) {
    t.same(relayed, [{ clientPort: port, endpoint }])
    return
  }
  t.equal(tracked?.length, 1)
  const [entry] = tracked!
  t.equal(`${entry?.server}:${entry?.serverPort}`, endpoint)
  t.match(entry, { clientPort: port, state: 'ESTABLISHED', hasReply: true, isAssured: true })
}

for (const [mode, decides] of [
  ['nfqueue', true],
  ['userspace', true],
  ['iptables', false],
] as const) {
  t.test(`explain in ${mode} mode`, { skip: rootOnly, timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(3)
    t.teardown(() => cluster.close())
    const ips = [1, 2, 3].map((pod) => cluster.podIp(pod))
    for (const [index, pod] of cluster.pods.entries()) await serveAddress(pod, ips[index]!)
    const sticky = { sessionAffinity: 'ClientIP' }
    cluster.write([
      balanced('turn', 10, 'round-robin'),
      annotated(slice('turn', ips, PORT), {
        'kube-sluice.io/weights': JSON.stringify({ [ips[0]!]: 2 }),
      }),
      balanced('hash', 20, 'source-hash'),
      slice('hash', ips, PORT),
      balanced('maglev', 30, 'maglev'),
      slice('maglev', ips, PORT),
      balanced('sticky', 40, 'round-robin', sticky),
      slice('sticky', ips, PORT),
    ])
    const proxy = await cluster.startProxy('--proxy-mode', mode)
    t.teardown(() => proxy.stop('SIGKILL'))

    await t.test('a share of each, by weight only where it counts', async (t) => {
      const { candidates, mode: said } = await explained(cluster, CLIENT, '10.96.0.10')
      t.equal(said, mode)
      const shares = candidates.map(({ sharePercent }) => sharePercent)
      t.same(shares, decides ? [33, 33, 33] : [50, 25, 25])
      if (!decides) return
      const counts = new Map<string, number>()
      for (let i = 0; i < 6; i++) {
        const { endpoint } = await connect(cluster.client, '10.96.0.10')
        counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1)
      }
      t.same([...counts.values()], [2, 2, 2])
    })

    await t.test('the pick of a hash is where the next connection goes', async (t) => {
      const { pick, candidates } = await explained(cluster, CLIENT, '10.96.0.20')
      const { endpoint } = await connect(cluster.client, '10.96.0.20')
      if (decides) t.equal(endpoint, pick)
      else t.equal(pick, undefined)
      t.ok(candidates.some(({ address }) => address === endpoint))
      const without = await explained(cluster, CLIENT, '10.96.0.30')
      t.equal(without.pick, undefined, 'maglev goes by the port as well')
      for (let i = 0; i < 3; i++) {
        const made = await connect(cluster.client, '10.96.0.30')
        const after = await explained(cluster, `${CLIENT}:${made.port}`, '10.96.0.30')
        if (decides) t.equal(after.pick, made.endpoint)
      }
    })

    await t.test('a pin is shown, and holds', async (t) => {
      t.equal((await explained(cluster, CLIENT, '10.96.0.40')).pinned, undefined)
      const { endpoint } = await connect(cluster.client, '10.96.0.40')
      const { pinned } = await explained(cluster, CLIENT, '10.96.0.40')
      t.equal((await connect(cluster.client, '10.96.0.40')).endpoint, endpoint)
      if (!decides) return
      t.equal(pinned?.address, endpoint)
      const leftSeconds = (Date.parse(pinned!.until) - Date.now()) / 1000
      t.ok(leftSeconds > 10_000 && leftSeconds <= 10_800, `${leftSeconds} s`)
    })

    await t.test('--packet: the endpoint of a connection that is open', async (t) => {
      await follows(t, cluster, '10.96.0.10')
      const words = ['explain', 'tcp', CLIENT, '10.96.0.10:80', '--packet']
      const text = await cluster.onNode(process.execPath, MAIN, ...words)
      t.match(text, /\nOpen from 10\.0\.1\.2 to 10\.96\.0\.10:80, as the (kernel|relay) has it/)
      if (mode === 'nfqueue')
        t.match(text, /ESTABLISHED, answered, assured, .*\(steered, slot \d+\)/)
    })

    // Rule modes eject nobody.
    if (!decides) return
    await t.test('until when an endpoint is ejected', async (t) => {
      await cluster.pods[2]!.run(async ({ state }) => {
        const server = state['server'] as Server
        server.close()
      }, undefined)
      const gone = `${ips[2]!}:8080`
      const deadline = Date.now() + 20_000
      let found: Candidate | undefined
      while (found?.ejectedUntil === undefined && Date.now() < deadline) {
        await Promise.all([1, 2, 3].map(() => connect(cluster.client, '10.96.0.10')))
        const { candidates } = await explained(cluster, CLIENT, '10.96.0.10')
        found = candidates.find(({ address }) => address === gone)
      }
      t.match(found, { sharePercent: 0, ejectedSince: String, ejectedUntil: String })
      t.ok(Date.parse(found!.ejectedUntil!) >= Date.parse(found!.ejectedSince!))
    })
  })
}
