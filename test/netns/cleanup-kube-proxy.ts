/** `kube-sluice cleanup --kube-proxy` on what kube-proxy leaves in the kernel, among what others have. */
import t from 'tap'

import { cleanup } from '../../src/cli/cleanup.js'
import { cleanupNode } from '../../src/datapath/cleanup.js'
import { cleanupKubeProxy } from '../../src/datapath/cleanup-kube-proxy.js'
import { CANARY_RULE } from '../../src/datapath/iptables/base-rules.js'
import { commandRunner, type RunCommand } from '../../src/kernel/command.js'
import { SluiceError } from '../../src/lib/errors.js'
import { inNamespace, tool } from '../fixtures/in-namespace.js'

/** As kube-proxy 1.36 writes them for one Service, in its iptables mode. */
const IPTABLES_MODE = `*mangle
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*nat
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
:KUBE-SEP-23Y66C2VAJ3WDEMI - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -m comment --comment "default/kubernetes:https cluster IP" -p tcp -j KUBE-SVC-NPX46M4PTMTKRN6Y
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-NPX46M4PTMTKRN6Y -j KUBE-SEP-23Y66C2VAJ3WDEMI
-A KUBE-SEP-23Y66C2VAJ3WDEMI -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
COMMIT
*filter
:KUBE-SERVICES - [0:0]
:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-PROXY-CANARY - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
COMMIT
`

/** The rules of its ipvs mode that the kernel of these tests can have. */
const IPVS_MODE = (set: string) => `*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-LOAD-BALANCER - [0:0]
:KUBE-MARK-MASQ - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -m set --match-set ${set} dst,dst -j KUBE-MARK-MASQ
-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
COMMIT
*filter
:KUBE-FORWARD - [0:0]
:KUBE-NODE-PORT - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SOURCE-RANGES-FIREWALL - [0:0]
:KUBE-IPVS-FILTER - [0:0]
:KUBE-IPVS-OUT-FILTER - [0:0]
-A INPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-FILTER
-A OUTPUT -m comment --comment "kubernetes ipvs access filter" -j KUBE-IPVS-OUT-FILTER
-A FORWARD -m comment --comment "kube-proxy firewall rules" -j KUBE-PROXY-FIREWALL
-A KUBE-PROXY-FIREWALL -j KUBE-SOURCE-RANGES-FIREWALL
COMMIT
`

const NFTABLES_MODE = ['ip', 'ip6']
  .map((kind) => {
    const table = `${kind} kube-proxy`
    const hook = 'type filter hook input priority -110'
    return [
      `add table ${table}`,
      `add chain ${table} services`,
      `add chain ${table} filter-input { ${hook}; }`,
      `add rule ${table} filter-input ct state new jump services`,
    ]
      .map((line) => `${line}\n`)
      .join('')
  })
  .join('')

/** What others have, with names that come close. */
const FOREIGN = `*nat
:KUBE-HOSTPORTS - [0:0]
:CNI-abc - [0:0]
-A PREROUTING -j CNI-abc
-A CNI-abc -s 10.9.0.0/16 -j ACCEPT
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-ROUTER-FORWARD - [0:0]
-A FORWARD -j KUBE-ROUTER-FORWARD
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -j DROP
COMMIT
`
const VARIANTS = ['-nft', '-legacy'] as const
const TOOLS = VARIANTS.flatMap((variant) => [`iptables${variant}`, `ip6tables${variant}`])

t.setTimeout(150_000)

