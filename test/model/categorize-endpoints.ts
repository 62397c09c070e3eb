import t from 'tap'
import { categorizeEndpoints } from '../../src/model/categorize-endpoints.js'
import type { Endpoint } from '../../src/model/endpoint.js'
import type { ServicePort } from '../../src/model/service-port.js'
import { modelEndpoint, modelServicePort } from '../fixtures/objects.js'

const TOPOLOGY = { name: 'node-1', zone: 'zone-a' }
const LOCAL = { isLocal: true, nodeName: 'node-1' }
const NOT_READY = { isReady: false, isServing: false }
const DRAINING = { isReady: false, isServing: true, isTerminating: true }
const INTERNAL_LOCAL = { internalPolicyLocal: true }
const EXTERNAL_LOCAL = { externalPolicyLocal: true, nodePort: 30080 }
const zones = (...zoneHints: string[]): Partial<Endpoint> => ({ zoneHints })
const nodes = (...nodeHints: string[]): Partial<Endpoint> => ({ nodeHints })

/** Endpoints are written as one letter each: a is 10.0.0.1:80, b is 10.0.0.2:80, ... */
interface Row {
  readonly name: string
  readonly port?: Partial<ServicePort>
  readonly endpoints: readonly Partial<Endpoint>[]
  readonly zone?: string | undefined
  readonly cluster: string
  readonly local: string
  readonly reachable: string
  readonly hasAny: boolean
}

