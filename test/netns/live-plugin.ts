/** A balancer plug-in whose file changes while the proxy runs, and --connect-patience likewise. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { serveHttp, startLoad, stopLoad } from '../fixtures/constant-load.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const HEAD = 'apiVersion: kube-sluice.io/v1alpha1\nkind: KubeSluiceConfiguration\n'
const VIP = '10.96.0.10'
const PORT = { port: 8080, protocol: 'TCP' }

/** Prefers the endpoint whose address begins so. */
const preferring = (prefix: string) => `export const name = 'prefers ${prefix}'
export function createBalancer() {
  let all = []
  return {
    setEndpoints(endpoints) { all = endpoints },
    pick(context, tried) {
      const left = all.filter((one) => !tried.some(({ id }) => id === one.id))
      return left.find(({ ip }) => ip.startsWith('${prefix}')) ?? left[0]
    },
  }
}
`

for (const mode of ['userspace', 'nfqueue']) {
  t.test(`what changes live, ${mode} mode`, { skip: rootOnly, timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(2)
    t.teardown(() => cluster.close())
    const { client, pods, namespaces } = cluster
    for (const [index, pod] of pods.entries()) await serveHttp(pod, `pod-${index + 1}`, 8080)
    const ips = [cluster.podIp(1), cluster.podIp(2)]
    cluster.write([service('web', { clusterIP: VIP }), slice('web', ips, PORT)])
    const folder = t.testdir()
    const [file, plugin] = [join(folder, 'config.yaml'), join(folder, 'mine.mjs')]
    const configure = (lines: string) => {
      const whole = `proxyMode: ${mode}\nbalancerPlugin: ${plugin}\nbalancerPluginLimit: 1s\n`
      writeFileSync(file, `${HEAD}${whole}connectTimeout: 30s\n${lines}`)
    }
    writeFileSync(plugin, preferring('10.244.1.'))
    configure('defaultBalancer: plugin\nconnectPatience: 0s\n')
    const proxy = await cluster.startProxy('--config', file)
    t.teardown(() => proxy.stop('SIGKILL'))
    const askedPods = async () => {
      await startLoad(client, { host: VIP, rate: 20 })
      await new Promise((resolve) => setTimeout(resolve, 300))
      return Object.keys((await stopLoad(client)).counts).join()
    }
    const logged = (text: RegExp) => proxy.until(String(text), () => text.test(proxy.log()))
    const becomes = async (pod: string) => {
      for (let i = 0; i < 50 && (await askedPods()) !== pod; i++) continue
      return askedPods()
    }

    await t.test('a changed plug-in takes over, a broken one does not', async (t) => {
      t.match(await askedPods(), /^pod-1$/)
      writeFileSync(plugin, preferring('10.244.2.'))
      await logged(/mine\.mjs has changed, and is in force/)
      t.match(await becomes('pod-2'), /^pod-2$/)
      writeFileSync(plugin, 'export const name = "none"\n')
      await logged(/createBalancer is missing; the one before stays in force/)
      writeFileSync(plugin, 'this is no module\n')
      await logged(/cannot be loaded: .*; the one before stays in force/)
      t.match(await askedPods(), /^pod-2$/)
      writeFileSync(plugin, preferring('10.244.1.'))
      t.match(await becomes('pod-1'), /^pod-1$/)
      t.match((await proxy.status()).balancerPlugin, { failures: 0, isOff: false })
    })

    await t.test('connect-patience counts at once', async (t) => {
      configure('defaultBalancer: round-robin\nconnectPatience: 200ms\n')
      await logged(/config\.yaml is in force/)
      // Patience is for endpoints that have answered since it counts: not in the tests above.
      const before = (await proxy.status()).services[0]!.endpoints
      await startLoad(client, { host: VIP, rate: 50, timeoutMs: 60_000 })
      await proxy.until('both have answered', ({ services }) =>
        services[0]!.endpoints.every(
          ({ totalConnections }, i) => totalConnections > before[i]!.totalConnections + 15,
        ),
      )
      const netns = namespaces.names.find((one) => one.endsWith('-pod-2'))!
      const drop = (action: string) =>
        cluster.inNamespace(
          netns,
          'iptables',
          action,
          'INPUT',
          ...'-p tcp --dport 8080 --syn -j DROP'.split(' '),
        )
      await drop('-A')
      const ejected = await proxy.until('it is passed over', ({ services }) =>
        services[0]!.endpoints.some(({ ejectedSince }) => ejectedSince !== undefined),
      )
      t.ok(ejected.services[0]!.endpoints[1]!.ejectedSince)
      await drop('-D')
      t.same((await stopLoad(client)).failures, [])
      t.notMatch(proxy.log(), /restart for the change/)
      // Another plug-in, in contrast, is not.
      writeFileSync(file, `${HEAD}proxyMode: ${mode}\nbalancerPlugin: ${file}\n`)
      await logged(/restart for the change of --balancer-plugin/)
    })
  })
}
