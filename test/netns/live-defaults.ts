/** Defaults of balancers and health checks in the configuration file, changed while the proxy runs. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { serveHttp } from '../fixtures/constant-load.js'
import { reach } from '../fixtures/reach.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const HEAD = 'apiVersion: kube-sluice.io/v1alpha1\nkind: KubeSluiceConfiguration\n'
const VIP = '10.96.0.10'

for (const mode of ['userspace', 'nfqueue']) {
  t.test(`defaults that change, ${mode} mode`, { skip: rootOnly, timeout: 60_000 }, async (t) => {
    const cluster = await startCluster(2)
    t.teardown(() => cluster.close())
    await serveHttp(cluster.pods[0]!, 'pod-1', 8080)
    const ips = [cluster.podIp(1), cluster.podIp(2)]
    cluster.write([service('web', { clusterIP: VIP }), slice('web', ips)])
    const file = join(t.testdir(), 'config.yaml')
    const write = (lines: string) => {
      writeFileSync(file, `${HEAD}proxyMode: ${mode}\n${lines}`)
    }
    write('defaultHealthCheck: none\n')
    const proxy = await cluster.startProxy('--config', file)
    t.teardown(() => proxy.stop('SIGKILL'))
    await reach(cluster.client, { host: VIP })
    await proxy.until('it begins with round robin and no check', ({ services }) => {
      const [{ balancer, endpoints } = { balancer: '', endpoints: [] }] = services
      return balancer === 'round-robin' && endpoints.every(({ health }) => health === undefined)
    })
    write(
      'defaultHealthCheck: tcp\nhealthCheckInterval: 300ms\ndefaultBalancer: least-connections\n',
    )
    await proxy.until('the new defaults are in force', ({ services }) => {
      const [{ balancer, endpoints } = { balancer: '', endpoints: [] }] = services
      const [one, two] = endpoints
      return balancer === 'least-connections' && one?.inUse === true && two?.inUse === false
    })
    t.match(
      proxy.log(),
      /10\.244\.2\.2:8080 of test\/web is down, says its tcp check: connection refused/,
    )
    t.notMatch(proxy.log(), /restart for the change/)
    write('defaultHealthCheck: none\n')
    await proxy.until('they are gone again', ({ services }) =>
      services[0]!.endpoints.every(({ inUse, health }) => inUse && health === undefined),
    )
  })
}
