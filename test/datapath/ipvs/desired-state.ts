import t from 'tap'

import { desiredState, PartCache } from '../../../src/datapath/ipvs/desired-state.js'
import type { PartOptions } from '../../../src/datapath/ipvs/port-part.js'
import { creation } from '../../../src/kernel/ipvs-changes.js'
import type { ServicePort } from '../../../src/model/service-port.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'
import { ranges } from '../../fixtures/objects.js'

const OPTIONS: PartOptions = {
  family: 'IPv4',
  nodePortAddresses: ['192.168.0.1'],
  ownAddresses: new Set(['127.0.0.1', '192.168.0.1']),
  nodeIps: ['192.168.0.1'],
  defaultScheduler: 'rr',
}
const here = endpoint('10.0.0.1', 8080, { isLocal: true })
const there = endpoint('10.0.0.2', 8080, { nodeName: 'node-b' })
const both = [here, there]

/** Everything of the state as text, with empty sets left out. */
function stateOf(over: Partial<ServicePort>, endpoints = both, options = OPTIONS) {
  const state = desiredState(snapshotOf([portState(servicePort(over), endpoints)]), options)
  const sets = [...state.entries].filter(([, entries]) => entries.size > 0)
  return {
    servers: [...state.servers.values()].flatMap(creation),
    bound: [...state.bound],
    sets: Object.fromEntries(sets.map(([name, entries]) => [name, [...entries]])),
    shortCircuits: state.shortCircuits.map(({ vips, endpoints: all }) => [
      vips.map(({ address, port }) => `${address}:${port}`).join(' '),
      all.map(({ id }) => id).join(' '),
    ]),
    warnings: state.warnings,
  }
}

t.test('a cluster IP', async (t) => {
  t.strictSame(stateOf({}), {
    servers: [
      '-A -t 10.96.0.10:80 -s rr',
      '-a -t 10.96.0.10:80 -r 10.0.0.1:8080 -m -w 1',
      '-a -t 10.96.0.10:80 -r 10.0.0.2:8080 -m -w 1',
    ],
    bound: ['10.96.0.10'],
    sets: {
      'KUBE-LOOP-BACK': ['10.0.0.1,tcp:8080,10.0.0.1'],
      'KUBE-CLUSTER-IP': ['10.96.0.10,tcp:80'],
    },
    shortCircuits: [],
    warnings: [],
  })
})

t.test('node ports: at the addresses of the node, which are not bound once more', async (t) => {
  const { servers, bound, sets } = stateOf({ nodePort: 30080, externalIps: ['192.168.0.1'] })
  t.strictSame(
    servers.filter((line) => line.startsWith('-A')),
    ['-A -t 10.96.0.10:80 -s rr', '-A -t 192.168.0.1:80 -s rr', '-A -t 192.168.0.1:30080 -s rr'],
  )
  t.strictSame(bound, ['10.96.0.10'])
  t.match(sets, { 'KUBE-NODE-PORT-TCP': ['30080'], 'KUBE-EXTERNAL-IP': ['192.168.0.1,tcp:80'] })
  t.match(stateOf({ nodePort: 30080, protocol: 'SCTP', externalPolicyLocal: true }).sets, {
    'KUBE-NODE-PORT-LOCAL-SCTP-HASH': ['192.168.0.1,sctp:30080'],
  })
  t.match(stateOf({ healthCheckNodePort: 31000 }).sets, {
    'KUBE-HEALTH-CHECK-NODE-PORT': ['31000'],
  })
})

t.test('externalTrafficPolicy Local: local real servers, others by rules', async (t) => {
  const { servers, sets, shortCircuits } = stateOf({
    externalPolicyLocal: true,
    loadBalancerVips: ['192.0.2.1'],
    nodePort: 30080,
  })
  t.strictSame(
    servers.filter((line) => line.includes('192.0.2.1')),
    ['-A -t 192.0.2.1:80 -s rr', '-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 1'],
  )
  t.match(sets, {
    'KUBE-LOAD-BALANCER': ['192.0.2.1,tcp:80'],
    'KUBE-LOAD-BALANCER-LOCAL': ['192.0.2.1,tcp:80'],
    'KUBE-NODE-PORT-LOCAL-TCP': ['30080'],
    'KUBE-SLUICE-LOCAL': ['192.0.2.1,tcp:80', '192.168.0.1,tcp:30080'],
  })
  t.strictSame(shortCircuits, [['192.0.2.1:80 192.168.0.1:30080', '10.0.0.1:8080 10.0.0.2:8080']])
})

t.test('a Local policy without an endpoint here: no virtual server, dropped', async (t) => {
  const external = stateOf({ externalPolicyLocal: true, externalIps: ['192.0.2.1'] }, [there])
  t.notOk(external.servers.some((line) => line.includes('192.0.2.1')))
  t.strictSame(external.bound, ['10.96.0.10', '192.0.2.1'])
  t.match(external.sets, { 'KUBE-SLUICE-DROP': ['192.0.2.1,tcp:80'] })
  t.equal(external.shortCircuits.length, 1, 'pods and the node are served')
  const internal = stateOf({ internalPolicyLocal: true }, [there])
  t.strictSame(internal.servers, [])
  t.match(internal.sets, { 'KUBE-SLUICE-DROP': ['10.96.0.10,tcp:80'] })
})