if (inNamespace(t, import.meta.url)) {
  const run = commandRunner()
  const isLegacyThere = () => Promise.resolve(true)
  const state = (): string =>
    [
      ...TOOLS.map((name) => tool(`${name}-save`, [])),
      tool('nft', ['list', 'tables']),
      tool('nft', ['list', 'table', 'ip', 'mine']),
      tool('ipset', ['save']),
      tool('ip', ['-oneline', 'addr']),
    ]
      .join('')
      .split('\n')
      // Counters, times, and the built-in chains of tables that listing makes.
      .filter(
        (line) =>
          !/^(#|:\S+ (ACCEPT|DROP)|table ip6? (nat|filter|mangle|raw))|^\*|^COMMIT$/.test(line),
      )
      .join('\n')
  const removeKubeProxys = async (command: RunCommand = run) => {
    const lines: string[] = []
    const write = (text: string) => void lines.push(text.trimEnd())
    const remove = (one: RunCommand) => cleanupKubeProxy(one, isLegacyThere)
    return { status: await cleanup({ write, kubeProxy: true }, command, remove), lines }
  }

  for (const name of TOOLS) {
    const text = name.startsWith('ip6')
      ? FOREIGN.replaceAll(/1\d\d?\.\d[.\d]*\/\d+/g, 'fd09::/16')
      : FOREIGN
    for (const table of ['nat', 'filter', 'mangle']) tool(name, ['-t', table, '-S'])
    tool(`${name}-restore`, ['--noflush'], text)
  }
  tool(
    'nft',
    ['-f', '-'],
    'add table ip mine\nadd chain ip mine kube-proxy\nadd table inet kube-proxy\n',
  )
  tool('ipset', ['create', 'KUBE-ROUTER-PODS', 'hash:ip'])
  tool('ipset', ['create', 'KUBE-6-MINE', 'hash:ip', 'family', 'inet6'])
  const before = state()

  t.test('nothing there: says so', async (t) => {
    t.same(await removeKubeProxys(), { status: 0, lines: ['nothing to remove'] })
    t.equal(state(), before)
  })

  for (const variant of VARIANTS) {
    t.test(`all modes, written with iptables${variant}; what others have stays`, async (t) => {
      for (const family of ['iptables', 'ip6tables'] as const) {
        const isV4 = family === 'iptables'
        const sets = isV4 ? ['KUBE-CLUSTER-IP', 'KUBE-LOOP-BACK'] : ['KUBE-6-CLUSTER-IP']
        for (const set of sets) {
          tool('ipset', ['create', set, 'hash:ip,port', 'family', isV4 ? 'inet' : 'inet6'])
        }
        tool(`${family}${variant}-restore`, ['--noflush'], IPTABLES_MODE)
        tool(`${family}${variant}-restore`, ['--noflush'], IPVS_MODE(sets[0] ?? ''))
      }
      tool('nft', ['-f', '-'], NFTABLES_MODE)
      // IPVS itself is for test/uml/ipvs.ts: here is none, so nothing of it can be left.
      const { status, lines } = await removeKubeProxys(withoutIpvs(run))
      t.equal(status, 0, lines.join('\n'))
      t.equal(state(), before)
      for (const what of [
        /^removed iptables\S* chain nat\/KUBE-SVC-NPX46M4PTMTKRN6Y$/,
        /^removed ip6tables\S* chain filter\/KUBE-IPVS-OUT-FILTER$/,
        /^removed nftables table ip6 kube-proxy$/,
        /^removed ipset KUBE-LOOP-BACK$/,
        /^removed ipset KUBE-6-CLUSTER-IP$/,
      ]) {
        t.equal(lines.filter((line) => what.test(line)).length, 1, String(what))
      }
    })
  }

  t.test('what only ipvsadm can remove is told, and so is what tells whose it is', async (t) => {
    tool('ipset', ['create', 'KUBE-CLUSTER-IP', 'hash:ip,port'])
    const { status, lines } = await removeKubeProxys(withoutTool(run, 'ipvsadm'))
    t.equal(status, 1)
    t.match(lines, [/^failed: virtual servers of kube-proxy may be left: install ipvsadm/])
    t.match(tool('ipset', ['save']), 'KUBE-CLUSTER-IP')
    tool('ipset', ['destroy', 'KUBE-CLUSTER-IP'])
  })

  t.test('chains and sets that our modes have taken over are ours', async (t) => {
    const canary = `*nat\n:KUBE-PROXY-CANARY - [0:0]\n:KUBE-SERVICES - [0:0]\n-A KUBE-PROXY-CANARY ${CANARY_RULE}\nCOMMIT\n`
    tool('iptables-nft-restore', ['--noflush'], canary)
    tool('ipset', ['create', 'KUBE-SLUICE-DROP-6', 'hash:ip,port', 'family', 'inet6'])
    tool('ipset', ['create', 'KUBE-6-CLUSTER-IP', 'hash:ip,port', 'family', 'inet6'])
    const ours = state()
    t.same(await removeKubeProxys(), { status: 0, lines: ['nothing to remove'] })
    t.equal(state(), ours)
    tool('ipset', ['destroy', 'KUBE-SLUICE-DROP-6'])
    tool('ipset', ['destroy', 'KUBE-6-CLUSTER-IP'])
    await cleanupNode(run, isLegacyThere)
    t.equal(state(), before)
  })
}

function withoutTool(run: RunCommand, absent: string): RunCommand {
  return (name, ...rest) =>
    name === absent
      ? Promise.reject(new SluiceError('ERR_TOOL', name, { context: { isMissing: true } }))
      : run(name, ...rest)
}

/** A kernel with an empty table of virtual servers. */
function withoutIpvs(run: RunCommand): RunCommand {
  return (name, ...rest) =>
    name === 'ipvsadm' ? Promise.resolve({ status: 0, stdout: '', stderr: '' }) : run(name, ...rest)
}
