import t from 'tap'

import { renderOperations } from '../../../src/datapath/nftables/element-loader.js'
import {
  computeLayout,
  roomNeeded,
  type LayoutOptions,
} from '../../../src/datapath/nftables/layout.js'
import { allElements, diffLayouts, replaceAll } from '../../../src/datapath/nftables/layout-diff.js'
import type { Endpoint } from '../../../src/model/endpoint.js'
import type { ServicePort } from '../../../src/model/service-port.js'
import type { ServicePortState, Snapshot } from '../../../src/model/snapshot.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../../src/packet/mark-layout.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'
import { ranges } from '../../fixtures/objects.js'

const options: LayoutOptions = {
  marks: markLayoutOf(DEFAULT_MARK_MASK),
  masqueradeAll: false,
  clusterCidrs: ranges('10.244.0.0/16', 'fd00:244::/32'),
  detectLocalMode: 'ClusterCIDR',
  nodePortAddresses: 'all',
  localhostNodePorts: true,
}
const here = endpoint('10.244.1.2', 8080, { isLocal: true })
const there = endpoint('10.244.2.2', 8080)
const VIP = '10.96.0.10 . tcp . 80'
const EXTERNAL = '192.0.2.1 . tcp . 80'

/** `SET KEY : VALUE` of each element, or `OP SET KEY` of each change. */
const lines = (operations: readonly Parameters<typeof renderOperations>[0][number][]) =>
  operations.flatMap((operation) => {
    const text = renderOperations([operation])
    const [, set, elements] = / kube-sluice (\S+) \{ (.*) \}/.exec(text) ?? []
    return (elements ?? '')
      .split(', ')
      .map((one) => `${operation.op === 'add' ? '' : '-'}${set ?? ''} ${one}`)
  })
const elementsOf = (states: readonly ServicePortState[], node: Partial<Snapshot['node']> = {}) => {
  const snapshot = snapshotOf(states)
  const layout = computeLayout(
    { ...snapshot, node: { ...snapshot.node, ...node } },
    'IPv4',
    options,
  )
  return lines(allElements(layout))
}
const one = (over: Partial<ServicePort>, endpoints: readonly Endpoint[] = [here, there]) =>
  elementsOf([portState(servicePort(over), endpoints)])
const hairpin = 'hairpin-connections 10.244.1.2 . 10.244.1.2 . tcp . 8080'

t.test('a cluster IP', async (t) => {
  t.strictSame(one({}), [
    `vips ${VIP} : goto vip-cluster-ip`,
    `vip-classes ${VIP} : goto vip-random-2`,
    `vip-slots ${VIP} . 0 : 10.244.1.2 . 8080`,
    `vip-slots ${VIP} . 1 : 10.244.2.2 . 8080`,
    hairpin,
  ])
})

t.test('session affinity draws by the source', async (t) => {
  t.ok(one({ affinityTimeoutSeconds: 10 }).includes(`vip-classes ${VIP} : goto vip-hash-2`))
})

t.test('internalTrafficPolicy Local', async (t) => {
  t.strictSame(one({ internalPolicyLocal: true }), [
    `vips ${VIP} : goto vip-cluster-ip`,
    `vip-classes ${VIP} : goto vip-random-1`,
    `vip-slots ${VIP} . 0 : 10.244.1.2 . 8080`,
    hairpin,
  ])
  t.strictSame(
    one({ internalPolicyLocal: true }, [there]).filter((line) => !line.startsWith('vips ')),
    [`vip-guards ${VIP} : goto guard-drop`],
  )
})