t.test('no endpoint anywhere: a virtual server without real ones, which refuses', async (t) => {
  const { servers, sets, shortCircuits } = stateOf({ internalPolicyLocal: true }, [])
  t.strictSame(servers, ['-A -t 10.96.0.10:80 -s rr'])
  t.notOk('KUBE-SLUICE-DROP' in sets)
  t.strictSame(shortCircuits, [])
})

t.test('source ranges, and whether the node may pass', async (t) => {
  const over = { loadBalancerVips: ['192.0.2.1'], protocol: 'UDP' } as const
  const closed = stateOf({ ...over, loadBalancerSourceRanges: ranges('203.0.113.0/24') })
  t.match(closed.sets, {
    'KUBE-LOAD-BALANCER-FW': ['192.0.2.1,udp:80'],
    'KUBE-LOAD-BALANCER-SOURCE-CIDR': ['192.0.2.1,udp:80,203.0.113.0/24'],
  })
  t.notOk('KUBE-LOAD-BALANCER-SOURCE-IP' in closed.sets)
  const open = stateOf({ ...over, loadBalancerSourceRanges: ranges('192.168.0.0/24') })
  t.match(open.sets, { 'KUBE-LOAD-BALANCER-SOURCE-IP': ['192.0.2.1,udp:80,192.0.2.1'] })
  const refused = stateOf({ ...over, loadBalancerSourceRanges: ranges('203.0.113.0/24') }, [])
  t.notOk('KUBE-LOAD-BALANCER-FW' in refused.sets, 'without endpoints everyone is refused')
})

t.test('affinity, weights and schedulers', async (t) => {
  const first = (over: Partial<ServicePort>, endpoints = both, options = OPTIONS) =>
    stateOf(over, endpoints, options).servers[0]
  const balancer = (name: string) => ({ annotations: { balancer: name } })
  t.equal(first({ affinityTimeoutSeconds: 600 }), '-A -t 10.96.0.10:80 -s rr -p 600')
  t.equal(first(balancer('weighted-round-robin')), '-A -t 10.96.0.10:80 -s wrr')
  t.equal(first(balancer('least-connections')), '-A -t 10.96.0.10:80 -s lc')
  t.equal(first(balancer('weighted-least-connections')), '-A -t 10.96.0.10:80 -s wlc')
  t.equal(first(balancer('nonsense')), '-A -t 10.96.0.10:80 -s rr', 'told where it is read')
  const maglev = { ...OPTIONS, defaultScheduler: 'mh' }
  t.equal(first({}, both, maglev), '-A -t 10.96.0.10:80 -s mh -b mh-fallback,mh-port')
  t.equal(
    first({}, both, { ...OPTIONS, defaultScheduler: 'sh' }),
    '-A -t 10.96.0.10:80 -s sh -b sh-fallback',
  )
  const heavy = endpoint('10.0.0.3', 8080, { weight: 7 })
  const drained = endpoint('10.0.0.4', 8080, { weight: 0 })
  t.strictSame(stateOf({}, [there, heavy, drained]).servers, [
    '-A -t 10.96.0.10:80 -s wrr',
    '-a -t 10.96.0.10:80 -r 10.0.0.2:8080 -m -w 1',
    '-a -t 10.96.0.10:80 -r 10.0.0.3:8080 -m -w 7',
    '-a -t 10.96.0.10:80 -r 10.0.0.4:8080 -m -w 0',
  ])
  t.equal(first({}, [there, drained]), '-A -t 10.96.0.10:80 -s rr', 'nothing to weigh')
})

t.test('two Service ports want one VIP: the first has it', async (t) => {
  const states = ['a', 'b'].map((name) => portState(servicePort({ name }), both))
  const { servers, warnings } = desiredState(snapshotOf(states), OPTIONS)
  t.equal(servers.size, 1)
  t.match(warnings, [/^Service port demo\/b: TCP 10\.96\.0\.10:80 belongs to demo\/a/])
})

t.test('what did not change is the same object, and options count', async (t) => {
  const cache = new PartCache()
  const [one, other] = ['10.96.0.1', '10.96.0.2'].map((clusterIp) =>
    portState(servicePort({ name: clusterIp, clusterIp }), both),
  )
  const serversOf = (states: Parameters<typeof snapshotOf>[0], options = OPTIONS) =>
    desiredState(snapshotOf(states), options, cache).servers
  const before = serversOf([one!, other!])
  const after = serversOf([one!, { ...other!, cluster: [here] }])
  t.equal(after.get('TCP 10.96.0.1:80'), before.get('TCP 10.96.0.1:80'))
  t.not(after.get('TCP 10.96.0.2:80'), before.get('TCP 10.96.0.2:80'))
  const wrr = serversOf([one!], { ...OPTIONS, defaultScheduler: 'wrr' })
  t.equal(wrr.get('TCP 10.96.0.1:80')?.scheduler, 'wrr')
})

t.test('IPv6 beside IPv4: each family sees its own', async (t) => {
  const six = endpoint('fd00::1', 8080)
  const snapshot = snapshotOf([
    portState(servicePort(), both),
    portState(servicePort({ ipFamily: 'IPv6', clusterIp: 'fd96::1' }), [six]),
  ])
  const { servers } = desiredState(snapshot, { ...OPTIONS, family: 'IPv6' })
  t.strictSame([...servers.values()].flatMap(creation), [
    '-A -t [fd96::1]:80 -s rr',
    '-a -t [fd96::1]:80 -r [fd00::1]:8080 -m -w 1',
  ])
})
