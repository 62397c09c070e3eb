import t from 'tap'
import { allowedSources, type SourceOptions } from '../../src/model/allowed-sources.js'
import type { ServicePort } from '../../src/model/service-port.js'
import type { ServicePortState } from '../../src/model/snapshot.js'
import type { VipKind } from '../../src/model/vip.js'
import { modelEndpoint, modelServicePort, ranges } from '../fixtures/objects.js'

const NODE_IPS = ['192.168.0.1', 'fd00::1']
const LOCAL_SOURCES = ranges('10.0.0.0/16', '192.168.0.1/32')
const EVERY_KIND: readonly VipKind[] = [
  'cluster-ip',
  'external-ip',
  'load-balancer-ip',
  'node-port',
]
const EXTERNAL = EVERY_KIND.slice(1)
const LOCAL_POLICY = { externalPolicyLocal: true, nodePort: 30080 }
const ONLY_REMOTE = { cluster: [modelEndpoint('10.0.0.2:80')], hasAny: true }

interface Row {
  readonly name: string
  readonly port?: Partial<ServicePort>
  readonly state?: Partial<ServicePortState>
  readonly options?: Partial<SourceOptions>
  readonly kinds: readonly VipKind[]
  readonly expected: 'all' | readonly string[]
}

const GUARDED = {
  loadBalancerVips: ['203.0.113.1', '203.0.113.2'],
  loadBalancerSourceRanges: ranges('198.51.100.0/24'),
}
const GUARDED_WITH_NODE = {
  ...GUARDED,
  loadBalancerSourceRanges: ranges('198.51.100.0/24', '192.168.0.0/24'),
}

const ROWS: readonly Row[] = [
  { name: 'without ranges everyone may come', kinds: EVERY_KIND, expected: 'all' },
  {
    name: 'source ranges guard load-balancer IPs',
    port: GUARDED,
    kinds: ['load-balancer-ip'],
    expected: ['198.51.100.0/24'],
  },
  {
    name: 'source ranges guard nothing else, node ports least of all',
    port: GUARDED,
    kinds: ['cluster-ip', 'external-ip', 'node-port'],
    expected: 'all',
  },
  {
    name: 'ranges that let the node in let it come from each load-balancer IP too',
    port: GUARDED_WITH_NODE,
    kinds: ['load-balancer-ip'],
    expected: ['198.51.100.0/24', '192.168.0.0/24', '203.0.113.1/32', '203.0.113.2/32'],
  },
  {
    name: 'ranges guard no port without any endpoint: everyone is refused',
    port: { ...GUARDED, ...LOCAL_POLICY },
    state: { hasAny: false },
    kinds: ['load-balancer-ip'],
    expected: 'all',
  },
  {
    name: 'external Local with local endpoints lets everyone come',
    port: LOCAL_POLICY,
    state: { ...ONLY_REMOTE, local: [modelEndpoint('10.0.0.1:80')] },
    kinds: EVERY_KIND,
    expected: 'all',
  },
  {
    name: 'external Local without local endpoints serves those that are short-circuited',
    port: LOCAL_POLICY,
    state: ONLY_REMOTE,
    kinds: EXTERNAL,
    expected: ['10.0.0.0/16', '192.168.0.1/32'],
  },
  {
    name: 'it leaves the cluster IP alone',
    port: LOCAL_POLICY,
    state: ONLY_REMOTE,
    kinds: ['cluster-ip'],
    expected: 'all',
  },
  {
    name: 'without local sources nobody is short-circuited',
    port: LOCAL_POLICY,
    state: ONLY_REMOTE,
    options: { localSources: [] },
    kinds: EXTERNAL,
    expected: [],
  },
  {
    name: 'without any endpoint everyone may come, to be rejected',
    port: LOCAL_POLICY,
    state: { hasAny: false },
    kinds: EXTERNAL,
    expected: 'all',
  },
  {
    name: 'both conditions hold together',
    port: { ...GUARDED_WITH_NODE, ...LOCAL_POLICY },
    state: ONLY_REMOTE,
    kinds: ['load-balancer-ip'],
    expected: ['192.168.0.1/32'],
  },
  {
    name: 'internal Local has no say in who may come',
    port: { internalPolicyLocal: true, nodePort: 30080 },
    state: ONLY_REMOTE,
    kinds: EVERY_KIND,
    expected: 'all',
  },
]

for (const row of ROWS) {
  t.test(row.name, async (t) => {
    const state = {
      servicePort: modelServicePort(row.port),
      endpoints: [],
      cluster: [],
      local: [],
      reachable: [],
      hasAny: true,
      ...row.state,
    }
    const options = { localSources: LOCAL_SOURCES, nodeIps: NODE_IPS, ...row.options }
    for (const kind of row.kinds) {
      const allowed = allowedSources(state, kind, options)
      t.same(allowed === 'all' ? 'all' : allowed.map(({ text }) => text), row.expected, kind)
    }
  })
}