t.test('externalTrafficPolicy', async (t) => {
  const over = { externalIps: ['192.0.2.1'], nodePort: 30080 }
  const ofDoors = (lines: string[]) => lines.filter((line) => !line.includes(VIP))
  t.strictSame(ofDoors(one(over, [there])), [
    `vips ${EXTERNAL} : goto vip-external`,
    `vip-classes ${EXTERNAL} : goto vip-random-1`,
    `vip-slots ${EXTERNAL} . 0 : 10.244.2.2 . 8080`,
    'nodeports tcp . 30080 : goto nodeport-external',
    'nodeport-classes tcp . 30080 : goto nodeport-random-1',
    'nodeport-slots tcp . 30080 . 0 : 10.244.2.2 . 8080',
  ])
  const local = { ...over, externalPolicyLocal: true }
  t.strictSame(ofDoors(one(local)), [
    `vips ${EXTERNAL} : goto vip-external-local`,
    `vip-classes ${EXTERNAL} : goto vip-random-2`,
    `vip-slots ${EXTERNAL} . 0 : 10.244.1.2 . 8080`,
    `vip-slots ${EXTERNAL} . 1 : 10.244.2.2 . 8080`,
    `vip-local-classes ${EXTERNAL} : goto vip-local-random-1`,
    `vip-local-slots ${EXTERNAL} . 0 : 10.244.1.2 . 8080`,
    'nodeports tcp . 30080 : goto nodeport-external-local',
    'nodeport-classes tcp . 30080 : goto nodeport-random-2',
    'nodeport-slots tcp . 30080 . 0 : 10.244.1.2 . 8080',
    'nodeport-slots tcp . 30080 . 1 : 10.244.2.2 . 8080',
    'nodeport-local-classes tcp . 30080 : goto nodeport-local-random-1',
    'nodeport-local-slots tcp . 30080 . 0 : 10.244.1.2 . 8080',
    hairpin,
  ])
  const shut = one(local, [there])
  t.ok(shut.includes(`vip-guards ${EXTERNAL} : goto guard-local-policy`))
  t.ok(shut.includes('nodeport-guards tcp . 30080 : goto guard-local-policy'))
  t.notMatch(shut.join(), /local-(slots|classes)/)
})

t.test('no endpoint at all is a rejection', async (t) => {
  t.strictSame(
    one({ externalIps: ['192.0.2.1'], nodePort: 30080, externalPolicyLocal: true }, []),
    [`vip-rejects ${VIP}`, `vip-rejects ${EXTERNAL}`, 'nodeport-rejects tcp . 30080'],
  )
})

t.test('loadBalancerSourceRanges', async (t) => {
  const over = {
    loadBalancerVips: ['192.0.2.1'],
    loadBalancerSourceRanges: ranges('10.0.1.7/32', '10.0.0.0/23', '198.51.100.4/30'),
  }
  const guards = (lines: string[]) => lines.filter((line) => /source-ranges|guards/.test(line))
  const rangesOf = [
    `source-ranges ${EXTERNAL} . 10.0.0.0-10.0.1.255`,
    `source-ranges ${EXTERNAL} . 198.51.100.4-198.51.100.7`,
  ]
  t.strictSame(guards(one(over)), [
    `vip-guards ${EXTERNAL} : goto guard-source-ranges`,
    ...rangesOf,
  ])
  t.strictSame(guards(one({ ...over, externalPolicyLocal: true }, [there])), [
    `vip-guards ${EXTERNAL} : goto guard-ranges-and-policy`,
    ...rangesOf,
  ])
  t.same(guards(one(over, [])), [], 'everyone is refused')
  const state = portState(servicePort(over), [here])
  const fromNode = guards(elementsOf([state], { addresses: ['10.0.1.1'] }))
  t.ok(fromNode.includes(`source-ranges ${EXTERNAL} . 192.0.2.1`), 'the node by its own VIP')
})

t.test('the first Service by name has a VIP that two claim', async (t) => {
  const [a, b] = ['a', 'b'].map((name) =>
    portState(servicePort({ name, nodePort: 30080 }), [name === 'a' ? here : there]),
  )
  const { warnings } = computeLayout(snapshotOf([a!, b!]), 'IPv4', options)
  t.match(warnings, [
    /demo\/b: TCP 10\.96\.0\.10:80 belongs to demo\/a/,
    /demo\/b: TCP node port 30080/,
  ])
  t.notMatch(elementsOf([a!, b!]).join(), /10\.244\.2\.2/)
  const [before, after] = layouts([a!, b!], [b!])
  t.match(
    lines(diffLayouts(before, after)).join('\n'),
    /\nvip-slots .* : 10\.244\.2\.2/,
    'it moves',
  )
})

t.test('IPv6, UDP and SCTP', async (t) => {
  const states = (['UDP', 'SCTP'] as const).map((protocol) =>
    portState(servicePort({ ipFamily: 'IPv6', clusterIp: 'fd00:96::a', protocol }), [
      endpoint('fd00:244:1::2', 53, { isLocal: true }),
    ]),
  )
  const layout = computeLayout(snapshotOf(states), 'IPv6', options)
  const text = lines(allElements(layout))
  t.ok(text.includes('vip-slots fd00:96::a . udp . 80 . 0 : fd00:244:1::2 . 53'))
  t.ok(text.includes('vip-slots fd00:96::a . sctp . 80 . 0 : fd00:244:1::2 . 53'))
  const slots = allElements(layout).find(({ set }) => set === 'vip-slots')
  t.match(slots, { keyLength: 28, dataLength: 20 })
  t.equal(slots?.keys.length, 56)
  t.strictSame(elementsOf(states), [], 'no part of the other family')
})

