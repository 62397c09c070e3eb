/** First packets. What becomes of connects that fail is in steering-retries.ts. */
import t from 'tap'

import type { ServicePort } from '../../../src/model/service-port.js'
import { Hook, IpProtocol, PacketFlag, PacketWord } from '../../../src/packet/packet-word.js'
import { endpoint, portState, servicePort } from '../../fixtures/endpoint.js'
import { packedPort } from '../../fixtures/packed-port.js'
import { datagramRecord, icmpErrorRecord, synRecord } from '../../fixtures/packet-record.js'
import { type BenchOptions, SteeringBench } from '../../fixtures/steering-bench.js'

const one = endpoint('10.1.0.1')
const two = endpoint('10.1.0.2')
const here = endpoint('10.1.0.8', 80, { isLocal: true })
const everywhere = {
  nodePort: 30_080,
  externalIps: ['192.0.2.1'],
  loadBalancerVips: ['192.0.2.9'],
}
/** One way to each kind of VIP. */
const KINDS = {
  'cluster IP': '10.96.0.10:80',
  'external IP': '192.0.2.1:80',
  'load-balancer IP': '192.0.2.9:80',
  'node port': '172.16.0.1:30080',
}

function benchWith(
  fields: Partial<ServicePort> = {},
  endpoints = [one],
  options: BenchOptions = {},
): SteeringBench {
  const bench = new SteeringBench(options)
  bench.vips.set(packedPort(portState(servicePort(fields), endpoints)))
  return bench
}

t.test('a first packet to any kind of VIP goes to an endpoint', async (t) => {
  for (const [kind, to] of Object.entries(KINDS)) {
    const bench = benchWith({ ...everywhere, externalPolicyLocal: true }, [here])
    t.equal(bench.decide(synRecord({ to })), 'slot 8', kind)
    t.strictSame(bench.totals(), { steered: 1 })
    t.equal(bench.counters.steered[8], 1)
  }
})

t.test('IPv6 and UDP are steered alike', async (t) => {
  const bench = new SteeringBench()
  const v6 = servicePort({ ipFamily: 'IPv6', clusterIp: 'fd00:96::10' })
  const udp = servicePort({ protocol: 'UDP' })
  bench.vips.set(packedPort(portState(v6, [endpoint('fd00:1::5')])))
  bench.vips.set(packedPort(portState(udp, [two])))
  t.equal(bench.decide(synRecord({ from: '[fd00::5]:1', to: '[fd00:96::10]:80' })), 'slot 5')
  t.equal(bench.decide(datagramRecord()), 'slot 2')
})

t.test('what goes to no VIP of ours passes untouched', async (t) => {
  const bench = benchWith(everywhere)
  const fragment = synRecord()
  fragment.records[fragment.base + PacketWord.flags] = PacketFlag.isFragment
  t.equal(bench.decide(synRecord({ to: '10.96.0.11:80' })), 'accept', 'another address')
  t.equal(bench.decide(synRecord({ to: '10.96.0.10:81' })), 'accept', 'another port')
  t.equal(bench.decide(datagramRecord()), 'accept', 'another protocol')
  t.equal(bench.decide(fragment), 'accept', 'a fragment, which has no ports')
  t.strictSame(bench.totals(), { passed: 4 })
  t.equal(bench.flows.size, 0)
})

t.test('connections take the endpoints in turn', async (t) => {
  const bench = benchWith({}, [one, two])
  const ports = [1, 2, 3, 4]
  t.strictSame(
    ports.map((port) => bench.decide(synRecord({ from: `10.0.0.5:${port}` }))),
    ['slot 1', 'slot 2', 'slot 1', 'slot 2'],
  )
})

t.test('policies: reject without endpoints, drop without local ones', async (t) => {
  const state = portState(servicePort(everywhere), [])
  const cases = [
    { name: 'no endpoint anywhere', state, to: KINDS['node port'], ends: 'reject' },
    {
      name: 'internal policy Local, endpoints elsewhere',
      state: portState(servicePort({ internalPolicyLocal: true }), [one]),
      to: KINDS['cluster IP'],
      ends: 'drop',
    },
    {
      name: 'external policy Local, endpoints elsewhere',
      state: portState(servicePort({ ...everywhere, externalPolicyLocal: true }), [one]),
      to: KINDS['node port'],
      ends: 'drop',
    },
    {
      name: 'the same, from a pod',
      state: portState(servicePort({ ...everywhere, externalPolicyLocal: true }), [one]),
      from: '10.244.0.9:40000',
      to: KINDS['node port'],
      ends: 'slot 1',
    },
    {
      name: 'external policy Local takes local endpoints only',
      state: portState(servicePort({ ...everywhere, externalPolicyLocal: true }), [one, here]),
      to: KINDS['external IP'],
      ends: 'slot 8',
    },
  ]
  for (const { name, state, to, ends, from = '10.0.0.5:40000' } of cases) {
    const bench = new SteeringBench({ pods: ['10.244.0.0/16'] })
    bench.vips.set(packedPort(state))
    t.equal(bench.decide(synRecord({ from, to })), ends, name)
    const counted = { reject: 'rejected', drop: 'dropped' }[ends] ?? 'steered'
    t.strictSame(bench.totals(), { [counted]: 1 }, name)
  }
})

