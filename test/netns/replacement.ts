/**
 * A DaemonSet's rolling update on one node, under constant load: the old process gets SIGTERM, and the
 * new one starts after it has ended, or while it still does. No connection fails, none is lost.
 */
import { once } from 'node:events'
import t, { type Test } from 'tap'

import { serveHttp, startLoad, stopLoad } from '../fixtures/constant-load.js'
import { type Proxy, rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const WEB = '10.96.0.10'
const SLOW = '10.96.0.11'
const NODE_PORT = 30_080
/** New connections a second of each kind. */
const RATE = 40
/** Bytes of the slow answers, one each 20 ms. */
const SLOW_BYTES = 150

const ORDERS = {
  'the old one ends, then the new one starts': async (old: Proxy, start: () => Promise<Proxy>) => {
    await old.stop()
    return start()
  },
  'the new one starts while the old one ends': async (old: Proxy, start: () => Promise<Proxy>) => {
    const exited = once(old.child, 'exit')
    old.child.kill('SIGTERM')
    const next = await start()
    await exited
    return next
  },
}

async function replace(t: Test, order: keyof typeof ORDERS, flags: readonly string[]) {
  const cluster = await startCluster(2)
  t.teardown(() => cluster.close())
  const ips = [1, 2].map((pod) => cluster.podIp(pod))
  for (const [index, pod] of cluster.pods.entries()) {
    await serveHttp(pod, `pod-${index + 1}`, 8080)
    await pod.run(async ({ net, once }, bytes) => {
      const server = net.createServer((socket) => {
        socket.on('error', () => undefined)
        let left = bytes
        const timer = setInterval(() => {
          if (left-- > 0) socket.write('x')
          else socket.end()
        }, 20)
        socket.on('close', () => {
          clearInterval(timer)
        })
      })
      server.listen(8090, '::')
      await once(server, 'listening')
    }, SLOW_BYTES)
  }
  cluster.write([
    service('web', {
      ...{ clusterIP: WEB, type: 'NodePort' },
      ports: [{ port: 80, protocol: 'TCP', nodePort: NODE_PORT }],
    }),
    slice('web', ips),
    service('slow', { clusterIP: SLOW }),
    slice('slow', ips, { port: 8090, protocol: 'TCP' }),
  ])
  const start = async () => {
    const proxy = await cluster.startProxy(...flags)
    t.teardown(() => proxy.stop('SIGKILL'))
    return proxy
  }
  const old = await start()
  const loads = [
    { agent: cluster.client, host: WEB, port: 80, name: 'cluster IP' },
    { agent: cluster.client, host: '10.0.1.1', port: NODE_PORT, name: 'node port' },
    { agent: cluster.node, host: '10.0.1.1', port: NODE_PORT, name: 'node port from the node' },
  ]
  for (const { agent, ...load } of loads) {
    await startLoad(agent, { ...load, rate: RATE, timeoutMs: 15_000 })
  }
  const slow = cluster.client.run(
    async ({ net, once }, { host, count }) =>
      Promise.all(
        Array.from({ length: count }, async () => {
          const socket = net.connect({ host, port: 80 })
          let bytes = 0
          let error = ''
          socket.on('data', (chunk: Buffer) => (bytes += chunk.length))
          socket.on('error', ({ message }) => (error = message))
          await once(socket, 'close').catch(() => undefined)
          return `${bytes} bytes ${error}`
        }),
      ),
    { host: SLOW, count: 5 },
  )
  await new Promise((resolve) => setTimeout(resolve, 800))
  const next = await ORDERS[order](old, start)
  await new Promise((resolve) => setTimeout(resolve, 1500))
  t.same(await slow, Array<string>(5).fill(`${SLOW_BYTES} bytes `), 'what was open went on')
  for (const { agent, name } of loads) {
    const { requests, failures } = await stopLoad(agent, name)
    t.ok(requests > RATE, `${name}: ${requests} requests`)
    t.same(failures, [], `${name}: no connection has failed`)
  }
  t.equal(next.child.exitCode, null, 'the new one runs')
  t.equal(old.child.exitCode, 0)
}

const MODES = {
  iptables: ['--proxy-mode', 'iptables'],
  nfqueue: ['--proxy-mode', 'nfqueue'],
  nftables: ['--proxy-mode', 'nftables'],
  'userspace, tproxy': ['--proxy-mode', 'userspace', '--userspace-capture', 'tproxy'],
  'userspace, anyip': ['--proxy-mode', 'userspace', '--userspace-capture', 'anyip'],
  'userspace, redirect': ['--proxy-mode', 'userspace', '--userspace-capture', 'redirect'],
}

for (const [mode, flags] of Object.entries(MODES)) {
  for (const order of Object.keys(ORDERS) as (keyof typeof ORDERS)[]) {
    t.test(`${mode}: ${order}`, { skip: rootOnly, timeout: 100_000 }, (t) =>
      replace(t, order, flags),
    )
  }
}