t.test('addresses that serve node ports', async (t) => {
  const nodePortAddresses = ['10.0.1.1', 'fd00:1::1', '10.0.1.1']
  const layout = computeLayout(snapshotOf([]), 'IPv4', { ...options, nodePortAddresses })
  t.strictSame(lines(allElements(layout)), ['nodeport-ips 10.0.1.1'])
})

/** Each from the one before. */
function layouts(first: ServicePortState[], second: ServicePortState[]) {
  const { node } = snapshotOf([])
  const before = computeLayout({ ...snapshotOf(first), node }, 'IPv4', options)
  return [before, computeLayout({ ...snapshotOf(second), node }, 'IPv4', options, before)] as const
}

t.test('what changes is what is loaded', async (t) => {
  const a = portState(servicePort({ name: 'a', clusterIp: '10.96.0.1' }), [here, there])
  const b = portState(servicePort({ name: 'b', clusterIp: '10.96.0.2' }), [here])
  const diff = (first: ServicePortState[], second: ServicePortState[]) =>
    lines(diffLayouts(...layouts(first, second)))
  t.strictSame(diff([a, b], [a, b]), [])
  const third = endpoint('10.244.3.2', 8080)
  const grown = { ...a, cluster: [here, there, third], reachable: [here, there, third] }
  const key = '10.96.0.1 . tcp . 80'
  const [before, after] = layouts([a, b], [grown, b])
  t.equal(after.parts.get(b.servicePort.id), before.parts.get(b.servicePort.id))
  t.strictSame(lines(diffLayouts(before, after)), [
    `-vip-classes ${key}`,
    `vip-classes ${key} : goto vip-random-3`,
    `vip-slots ${key} . 2 : 10.244.3.2 . 8080`,
  ])
  const moved = { ...a, cluster: [here, third], reachable: [here, third] }
  t.strictSame(diff([a, b], [moved, b]), [
    `-vip-slots ${key} . 1`,
    `vip-slots ${key} . 1 : 10.244.3.2 . 8080`,
  ])
  t.notMatch(diff([a, b], [b]).join(), 'hairpin', 'another Service port has the endpoint too')
  t.ok(diff([b], []).includes(`-${hairpin}`))
  t.equal(elementsOf([a, b]).filter((line) => line === hairpin).length, 1)
})

t.test('everything is what a diff from nothing gives, after every set is emptied', async (t) => {
  const state = portState(servicePort({ nodePort: 30080 }), [here])
  const [empty, layout] = layouts([], [state])
  const all = replaceAll(layout)
  const adds = all.filter(({ op }) => op === 'add')
  t.strictSame(adds, diffLayouts(empty, layout))
  t.equal(
    all.findIndex(({ op }) => op === 'add'),
    all.length - adds.length,
  )
  t.match(renderOperations(all), /^flush map ip kube-sluice vips\n/)
  t.match(renderOperations(all), /\nflush set ip kube-sluice vip-rejects\n/)
})

t.test('a table that starts with many endpoints has room for twice as many', async (t) => {
  const endpoints = Array.from({ length: 100 }, (_, i) => endpoint(`10.244.1.${i}`, 8080))
  const ports = (count: number) =>
    Array.from({ length: count }, (_, i) =>
      portState(servicePort({ name: `s${i}`, clusterIp: `10.96.${i >> 8}.${i & 255}` }), endpoints),
    )
  const many = ports(200)
  const [large, larger] = layouts(many, many.concat(ports(280).slice(200)))
  t.equal(large.size, 20_000)
  t.equal(large.room, 65_536)
  t.equal(larger.size, 28_000)
  t.equal(larger.skeleton, large.skeleton, 'what grows within its room stays')
  const [, outgrown] = layouts(many, ports(500))
  t.equal(outgrown.size, 50_000)
  t.equal(outgrown.room, 131_072)
  t.ok(roomNeeded(outgrown.size) > large.room, 'the table that is there does not do')
  const [small, grown] = layouts(ports(100), many)
  t.equal(small.room, 0)
  t.equal(grown.room, 0, 'it grows by itself')
  t.equal(layouts(many, ports(10))[1].size, 1000)
})