const ROWS: readonly Row[] = [
  {
    name: 'no endpoints at all give nothing',
    endpoints: [],
    cluster: '',
    local: '',
    reachable: '',
    hasAny: false,
  },
  {
    name: 'policy Cluster takes every ready endpoint, and no local set is made',
    endpoints: [LOCAL, {}, NOT_READY],
    cluster: 'ab',
    local: '',
    reachable: 'ab',
    hasAny: true,
  },
  {
    name: 'only endpoints that are neither ready nor serving count as none',
    endpoints: [NOT_READY, { ...LOCAL, ...NOT_READY }],
    port: { ...INTERNAL_LOCAL, ...EXTERNAL_LOCAL },
    cluster: '',
    local: '',
    reachable: '',
    hasAny: false,
  },
  {
    name: 'serving alone, without terminating, is not enough',
    endpoints: [{ isReady: false, isServing: true }],
    cluster: '',
    local: '',
    reachable: '',
    hasAny: false,
  },
  {
    name: 'terminating endpoints that serve are the fall-back of the cluster set',
    endpoints: [DRAINING, { ...DRAINING, isServing: false }, NOT_READY],
    cluster: 'a',
    local: '',
    reachable: 'a',
    hasAny: true,
  },
  {
    name: 'one ready endpoint keeps terminating ones out of the cluster set',
    endpoints: [DRAINING, {}],
    cluster: 'b',
    local: '',
    reachable: 'b',
    hasAny: true,
  },
  {
    name: 'internal Local without external access makes no cluster set',
    endpoints: [LOCAL, {}],
    port: INTERNAL_LOCAL,
    cluster: '',
    local: 'a',
    reachable: 'a',
    hasAny: true,
  },
  {
    name: 'internal Local with a node port makes both sets',
    endpoints: [LOCAL, {}],
    port: { ...INTERNAL_LOCAL, nodePort: 30080 },
    cluster: 'ab',
    local: 'a',
    reachable: 'ab',
    hasAny: true,
  },
  {
    name: 'external Local makes both sets, for short-circuiting',
    endpoints: [{}, LOCAL],
    port: EXTERNAL_LOCAL,
    cluster: 'ab',
    local: 'b',
    reachable: 'ab',
    hasAny: true,
  },
  {
    name: 'external Local on a port that nothing external leads to makes no local set',
    endpoints: [LOCAL, {}],
    port: { externalPolicyLocal: true },
    cluster: 'ab',
    local: '',
    reachable: 'ab',
    hasAny: true,
  },
  {
    name: 'a Local policy without a local endpoint knows that there are others',
    endpoints: [{}],
    port: INTERNAL_LOCAL,
    cluster: '',
    local: '',
    reachable: '',
    hasAny: true,
  },
  {
    name: 'a remote endpoint that drains counts as another',
    endpoints: [DRAINING],
    port: INTERNAL_LOCAL,
    cluster: '',
    local: '',
    reachable: '',
    hasAny: true,
  },
  {
    name: 'the local set falls back to draining ones although a remote one is ready',
    endpoints: [{ ...LOCAL, ...DRAINING }, {}],
    port: EXTERNAL_LOCAL,
    cluster: 'b',
    local: 'a',
    reachable: 'ab',
    hasAny: true,
  },
  {
    name: 'a local ready endpoint keeps local draining ones out',
    endpoints: [{ ...LOCAL, ...DRAINING }, LOCAL],
    port: INTERNAL_LOCAL,
    cluster: '',
    local: 'b',
    reachable: 'b',
    hasAny: true,
  },
  {
    name: 'zone hints on all ready endpoints select those for our zone',
    endpoints: [zones('zone-a'), zones('zone-b'), zones('zone-b', 'zone-a')],
    cluster: 'ac',
    local: '',
    reachable: 'ac',
    hasAny: true,
  },
  {
    name: 'zone hints are ignored when one ready endpoint has none',
    endpoints: [zones('zone-a'), zones('zone-b'), {}],
    cluster: 'abc',
    local: '',
    reachable: 'abc',
    hasAny: true,
  },
  {
    name: 'an endpoint that is not ready need not have hints',
    endpoints: [zones('zone-a'), zones('zone-b'), NOT_READY],
    cluster: 'a',
    local: '',
    reachable: 'a',
    hasAny: true,
  },
  {
    name: 'zone hints are ignored when none is for our zone',
    endpoints: [zones('zone-b'), zones('zone-c')],
    cluster: 'ab',
    local: '',
    reachable: 'ab',
    hasAny: true,
  },
  {
    name: 'a hint for our zone on an endpoint that is not ready does not count',
    endpoints: [{ ...zones('zone-a'), ...NOT_READY }, zones('zone-b')],
    cluster: 'b',
    local: '',
    reachable: 'b',
    hasAny: true,
  },
  {
    name: 'zone hints are ignored on a node without a zone',
    endpoints: [zones('zone-a'), zones('zone-b')],
    zone: undefined,
    cluster: 'ab',
    local: '',
    reachable: 'ab',
    hasAny: true,
  },
  {
    name: 'node hints come before zone hints',
    endpoints: [
      { ...nodes('node-1'), ...zones('zone-a') },
      { ...nodes('node-2'), ...zones('zone-a') },
    ],
    cluster: 'a',
    local: '',
    reachable: 'a',
    hasAny: true,
  },
  {
    name: 'an endpoint may be meant for several nodes',
    endpoints: [nodes('node-2', 'node-1'), nodes('node-2')],
    cluster: 'a',
    local: '',
    reachable: 'a',
    hasAny: true,
  },
  {
    name: 'without a node hint for us the zone hints decide',
    endpoints: [
      { ...nodes('node-2'), ...zones('zone-a') },
      { ...nodes('node-3'), ...zones('zone-b') },
    ],
    cluster: 'a',
    local: '',
    reachable: 'a',
    hasAny: true,
  },
  {
    name: 'node hints that one ready endpoint lacks leave it to the zone hints',
    endpoints: [{ ...nodes('node-1'), ...zones('zone-b') }, zones('zone-a')],
    cluster: 'b',
    local: '',
    reachable: 'b',
    hasAny: true,
  },
  {
    name: 'the draining fall-back ignores hints',
    endpoints: [
      { ...DRAINING, ...zones('zone-b') },
      { ...DRAINING, ...zones('zone-a') },
    ],
    cluster: 'ab',
    local: '',
    reachable: 'ab',
    hasAny: true,
  },
  {
    name: 'hints never touch the local set',
    endpoints: [{ ...LOCAL, ...zones('zone-b') }, zones('zone-a')],
    port: EXTERNAL_LOCAL,
    cluster: 'b',
    local: 'a',
    reachable: 'ab',
    hasAny: true,
  },
]

for (const row of ROWS) {
  t.test(row.name, async (t) => {
    const endpoints = row.endpoints.map((fields, i) => modelEndpoint(`10.0.0.${i + 1}:80`, fields))
    const letters = (list: readonly Endpoint[]): string =>
      list.map((endpoint) => 'abc'[endpoints.indexOf(endpoint)]).join('')
    const zone = 'zone' in row ? row.zone : TOPOLOGY.zone
    const result = categorizeEndpoints(endpoints, modelServicePort(row.port), { ...TOPOLOGY, zone })
    t.same(
      {
        cluster: letters(result.cluster),
        local: letters(result.local),
        reachable: letters(result.reachable),
        hasAny: result.hasAny,
      },
      { cluster: row.cluster, local: row.local, reachable: row.reachable, hasAny: row.hasAny },
    )
  })
}