t.test('source ranges: others are dropped, and leave no trace', async (t) => {
  const bench = new SteeringBench()
  const ranges = ['192.168.0.0/24', '192.168.7.1/32']
  bench.vips.set(
    packedPort(portState(servicePort(), [one]), [
      { kind: 'load-balancer-ip', address: '192.0.2.9', port: 80, allowedSources: ranges },
      { kind: 'external-ip', address: '192.0.2.1', port: 80, allowedSources: [] },
    ]),
  )
  const from = (ip: string, to = KINDS['load-balancer IP']) =>
    bench.decide(synRecord({ from: `${ip}:40000`, to }))
  t.equal(from('192.168.0.255'), 'slot 1 masqueraded')
  t.equal(from('192.168.7.1'), 'slot 1 masqueraded')
  t.equal(from('192.168.1.0'), 'drop')
  t.equal(from('192.168.7.2'), 'drop')
  t.equal(from('192.168.0.1', KINDS['external IP']), 'drop', 'an empty list is for nobody')
  t.equal(bench.flows.size, 2)
})

t.test('who is masqueraded', async (t) => {
  const detector = { pods: ['10.244.0.0/16'], node: ['10.0.0.1/32'] }
  const pod = '10.244.0.9:40000'
  const node = '10.0.0.1:40000'
  const local = { ...everywhere, externalPolicyLocal: true }
  const cases: readonly {
    name: string
    options?: BenchOptions
    fields?: Partial<ServicePort>
    from?: string
    to?: string
    hook?: number
    masqueraded: boolean
  }[] = [
    { name: 'cluster IP from a pod', from: pod, masqueraded: false },
    { name: 'cluster IP from the node', from: node, masqueraded: true },
    { name: 'cluster IP from elsewhere', masqueraded: true },
    { name: 'cluster IP without a detector', options: {}, masqueraded: false },
    {
      name: 'cluster IP with --masquerade-all',
      options: { ...detector, masqueradeAll: true },
      from: pod,
      masqueraded: true,
    },
    { name: 'an endpoint that reaches itself', from: '10.1.0.8:1', options: {}, masqueraded: true },
    { name: 'external, Cluster', fields: everywhere, to: KINDS['external IP'], masqueraded: true },
    { name: 'external, Local', fields: local, to: KINDS['external IP'], masqueraded: false },
    {
      name: 'external, Local, from a pod',
      fields: local,
      to: KINDS['node port'],
      from: pod,
      masqueraded: false,
    },
    {
      name: 'external, Local, from an address of the node',
      fields: local,
      to: KINDS['node port'],
      from: node,
      masqueraded: true,
    },
    {
      name: 'external, Local, from the output hook',
      fields: local,
      to: KINDS['node port'],
      hook: Hook.output,
      masqueraded: true,
    },
  ]
  for (const { name, options = detector, fields, masqueraded, ...packet } of cases) {
    const bench = benchWith(fields, [here], options)
    t.equal(bench.decide(synRecord(packet)), masqueraded ? 'slot 8 masqueraded' : 'slot 8', name)
  }
})

t.test('bits of the packet mark that are not ours stay, ours are replaced', async (t) => {
  const bench = benchWith()
  const packet = synRecord({ mark: 0xffffffff })
  t.equal(bench.decide(packet), 'slot 1')
  t.equal(packet.records[packet.base + PacketWord.verdictMark], 0xc00001ff)
})

t.test('datagrams that waited together get one verdict', async (t) => {
  const bench = benchWith({ protocol: 'UDP' }, [one, two])
  t.equal(bench.decide(datagramRecord()), 'slot 1')
  t.equal(bench.decide(datagramRecord()), 'slot 1')
  t.equal(bench.decide(datagramRecord({ from: '10.0.0.5:40001' })), 'slot 2')
  t.equal(bench.decide(datagramRecord()), 'slot 1', 'whatever came in between')
  t.strictSame(bench.totals(), { steered: 4, repeatedVerdicts: 2 })
  t.equal(bench.counters.steered[1], 1, 'it is one connection')
  await bench.clock.advance(1001)
  t.equal(bench.decide(datagramRecord()), 'slot 1', 'later it is a new one, and has its turn')
  t.equal(bench.counters.steered[1], 2)
})

