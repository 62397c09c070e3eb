/** The nfqueue mode where the optional package raw-socket could not be installed. */
import { join } from 'node:path'
import { writeFileSync } from 'node:fs'
import t from 'tap'

import type { Agent } from '../fixtures/agent.js'
import { serve } from '../fixtures/reach.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname
const PORT = { port: 8080, protocol: 'TCP' }
/** Node looks for the package in vain. */
const HIDDEN = `
const Module = require('node:module')
const load = Module._load
Module._load = (request, ...rest) => {
  if (request !== 'raw-socket') return load(request, ...rest)
  throw Object.assign(new Error("Cannot find module 'raw-socket'"), { code: 'MODULE_NOT_FOUND' })
}
`

/** What became of each connect: `ok`, or the code of its error. */
function connects(agent: Agent, target: { host: string; count: number }): Promise<string[]> {
  return agent.run(async ({ net }, { host, count }) => {
    const results: string[] = []
    for (let i = 0; i < count; i++) {
      await new Promise<void>((resolve) => {
        const socket = net.connect({ host, port: 80 })
        socket.setTimeout(20_000, () => socket.destroy(new Error('time-out')))
        socket.on('connect', () => {
          results.push('ok')
          socket.destroy()
        })
        socket.on('error', (error: NodeJS.ErrnoException) =>
          results.push(error.code ?? error.message),
        )
        socket.on('close', () => {
          resolve()
        })
      })
    }
    return results
  }, target)
}

t.test('without raw-socket', { skip: rootOnly, timeout: 170_000 }, async (t) => {
  const cluster = await startCluster(3)
  t.teardown(() => cluster.close())
  const { client, pods, namespaces } = cluster
  const [one, two, three] = [1, 2, 3].map((pod) => cluster.podIp(pod)) as [string, string, string]
  await serve(pods[0]!, 'pod-1', one, 8080)
  await serve(pods[0]!, 'pod-1', one, 8081)
  await serve(pods[1]!, 'pod-2', two, 8081)
  const silent = namespaces.names.find((name) => name.endsWith('-pod-2'))!
  const drop = 'iptables -A INPUT -p tcp --dport 8081 --syn -j DROP'
  await cluster.inNamespace(silent, 'sh', '-c', drop)
  cluster.write([
    service('refused', { clusterIP: '10.96.0.10' }),
    slice('refused', [one, three], PORT),
    service('silent', { clusterIP: '10.96.0.11' }),
    slice('silent', [one, two], { port: 8081, protocol: 'TCP' }),
  ])
  const hidden = join(t.testdir(), 'hidden.cjs')
  writeFileSync(hidden, HIDDEN)
  const flags = ['--cluster-cidr', '10.244.0.0/16', '--proxy-mode', 'nfqueue']
  const proxy = await cluster.startPlainProxy(flags, [], `--require ${hidden}`)
  t.teardown(() => proxy.stop('SIGKILL'))
  const totals = async () => (await proxy.status()).steering as unknown as Record<string, number>

  await t.test('it says so, and what to type', async (t) => {
    t.match(proxy.log(), /raw-socket is not installed: .*; type: npm install raw-socket/)
    const variable = `NODE_OPTIONS=--require ${hidden}`
    const said = await cluster.onNode('env', variable, process.execPath, MAIN, 'check')
    t.match(said, /no +raw sockets/)
  })

  await t.test('a refusal is seen, and its endpoint is passed over from then on', async (t) => {
    const results = await connects(client, { host: '10.96.0.10', count: 30 })
    const refused = results.filter((result) => result === 'ECONNREFUSED')
    t.same(
      results.filter((result) => result !== 'ok'),
      refused,
    )
    t.ok(refused.length > 0, 'the first one')
    t.ok(refused.length < 10, `${refused.length} of 30, half of them without steering`)
    const { refusals, retries } = await totals()
    t.equal(refusals, refused.length)
    t.equal(retries, 0)
  })

  await t.test('a silent endpoint: the third SYN of the client gets another one', async (t) => {
    const results = await connects(client, { host: '10.96.0.11', count: 6 })
    t.same(results, Array(6).fill('ok'))
    const { unansweredSyns, retries, sendFailures } = await totals()
    t.ok((unansweredSyns ?? 0) > 0)
    t.ok((retries ?? 0) > 0)
    t.equal(sendFailures, 0)
    t.notMatch(proxy.log(), /could not be sent again/)
  })
})
