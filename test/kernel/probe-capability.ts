import t from 'tap'

import { commandRunner, type RunCommand } from '../../src/kernel/command.js'
import { capabilityOf, probeCapabilities } from '../../src/kernel/probe-capability.js'
import { NetworkNamespaces } from '../../src/kernel/netns.js'
import { SluiceError } from '../../src/lib/errors.js'

const isRoot = process.getuid?.() === 0

/** Answers every script by its text. */
function answering(stderrOf: (script: string) => string | undefined): RunCommand {
  return async (_tool, _args, script = '') => {
    const stderr = stderrOf(script)
    return { status: stderr === undefined ? 0 : 1, stdout: '', stderr: stderr ?? '' }
  }
}

t.test('the kernel is asked', { skip: !isRoot }, async (t) => {
  const kernel = await probeCapabilities(commandRunner())
  t.equal(kernel.capabilities.length, new Set(kernel.capabilities.map(({ name }) => name)).size)
  for (const { name, usable, reason, fix } of kernel.capabilities) {
    t.ok(usable || (reason !== undefined && fix !== undefined), `${name}: ${reason ?? 'yes'}`)
  }
  t.ok(capabilityOf(kernel, 'socket source filter').usable)
})

t.test('the other iptables is used where the usual one does not work', async (t) => {
  const broken = answering((script) =>
    /^ip6?tables -w/m.test(script) ? 'iptables: Failed to initialize nft' : undefined,
  )
  const kernel = await probeCapabilities(broken)
  t.equal(kernel.iptablesVariant, '-legacy')
  t.ok(capabilityOf(kernel, 'iptables nat').usable)
})

t.test('the usual iptables is named where none works', async (t) => {
  const kernel = await probeCapabilities(answering(() => 'iptables: No such table\nmore'))
  t.equal(kernel.iptablesVariant, '')
  t.match(capabilityOf(kernel, 'iptables nat'), {
    usable: false,
    reason: 'iptables: No such table',
    fix: /^modprobe/,
  })
})

t.test('a tool that is missing, and a lack of rights, have remedies of their own', async (t) => {
  const missing = await probeCapabilities(answering(() => 'sh: 1: ipvsadm: not found'))
  t.match(capabilityOf(missing, 'IPVS'), {
    reason: 'ipvsadm is not installed',
    fix: 'apt-get install -y ipvsadm',
  })
  const denied = await probeCapabilities(answering(() => 'unshare: Operation not permitted'))
  t.match(capabilityOf(denied, 'dummy devices'), { fix: /^run as root/ })
})

t.test('a probe that cannot even start is a result, not an exception', async (t) => {
  const kernel = await probeCapabilities(() =>
    Promise.reject(new SluiceError('ERR_TOOL', 'unshare is not installed')),
  )
  t.match(capabilityOf(kernel, 'local routes IPv4'), {
    usable: false,
    reason: 'unshare is not installed',
  })
})

t.test('without the right to make namespaces the node is asked', { skip: !isRoot }, async (t) => {
  const inScratch = await probeCapabilities(commandRunner())
  const namespaces = new NetworkNamespaces(`ks-probe-${process.pid}`)
  t.teardown(() => namespaces.close())
  const netns = await namespaces.add('node')
  const run = commandRunner()
  const inNode: RunCommand = (tool, args, input) =>
    run('ip', ['netns', 'exec', netns, ...LIKE_A_CONTAINER, tool, ...args], input)
  // Tools that make a table leave it there, empty.
  await probeCapabilities(inNode)
  const before = await stateOf(inNode)
  const onNode = await probeCapabilities(inNode)
  t.same(onNode, inScratch, 'the same answers')
  t.equal(await stateOf(inNode), before, 'and nothing is left')
})

/** The capabilities of the DaemonSet's container. */
const LIKE_A_CONTAINER = ['setpriv', '--bounding-set', '-all,+net_admin,+net_raw']

async function stateOf(run: RunCommand): Promise<string> {
  const script = 'nft list ruleset; ipset save; ip rule; ip route show table all; ip -o link'
  return (await run('sh', ['-c', script])).stdout
}

t.test('given names, only those are tried', async (t) => {
  let runs = 0
  const counting = answering(() => {
    runs++
    return undefined
  })
  const kernel = await probeCapabilities(counting, new Set(['nftables nat maps'] as const))
  t.equal(runs, 3, 'the place, the variant, and the one')
  t.ok(capabilityOf(kernel, 'nftables nat maps').usable)
  t.strictSame(capabilityOf(kernel, 'IPVS').reason, 'it was not probed')
})
