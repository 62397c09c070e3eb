/**
 * A table that somebody flushes is noticed by its canary chain, and written again, in both variants
 * of iptables, for each table alone and several times in a row. How soon is a comment: within a second.
 */
import t from 'tap'

import { reach, serve } from '../fixtures/reach.js'
import {
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'
import { missingTools, toolsFolder } from '../packet-suite/iptables-tools.js'

const DEADLINE_MS = 30_000
const TABLES = ['nat', 'filter', 'mangle'] as const
const FLUSHES = ['nat', 'filter', 'mangle', 'nat', 'nat'] as const

for (const variant of ['nft', 'legacy'] as const) {
  const skip = rootOnly || missingTools(variant)
  t.test(`iptables-${variant}`, { skip, timeout: 170_000 }, async (t) => {
    const cluster = await startCluster(1)
    t.teardown(() => cluster.close())
    await serve(cluster.pods[0]!, 'pod-1', cluster.podIp(1), 8080)
    cluster.write([
      service('web', { clusterIP: '10.96.0.10' }),
      slice('web', [cluster.podIp(1)]),
      service('none', { clusterIP: '10.96.0.11' }),
    ])
    const tools = toolsFolder(variant)
    t.teardown(() => {
      tools.remove()
    })
    const flags = ['--cluster-cidr', '10.244.0.0/16', '--proxy-mode', 'iptables']
    const proxy = await cluster.startPlainProxy(flags, [tools.path])
    t.teardown(() => proxy.stop('SIGKILL'))
    const whole = await rulesOf(cluster, variant)
    for (const [index, table] of FLUSHES.entries()) {
      await t.test(`flush ${index + 1}: ${table}`, async (t) => {
        await cluster.onNode(`iptables-${variant}`, '-t', table, '-F')
        const flushedMs = Date.now()
        const isBack = async () => (await rulesOf(cluster, variant)).join() === whole.join()
        while (!(await isBack()) && Date.now() < flushedMs + DEADLINE_MS) {
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
        t.comment(`${Date.now() - flushedMs} ms`)
        t.same(await rulesOf(cluster, variant), whole, 'all rules are back')
        t.equal(await reach(cluster.client, { host: '10.96.0.10' }), 'pod-1 10.244.1.1')
        t.equal(await reach(cluster.client, { host: '10.96.0.11' }), 'ECONNREFUSED')
      })
    }
    t.match(proxy.log(), /IPv4: somebody has flushed iptables rules/, 'it is told')
  })
}

/** Without counters; the jumps of a table that was flushed are in the order of before. */
async function rulesOf(cluster: TestCluster, variant: string): Promise<string[]> {
  const lists = TABLES.map((table) => `iptables-${variant} -t ${table} -S`)
  const text = await cluster.onNode('sh', '-c', lists.join(';'))
  return text.split('\n').sort()
}
