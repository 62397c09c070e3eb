/**
 * One mode after another on the same node: each process is killed, and the next one runs in another
 * mode. In the end the kernel must have what it has where there was no predecessor, and between modes
 * whose rules serve without a process no connection may fail.
 */
import t, { type Test } from 'tap'

import { serveHttp, startLoad, stopLoad } from '../fixtures/constant-load.js'
import {
  type Proxy,
  rootOnly,
  service,
  slice,
  startCluster,
  type TestCluster,
} from '../fixtures/test-cluster.js'
import { type IptablesTools, missingTools, toolsFolder } from '../packet-suite/iptables-tools.js'

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname
const PODS = '10.244.0.0/16,fd00:244::/32'

interface Mode {
  readonly flags: readonly string[]
  readonly tools?: IptablesTools
  /** Its rules serve without a process: `once` makes them, too. */
  readonly lasts?: 'once' | 'standby'
}

const MODES = {
  nft: { flags: ['--proxy-mode', 'iptables'], tools: 'nft', lasts: 'once' },
  legacy: { flags: ['--proxy-mode', 'iptables'], tools: 'legacy', lasts: 'once' },
  nftables: { flags: ['--proxy-mode', 'nftables'], lasts: 'once' },
  nfqueue: { flags: ['--proxy-mode', 'nfqueue'], lasts: 'standby' },
  redirect: { flags: ['--proxy-mode', 'userspace', '--userspace-capture', 'redirect'] },
  tproxy: { flags: ['--proxy-mode', 'userspace', '--userspace-capture', 'tproxy'] },
  anyip: { flags: ['--proxy-mode', 'userspace', '--userspace-capture', 'anyip'] },
} as const satisfies Record<string, Mode>
type Name = keyof typeof MODES
const NAMES = Object.keys(MODES) as Name[]
const modeOf = (name: Name): Mode => MODES[name]

/** Every ordered pair of the modes that last, and the captures in between. */
const WALK: readonly Name[] = [
  ...(['nft', 'legacy', 'nft', 'nftables', 'nft', 'nfqueue', 'legacy', 'nftables'] as const),
  ...(['legacy', 'nfqueue', 'nftables', 'nfqueue', 'nft'] as const),
  ...([
    'redirect',
    'nftables',
    'tproxy',
    'nfqueue',
    'anyip',
    'legacy',
    'redirect',
    'anyip',
  ] as const),
]

/** Every kind of rule; with Services that only the predecessor knows. */
function manifests(withMore: boolean): object[] {
  const here = { addresses: ['10.244.1.2'], nodeName: 'node-a' }
  const there = { addresses: ['10.244.2.2'], nodeName: 'node-b' }
  const guarded = (name: string, last: number, spec: object, endpoints: readonly object[]) => [
    service(
      name,
      {
        type: 'LoadBalancer',
        clusterIP: `10.96.0.${last}`,
        externalIPs: [`192.0.2.${last}`],
        ports: [{ port: 80, protocol: 'TCP', nodePort: 30_000 + last }],
        loadBalancerSourceRanges: ['10.0.1.0/24'],
        ...spec,
      },
      { status: { loadBalancer: { ingress: [{ ip: `198.51.100.${last}` }] } } },
    ),
    slice(name, endpoints),
  ]
  const all = (last: number) => [
    ...guarded(`all-${last}`, last, { sessionAffinity: 'ClientIP' }, [here, there]),
    ...guarded(`local-${last}`, last + 1, { externalTrafficPolicy: 'Local' }, [here, there]),
    ...guarded(`none-${last}`, last + 2, {}, []),
    service(`six-${last}`, { clusterIP: `fd00:96::${last}`, ipFamilies: ['IPv6'] }),
    slice(`six-${last}`, ['fd00:244:1::2']),
  ]
  return [
    service('web', { clusterIP: '10.96.0.10' }),
    slice('web', ['10.244.1.2', '10.244.2.2']),
    ...all(20),
    ...(withMore ? all(40) : []),
  ]
}