t.test('the same SYN again gets the same verdict, another SYN is a new connection', async (t) => {
  const bench = benchWith({}, [one, two])
  t.equal(bench.decide(synRecord()), 'slot 1')
  await bench.clock.advance(60_000)
  t.equal(bench.decide(synRecord()), 'slot 1')
  t.equal(bench.decide(synRecord({ sequence: 1001 })), 'slot 2')
  t.equal(bench.decide(synRecord({ sequence: 1001 })), 'slot 2')
  t.equal(bench.flows.size, 1)
})

t.test('a rejected flow stays rejected for packets that waited with the first', async (t) => {
  const bench = benchWith({ protocol: 'UDP' }, [])
  t.equal(bench.decide(datagramRecord()), 'reject')
  bench.vips.set(packedPort(portState(servicePort({ protocol: 'UDP' }), [one])))
  t.equal(bench.decide(datagramRecord()), 'reject')
  await bench.clock.advance(1001)
  t.equal(bench.decide(datagramRecord()), 'slot 1')
})

t.test('a dropped flow stays dropped, whoever had its place before', async (t) => {
  const bench = new SteeringBench({ capacity: 1 })
  const local = servicePort({ name: 'local', clusterIp: '10.96.0.11', internalPolicyLocal: true })
  bench.vips.set(packedPort(portState(servicePort(), [])))
  bench.vips.set(packedPort(portState(local, [one])))
  t.equal(bench.decide(synRecord()), 'reject')
  const packet = { to: '10.96.0.11:80' }
  t.equal(bench.decide(synRecord(packet)), 'drop')
  t.equal(bench.decide(synRecord(packet)), 'drop', 'the client repeats its SYN')
})

t.test('a repeated first packet whose endpoint has gone meanwhile goes to another', async (t) => {
  const bench = benchWith({}, [one, two])
  t.equal(bench.decide(synRecord()), 'slot 1')
  bench.vips.set(packedPort(portState(servicePort(), [two])))
  t.equal(bench.decide(synRecord()), 'slot 2')
})

t.test('a VIP that another Service port has taken over does not lead to the old one', async (t) => {
  const bench = benchWith({}, [one])
  t.equal(bench.decide(synRecord()), 'slot 1')
  bench.vips.set(packedPort(portState(servicePort({ name: 'other' }), [two])))
  bench.vips.remove(servicePort().id)
  t.equal(bench.decide(synRecord()), 'slot 2')
  bench.vips.remove(servicePort({ name: 'other' }).id)
  t.equal(bench.decide(synRecord()), 'accept')
})

t.test('affinity: a client stays with its endpoint, on all VIPs', async (t) => {
  const fields = { ...everywhere, affinityTimeoutSeconds: 10 }
  const bench = benchWith(fields, [one, two])
  t.equal(bench.decide(synRecord({ from: '10.0.0.5:1' })), 'slot 1')
  t.equal(bench.decide(synRecord({ from: '10.0.0.6:1' })), 'slot 2')
  t.equal(bench.decide(synRecord({ from: '10.0.0.6:2' })), 'slot 2')
  const to = KINDS['external IP']
  t.equal(bench.decide(synRecord({ from: '10.0.0.6:3', to })), 'slot 2 masqueraded')
  t.equal(bench.decide(synRecord({ from: '10.0.0.5:2' })), 'slot 1')
  await bench.clock.advance(10_000)
  t.equal(bench.decide(synRecord({ from: '10.0.0.6:4' })), 'slot 1', 'the time is over')
})

t.test('an ICMP error in a queue of first packets is none of ours', async (t) => {
  const bench = benchWith()
  t.equal(bench.decide(icmpErrorRecord({ protocol: IpProtocol.tcp })), 'accept')
  t.strictSame(bench.totals(), { passed: 1 })
})

t.test('a flow that makes room while its SYN may come again is counted', async (t) => {
  const bench = benchWith({}, [one], { capacity: 2 })
  const next = (port: number) => bench.decide(synRecord({ from: `10.0.0.5:${port}` }))
  for (const port of [1, 2]) next(port)
  await bench.clock.advance(900)
  next(3)
  t.equal(bench.totals().flowsForgotten, 1)
  await bench.clock.advance(200)
  next(4)
  t.equal(bench.totals().flowsForgotten, 1, 'old enough')
})
