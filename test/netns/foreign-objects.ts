/**
 * What others have in the kernel, with names that come close to ours, stays as it is, byte for byte:
 * after a sync in every mode, after the next one has taken over, after a switch of `auto` there and
 * back, after a stop, and after cleanup, when the whole kernel is as it was. IPVS, and its virtual
 * servers of others: test/uml/ipvs.ts.
 */
import t, { type Test } from 'tap'

import { placeForeign, showKernel } from '../fixtures/foreign-objects.js'
import { type Proxy, rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'
import { missingTools, toolsFolder } from '../packet-suite/iptables-tools.js'
import { type ModeName, MODES, modeOf } from '../packet-suite/modes.js'

const KINDS = { iptables: ['iptables-nft', 'iptables-legacy'], nft: true, ipvs: false } as const
const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname
const NAMES = (Object.keys(MODES) as ModeName[]).filter((name) => name !== 'ipvs')

/** One Service of every kind, and `extra` plain ones. */
function manifests(extra: number): object[] {
  const more = Array.from({ length: extra }, (_, index) => index + 30)
  return [
    service('web', {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.10',
      externalIPs: ['192.0.2.10'],
      externalTrafficPolicy: 'Local',
      sessionAffinity: 'ClientIP',
      loadBalancerSourceRanges: ['10.0.1.0/24'],
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }],
    }),
    slice('web', [{ addresses: ['10.244.1.2'], nodeName: 'node-a' }, '10.244.2.2']),
    service('six', { clusterIP: 'fd00:96::10', ipFamilies: ['IPv6'] }),
    slice('six', ['fd00:244:1::2']),
    service('none', { clusterIP: '10.96.0.11' }),
    // Within the route of somebody else.
    service('theirs', { clusterIP: '10.97.0.7' }),
    slice('theirs', ['10.244.1.2']),
    ...more.flatMap((last) => [
      service(`more-${last}`, { clusterIP: `10.96.0.${last}` }),
      slice(`more-${last}`, ['10.244.1.2']),
    ]),
  ]
}

t.test(
  'what others have',
  { skip: rootOnly || missingTools('legacy'), timeout: 300_000 },
  async (t) => {
    const cluster = await startCluster(1)
    t.teardown(() => cluster.close())
    await placeForeign(cluster, KINDS)
    const foreign = await showKernel(cluster, KINDS, false)
    const whole = await showKernel(cluster, KINDS, true)
    t.match(foreign, /MINE-SET.*CNI-abc.*KUBE-ROUTER-PODS.*lookup 777/s, 'it is there, and seen')
    const isSame = async (t: Test, when: string) => {
      t.equal(await showKernel(cluster, KINDS, false), foreign, when)
    }
    const clean = async (t: Test) => {
      t.notMatch(await cluster.onNode(process.execPath, MAIN, 'cleanup'), /failed/)
      t.equal(await showKernel(cluster, KINDS, true), whole, 'cleanup: all is as it was')
    }
    cluster.write(manifests(0))
    let proxy: Proxy | undefined
    t.teardown(() => proxy?.stop('SIGKILL'))

    for (const name of NAMES) {
      await t.test(`${name}, after the one before was killed`, async (t) => {
        const { flags, tools: variant } = modeOf(name)
        await proxy?.stop('SIGKILL')
        const tools = variant === undefined ? undefined : toolsFolder(variant)
        t.teardown(() => tools?.remove())
        const folders = tools === undefined ? [] : [tools.path]
        proxy = await cluster.startPlainProxy(
          ['--cluster-cidr', '10.244.0.0/16', ...flags],
          folders,
        )
        await isSame(t, 'a sync')
      })
    }
    await t.test('cleanup after them', async (t) => {
      t.equal(await proxy?.stop(), 0)
      await isSame(t, 'a stop')
      await clean(t)
    })
    for (const fallback of ['nftables', 'iptables']) {
      await t.test(`auto, to ${fallback} and back`, async (t) => {
        const flags = ['--proxy-mode', 'auto', '--fallback-modes', fallback]
        const thresholds = ['--fallback-service-ports', '8', '--fallback-hold-down', '200ms']
        const load = ['--fallback-sample-period', '200ms', '--fallback-verdict-share', '0']
        cluster.write(manifests(0))
        const auto = await cluster.startProxy(...flags, ...thresholds, ...load)
        t.teardown(() => auto.stop('SIGKILL'))
        for (const [switches, extra] of [
          [1, 12],
          [2, 0],
        ] as const) {
          cluster.write(manifests(extra))
          await auto.until(`switch ${switches}`, (status) => status.auto?.switches === switches)
          await isSame(t, `switch ${switches}`)
        }
        t.equal(await auto.stop(), 0)
        await isSame(t, 'a stop')
        await clean(t)
      })
    }
  },
)
