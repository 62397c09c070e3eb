/** An endpoint that goes down with connections that nobody says anything on: kept or reset, as its Service says. */
import type { Socket } from 'node:net'
import t from 'tap'
import type { Agent } from '../fixtures/agent.js'
import { serveHttp, setFailing } from '../fixtures/constant-load.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const check = {
  'kube-sluice.io/health-check': 'http',
  'kube-sluice.io/health-check-port': '8080',
  'kube-sluice.io/health-check-interval': '300ms',
}
const ECHO = 8090
const PORT = { port: ECHO, protocol: 'TCP' }
/** `on-down` of each Service, and how it is reached. */
const SERVICES = [
  { name: 'reset', onDown: 'reset', vip: '10.96.0.10', family: 4, ends: true },
  { name: 'reset6', onDown: 'reset', vip: 'fd00:96::10', family: 6, ends: true },
  { name: 'keep', onDown: 'keep', vip: '10.96.0.11', family: 4, ends: false },
] as const
const COUNT = 8

/** Echoes on the port, and keeps what it has accepted. */
function serveEcho(agent: Agent): Promise<void> {
  return agent.run(async ({ net, once, state }, port) => {
    const open = new Set<Socket>()
    state['open'] = open
    const server = net.createServer((socket) => {
      open.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => open.delete(socket))
      socket.pipe(socket)
    })
    server.listen({ host: '::', port })
    await once(server, 'listening')
  }, ECHO)
}

const openAt = (agent: Agent): Promise<number> =>
  agent.run(({ state }) => (state['open'] as Set<Socket>).size, undefined)

/** Opens connections that say a word each, and then nothing; what ends them is noted. */
function hold(agent: Agent, host: string, count: number): Promise<void> {
  return agent.run(
    async ({ net, once, state }, args) => {
      const ended: string[] = []
      state[`ended ${args.host}`] = ended
      for (let i = 0; i < args.count; i++) {
        const socket = net.connect({ host: args.host, port: 80 })
        socket.on('error', ({ message }) => ended.push(message))
        socket.write('hello')
        await once(socket, 'data')
      }
    },
    { host, count },
  )
}

const endedAt = (agent: Agent, host: string): Promise<string[]> =>
  agent.run(({ state }, host) => state[`ended ${host}`] as string[], host)

async function eventually(holds: () => Promise<boolean>): Promise<boolean> {
  const endMs = Date.now() + 20_000
  while (Date.now() < endMs) {
    if (await holds()) return true
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return false
}

for (const mode of ['userspace', 'nfqueue']) {
  t.test(
    `what becomes of connections, ${mode} mode`,
    { skip: rootOnly, timeout: 90_000 },
    async (t) => {
      const cluster = await startCluster(2)
      t.teardown(() => cluster.close())
      const { client, node, pods } = cluster
      const [one, two] = pods as [Agent, Agent]
      for (const [index, pod] of pods.entries()) {
        await serveHttp(pod, `pod-${index + 1}`, 8080)
        await serveEcho(pod)
      }
      cluster.write(
        SERVICES.flatMap(({ name, onDown, vip, family }) => {
          const annotations = { ...check, 'kube-sluice.io/health-check-on-down': onDown }
          const metadata = { name, namespace: 'test', annotations }
          const ipFamilies = [`IPv${family}`]
          const ips = [1, 2].map((pod) => cluster.podIp(pod, family))
          return [
            service(name, { clusterIP: vip, ipFamilies }, { metadata }),
            slice(name, ips, PORT),
          ]
        }),
      )
      const proxy = await cluster.startProxy('--proxy-mode', mode)
      t.teardown(() => proxy.stop('SIGKILL'))
      await proxy.until('all are checked', ({ services }) =>
        services.every(({ endpoints }) => endpoints.every(({ health }) => health?.trend === 'up')),
      )
      for (const { vip } of SERVICES) await hold(client, vip, COUNT)
      // Of the node itself: masqueraded, and through OUTPUT.
      await hold(node, SERVICES[0].vip, COUNT)
      const before = [await openAt(one), await openAt(two)]
      t.same(before, [COUNT * 2, COUNT * 2], 'half of each at either pod')

      await setFailing(one, true)
      await proxy.until('pod 1 is out', ({ services }) =>
        services.every(({ endpoints }) => endpoints.filter(({ inUse }) => inUse).length === 1),
      )
      for (const agent of [client, node]) {
        for (const { vip, name, ends } of SERVICES) {
          if (agent === node && name !== 'reset') continue
          const wanted = ends ? COUNT / 2 : 0
          const isSo = await eventually(async () => (await endedAt(agent, vip)).length >= wanted)
          t.ok(isSo, `${name}: the clients see it`)
          t.same(new Set(await endedAt(agent, vip)), new Set(ends ? ['read ECONNRESET'] : []), name)
          t.equal((await endedAt(agent, vip)).length, wanted, `${name}: and no others`)
        }
      }
      const kept = COUNT / 2
      t.ok(await eventually(async () => (await openAt(one)) === kept), 'so does the endpoint')
      t.equal(await openAt(one), kept)
      t.equal(await openAt(two), COUNT * 2)
    },
  )
}
