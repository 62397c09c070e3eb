import t from 'tap'
import { selectEndpoints, vipsOf, type SourceKind, type VipKind } from '../../src/model/vip.js'
import type { ServicePort } from '../../src/model/service-port.js'
import type { ServicePortState } from '../../src/model/snapshot.js'
import { modelEndpoint, modelServicePort } from '../fixtures/objects.js'

t.test('vipsOf lists every VIP in the order in which rules match', async (t) => {
  const port = modelServicePort({
    nodePort: 30080,
    externalIps: ['203.0.113.1'],
    loadBalancerVips: ['203.0.113.2'],
  })
  t.strictSame(vipsOf(port), [
    { kind: 'cluster-ip', address: '10.96.0.10', port: 80 },
    { kind: 'external-ip', address: '203.0.113.1', port: 80 },
    { kind: 'load-balancer-ip', address: '203.0.113.2', port: 80 },
    { kind: 'node-port', address: undefined, port: 30080 },
  ])
})

t.test('an address with two roles is listed once, by the first that matches', async (t) => {
  const port = modelServicePort({
    externalIps: ['203.0.113.1', '10.96.0.10'],
    loadBalancerVips: ['203.0.113.1'],
  })
  t.strictSame(vipsOf(port), [
    { kind: 'cluster-ip', address: '10.96.0.10', port: 80 },
    { kind: 'external-ip', address: '203.0.113.1', port: 80 },
  ])
})

const HERE = modelEndpoint('10.0.0.1:80', { isLocal: true })
const THERE = modelEndpoint('10.0.0.2:80')
const EXTERNAL: readonly VipKind[] = ['external-ip', 'load-balancer-ip', 'node-port']
const ALL: readonly VipKind[] = ['cluster-ip', ...EXTERNAL]
const SOURCES: readonly SourceKind[] = ['pod', 'node', 'other']

interface Row {
  readonly name: string
  readonly port?: Partial<ServicePort>
  readonly state: Partial<ServicePortState>
  readonly kinds: readonly VipKind[]
  readonly sources: readonly SourceKind[]
  readonly expected: 'cluster' | 'local' | 'reject' | 'drop'
}

const BOTH = { cluster: [HERE, THERE], local: [HERE], hasAny: true }
const ONLY_REMOTE = { cluster: [THERE], local: [], hasAny: true }
const NONE = { cluster: [], local: [], hasAny: false }

const ROWS: readonly Row[] = [
  {
    name: 'policies Cluster send everyone to the cluster set',
    state: BOTH,
    kinds: ALL,
    sources: SOURCES,
    expected: 'cluster',
  },
  {
    name: 'internal Local sends every client of the cluster IP to the local set',
    port: { internalPolicyLocal: true },
    state: BOTH,
    kinds: ['cluster-ip'],
    sources: SOURCES,
    expected: 'local',
  },
  {
    name: 'internal Local does not affect external destinations',
    port: { internalPolicyLocal: true },
    state: BOTH,
    kinds: EXTERNAL,
    sources: SOURCES,
    expected: 'cluster',
  },
  {
    name: 'external Local does not affect the cluster IP',
    port: { externalPolicyLocal: true },
    state: BOTH,
    kinds: ['cluster-ip'],
    sources: SOURCES,
    expected: 'cluster',
  },
  {
    name: 'external Local sends outsiders to the local set',
    port: { externalPolicyLocal: true },
    state: BOTH,
    kinds: EXTERNAL,
    sources: ['other'],
    expected: 'local',
  },
  {
    name: 'external Local short-circuits pods and the node to the cluster set',
    port: { externalPolicyLocal: true },
    state: BOTH,
    kinds: EXTERNAL,
    sources: ['pod', 'node'],
    expected: 'cluster',
  },
  {
    name: 'external Local drops outsiders when only others have endpoints',
    port: { externalPolicyLocal: true },
    state: ONLY_REMOTE,
    kinds: EXTERNAL,
    sources: ['other'],
    expected: 'drop',
  },
  {
    name: 'external Local still short-circuits when only others have endpoints',
    port: { externalPolicyLocal: true },
    state: ONLY_REMOTE,
    kinds: EXTERNAL,
    sources: ['pod', 'node'],
    expected: 'cluster',
  },
  {
    name: 'internal Local drops everyone when only others have endpoints',
    port: { internalPolicyLocal: true },
    state: { cluster: [], local: [], hasAny: true },
    kinds: ['cluster-ip'],
    sources: SOURCES,
    expected: 'drop',
  },
  {
    name: 'no endpoint anywhere rejects under policies Cluster',
    state: NONE,
    kinds: ALL,
    sources: SOURCES,
    expected: 'reject',
  },
  {
    name: 'no endpoint anywhere rejects under policies Local',
    port: { internalPolicyLocal: true, externalPolicyLocal: true },
    state: NONE,
    kinds: ALL,
    sources: SOURCES,
    expected: 'reject',
  },
]

for (const { name, port, state, kinds, sources, expected } of ROWS) {
  t.test(name, async (t) => {
    const servicePort = modelServicePort({ nodePort: 30080, ...port })
    const full = {
      servicePort,
      endpoints: [],
      cluster: [],
      local: [],
      reachable: [],
      hasAny: false,
      ...state,
    }
    for (const kind of kinds) {
      for (const source of sources) {
        const selection = selectEndpoints(full, kind, source)
        const got = selection.verdict === 'balance' ? selection.scope : selection.verdict
        t.equal(got, expected, `${source} to ${kind}`)
        if (selection.verdict === 'balance') t.equal(selection.endpoints, full[selection.scope])
      }
    }
  })
}
