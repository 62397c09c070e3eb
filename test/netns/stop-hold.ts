/** What a stop of the userspace mode by SIGTERM leaves, for how long, and who ends it. */
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'

import { untilMetrics } from '../fixtures/metrics.js'
import { reach, serve } from '../fixtures/reach.js'
import {
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const NODE_PORT = 30_080
const WAIT_MS = 20_000

async function oneService(t: Test): Promise<TestCluster> {
  const cluster = await startCluster(1)
  t.teardown(() => cluster.close())
  for (const family of [4, 6] as const) {
    await serve(cluster.pods[0]!, 'pod-1', cluster.podIp(1, family), 8080)
  }
  const ports = (protocol: string, nodePort: number) => [{ port: 80, protocol, nodePort }]
  cluster.write([
    service('web', {
      ...{ clusterIP: '10.96.0.10', type: 'NodePort', ports: ports('TCP', NODE_PORT) },
    }),
    slice('web', [cluster.podIp(1)]),
    service('dns', {
      ...{ clusterIP: '10.96.0.11', type: 'NodePort', ports: ports('UDP', NODE_PORT) },
    }),
    slice('dns', [cluster.podIp(1)], { port: 8080, protocol: 'UDP' }),
    service('six', { clusterIP: 'fd00:96::10', ipFamilies: ['IPv6'] }),
    slice('six', [cluster.podIp(1, 6)]),
  ])
  return cluster
}

/** What a client sees of a connect: `connected`, an errno name, or `silence` after a second. */
function connect({ client }: TestCluster, host: string): Promise<string> {
  return client.run(
    async ({ net, once }, target) => {
      const socket = net.connect(target)
      try {
        await once(socket, 'connect', { signal: AbortSignal.timeout(1000) })
        return 'connected'
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'ABORT_ERR'
          ? 'silence'
          : String((error as NodeJS.ErrnoException).code)
      } finally {
        socket.destroy()
      }
    },
    { host, port: NODE_PORT },
  )
}

/** The same of a datagram. */
function ask({ client }: TestCluster): Promise<string> {
  return client.run(async ({ dgram, once }, port) => {
    const socket = dgram.createSocket('udp4')
    socket.connect(port, '10.0.1.1')
    await once(socket, 'connect')
    socket.send('?')
    try {
      await once(socket, 'message', { signal: AbortSignal.timeout(1000) })
      return 'answered'
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      return code === 'ABORT_ERR' ? 'silence' : String(code)
    } finally {
      socket.close()
    }
  }, NODE_PORT)
}

const OF_US = /SLUICE|kube-sluice/
const left = (cluster: TestCluster) =>
  cluster.onNode(
    'sh',
    '-c',
    'iptables-save; ip6tables-save; ipset list; ip route show table local proto 75',
  )

for (const capture of ['anyip', 'redirect']) {
  t.test(capture, { skip: rootOnly, timeout: 170_000 }, async (t) => {
    const cluster = await oneService(t)
    const flags = ['--proxy-mode', 'userspace', '--userspace-capture', capture]
    const start = async (...more: string[]) => {
      const proxy = await cluster.startProxy(...flags, ...more)
      t.teardown(() => proxy.stop('SIGKILL'))
      return proxy
    }

    t.comment('until the next process')
    const first = await start()
    t.match(await reach(cluster.client, { host: '10.0.1.1', port: NODE_PORT }), /^pod-1/)
    t.equal(await ask(cluster), 'answered')
    t.equal(await first.stop(), 0)
    t.equal(await connect(cluster, '10.0.1.1'), 'silence')
    t.equal(await ask(cluster), 'silence')
    t.match(await cluster.onNode('ipset', 'list'), /KUBE-SLUICE-HOLD-6/)
    const nfqueue = await cluster.startProxy('--proxy-mode', 'nfqueue')
    t.teardown(() => nfqueue.stop('SIGKILL'))
    await untilMetrics(
      cluster,
      'a sync',
      (read) => read('kube_sluice_syncs_total{result="success"}')! > 0,
    )
    t.notMatch(await left(cluster), /HOLD/, 'of any mode')
    t.match(await reach(cluster.client, { host: '10.0.1.1', port: NODE_PORT }), /^pod-1/)
    await nfqueue.stop()
    await cluster.onNode(process.execPath, MAIN, 'cleanup')

    t.comment('for a bounded time')
    const second = await start('--stop-hold', '1s')
    await second.stop()
    const deadline = Date.now() + WAIT_MS
    let seen = ''
    while (seen !== 'ECONNREFUSED' && Date.now() < deadline)
      seen = await connect(cluster, '10.0.1.1')
    t.equal(seen, 'ECONNREFUSED')
    t.match(
      await cluster.onNode(process.execPath, MAIN, 'cleanup'),
      /chain mangle\/KUBE-SLUICE-HOLD\n/,
    )
    t.notMatch(await left(cluster), OF_US)

    t.comment('not for somebody who ends it by hand')
    const third = await start()
    t.equal(await third.stop('SIGINT'), 0)
    t.notMatch(await left(cluster), OF_US)
    t.equal(await connect(cluster, '10.0.1.1'), 'ECONNREFUSED')
  })
}