/** Everything in the kernel that a mode may have; without counters, order, and what looking makes. */
async function kernelState(cluster: TestCluster): Promise<string[]> {
  const saves = ['iptables-nft', 'ip6tables-nft', 'iptables-legacy', 'ip6tables-legacy'].map(
    (tool) => `for t in mangle nat filter; do ${tool} -t $t -S | sed "s/^/${tool} $t /"; done`,
  )
  const script = [
    ...saves,
    'ipset save',
    "nft list tables | grep -vE ' (nat|mangle|filter|raw)$'",
    'for f in ip ip6; do nft list table $f kube-sluice | sort; done',
    'for f in -4 -6; do ip $f rule; ip $f route show table all; ip $f addr; done',
  ].join('\n')
  const text = await cluster.onNode('sh', '-c', `(${script}) 2>/dev/null`)
  return (
    text
      .split('\n')
      .map((line) =>
        line
          // A listener has another port each time.
          .replaceAll(/(--to-ports|redir ports|redirect to :) ?\d+/g, '')
          .replaceAll(/packets \d+ bytes \d+/g, '')
          .replaceAll(/(expires|hashsize|initval|numgen random mod) \S+/g, '')
          .replace(/ timeout \d+.*$/, ''),
      )
      // The policies of tables that a look has made, and the kubelet's chain, which stays.
      .filter((line) => !/ -P \S+ ACCEPT$|KUBE-FIREWALL|fe80|ff00::|^\s*(@|#)/.test(line))
      .sort()
  )
}

t.test(
  'a killed predecessor in another mode',
  { skip: rootOnly || missingTools('legacy'), timeout: 400_000 },
  async (t) => {
    const cluster = await startCluster(2)
    t.teardown(() => cluster.close())
    for (const [index, pod] of cluster.pods.entries())
      await serveHttp(pod, `pod-${index + 1}`, 8080)
    const folders = new Map<IptablesTools, string>()
    for (const tools of ['nft', 'legacy'] as const) {
      const { path, remove } = toolsFolder(tools)
      t.teardown(remove)
      folders.set(tools, path)
    }
    const pathsOf = (name: Name) => {
      const { tools } = modeOf(name)
      return tools === undefined ? [] : [folders.get(tools) ?? '']
    }
    const start = async (name: Name): Promise<Proxy> => {
      const proxy = await cluster.startPlainProxy(
        ['--cluster-cidr', PODS, ...modeOf(name).flags],
        pathsOf(name),
      )
      t.teardown(() => proxy.stop('SIGKILL'))
      return proxy
    }
    const clean = async () => {
      const said = await cluster.onNode(process.execPath, MAIN, 'cleanup')
      t.notMatch(said, /failed/)
    }
    cluster.write(manifests(false))
    const nothing = await kernelState(cluster)
    const fresh = new Map<Name, string[]>()

    for (const name of NAMES) {
      const { lasts, flags } = modeOf(name)
      await t.test(
        `${name}, where nothing was before${lasts === 'once' ? ', by run --once' : ''}`,
        async (t) => {
          if (lasts === 'once') await runOnce(t, cluster, [...flags], pathsOf(name))
          else await (await start(name)).stop('SIGKILL')
          fresh.set(name, await kernelState(cluster))
          await clean()
          t.same(await kernelState(cluster), nothing, 'cleanup leaves nothing')
        },
      )
    }

    let proxy: Proxy | undefined
    let before: Name | undefined
    for (const name of WALK) {
      const last = before
      await t.test(last === undefined ? name : `${last}, then ${name}`, async (t) => {
        const isServed =
          last !== undefined && modeOf(last).lasts !== undefined && modeOf(name).lasts !== undefined
        if (isServed) await startLoad(cluster.client, { host: '10.96.0.10', rate: 50 })
        await proxy?.stop('SIGKILL')
        cluster.write(manifests(false))
        proxy = await start(name)
        if (isServed) t.same((await stopLoad(cluster.client)).failures, [], 'no connection fails')
        t.same(await kernelState(cluster), fresh.get(name))
        t.notMatch(proxy.log(), /stays: /)
        const { generation } = await proxy.status()
        cluster.write(manifests(true))
        await proxy.until('more Services', (status) => status.generation > generation)
        before = name
      })
    }
    await proxy?.stop('SIGKILL')
    await clean()
    t.same(await kernelState(cluster), nothing, 'cleanup leaves nothing')
  },
)

/** One sync, and the rules serve with nobody there. */
async function runOnce(
  t: Test,
  cluster: TestCluster,
  flags: readonly string[],
  folders: readonly string[],
): Promise<void> {
  const path = [...folders, process.env['PATH'] ?? ''].join(':')
  const words = ['run', '--once', '--manifests', cluster.folder, '--hostname-override', 'node-a']
  const command = [
    `PATH=${path}`,
    process.execPath,
    MAIN,
    ...words,
    '--cluster-cidr',
    PODS,
    ...flags,
  ]
  const said = await cluster.onNode('sh', '-c', 'env "$@"; echo status $?', 'sh', ...command)
  t.match(said, /"msg":"in force"/)
  t.match(said, /status 0\n$/)
  await startLoad(cluster.client, { host: '10.96.0.10', rate: 50 })
  await new Promise((resolve) => setTimeout(resolve, 400))
  const { failures, counts } = await stopLoad(cluster.client)
  t.same(failures, [])
  t.same(Object.keys(counts).sort(), ['pod-1', 'pod-2'], 'both endpoints')
}
