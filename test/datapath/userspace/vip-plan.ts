import t from 'tap'
import { parseIpRange } from '../../../src/lib/ip-address.js'
import { planVips, type VipPlanOptions } from '../../../src/datapath/userspace/vip-plan.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'

const range = (text: string) => parseIpRange(text)!
const options: VipPlanOptions = {
  localAddresses: [
    { address: '127.0.0.1', isLoopback: true },
    { address: '10.0.1.1', isLoopback: false },
    { address: '10.0.9.1', isLoopback: false },
    { address: 'fd00:1::1', isLoopback: false },
    { address: '::1', isLoopback: true },
  ],
  nodePortAddresses: [],
  localhostNodePorts: true,
  clusterCidrs: [range('10.244.0.0/16')],
  detectLocalMode: 'ClusterCIDR',
}
const here = endpoint('10.244.1.2', 8080, { isLocal: true })
const there = endpoint('10.244.2.2', 8080)
const plan = (
  over: Parameters<typeof servicePort>[0],
  endpoints = [here, there],
  more: Partial<VipPlanOptions> = {},
) => planVips(snapshotOf([portState(servicePort(over), endpoints)]), { ...options, ...more })
const keys = (result: ReturnType<typeof planVips>) => [...result.vips.keys()]

t.test('every address of a Service port is a VIP', async (t) => {
  const result = plan({ externalIps: ['192.0.2.1'], loadBalancerVips: ['192.0.2.2'] })
  t.strictSame(keys(result), ['TCP 10.96.0.10:80', 'TCP 192.0.2.1:80', 'TCP 192.0.2.2:80'])
})

for (const { title, more, expected } of [
  {
    title: 'a node port is served on every address of the family, loopback included',
    more: {},
    expected: ['127.0.0.1', '10.0.1.1', '10.0.9.1'],
  },
  {
    title: 'without localhost node ports loopback is left out',
    more: { localhostNodePorts: false },
    expected: ['10.0.1.1', '10.0.9.1'],
  },
  {
    title: 'node port addresses choose',
    more: { nodePortAddresses: [range('10.0.9.0/24')] },
    expected: ['10.0.9.1'],
  },
  {
    title: 'a range of the other family leaves this family as it is',
    more: { nodePortAddresses: [range('fd00::/8')] },
    expected: ['127.0.0.1', '10.0.1.1', '10.0.9.1'],
  },
  {
    title: '/0 matches all',
    more: { nodePortAddresses: [range('10.0.9.0/24'), range('0.0.0.0/0')] },
    expected: ['127.0.0.1', '10.0.1.1', '10.0.9.1'],
  },
]) {
  t.test(title, async (t) => {
    const result = plan({ nodePort: 30080 }, [here], more)
    t.strictSame(
      [...result.vips.values()].filter((vip) => vip.isNodeAddress).map(({ address }) => address),
      expected,
    )
  })
}

t.test('primary is the Node object’s address, if it is ours', async (t) => {
  const state = portState(servicePort({ nodePort: 30080 }), [here])
  const snapshot = snapshotOf([state])
  const at = (addresses: string[]) =>
    keys(
      planVips(
        { ...snapshot, node: { ...snapshot.node, addresses } },
        { ...options, nodePortAddresses: 'primary' },
      ),
    )
  t.strictSame(at(['10.0.9.1', '10.0.1.1']), ['TCP 10.96.0.10:80', 'TCP 10.0.9.1:30080'])
  t.strictSame(at(['203.0.113.1']), ['TCP 10.96.0.10:80'])
  t.strictSame(at([]), ['TCP 10.96.0.10:80'])
})

t.test('what a new connection meets', async (t) => {
  const only = (result: ReturnType<typeof planVips>) => [...result.vips.values()].at(-1)
  t.match(only(plan({})), { action: 'balance', allowedSources: 'all' })
  t.match(only(plan({}, [])), { action: 'reject' })
  t.match(only(plan({ internalPolicyLocal: true }, [there])), { action: 'drop' })
  const external = { externalIps: ['192.0.2.1'], externalPolicyLocal: true }
  t.match(only(plan(external)), { action: 'balance', allowedSources: 'all' })
  const limited = only(plan(external, [there]))
  t.equal(limited?.action, 'balance', 'pods and the node itself are short-circuited')
  t.strictSame(
    (limited?.allowedSources as readonly { text: string }[]).map(({ text }) => text).sort(),
    ['10.0.1.1/32', '10.0.9.1/32', '10.244.0.0/16', '127.0.0.1/32'],
  )
})

t.test('the first Service by name has a VIP that two claim', async (t) => {
  const [a, b] = ['a', 'b'].map((name) => portState(servicePort({ name }), [here]))
  const { vips, warnings } = planVips(snapshotOf([a!, b!]), options)
  t.equal(vips.get('TCP 10.96.0.10:80')?.servicePortId, a!.servicePort.id)
  t.match(warnings, [/demo\/b: TCP 10\.96\.0\.10:80 belongs to demo\/a/])
})

t.test('SCTP is left out with a warning', async (t) => {
  const { vips, warnings } = plan({ protocol: 'SCTP' })
  t.equal(vips.size, 0)
  t.match(warnings, [/SCTP is not relayed/])
})
