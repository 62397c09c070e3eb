import type { V1Endpoint, V1EndpointSlice } from '@kubernetes/client-node'
import fc from 'fast-check'
import t from 'tap'
import { plainEndpoint } from '../../src/model/compact-endpoint.js'
import { EndpointSliceCache, endpointsUnder } from '../../src/model/endpoint-slice-cache.js'
import type { Endpoint } from '../../src/model/endpoint.js'
import { endpointSlice, type EndpointSliceOptions, type Plain } from '../fixtures/objects.js'

const NODE = 'node-1'

function endpointsIn(...slices: readonly EndpointSliceOptions[]): readonly Endpoint[] {
  const cache = new EndpointSliceCache(NODE)
  for (const options of slices)
    cache.apply(`demo/${options.name ?? 'echo-1'}`, endpointSlice(options))
  return endpointsUnder(cache.endpointsOf('demo/echo', 'IPv4'), 'http/TCP')
}

const idsIn = (...slices: readonly EndpointSliceOptions[]): readonly string[] =>
  endpointsIn(...slices).map(({ id }) => id)

t.test('an endpoint is translated whole', async (t) => {
  const endpoint: Plain<V1Endpoint> = {
    addresses: ['10.0.0.1'],
    conditions: { ready: false, serving: true, terminating: true },
    nodeName: NODE,
    zone: 'a',
    targetRef: { kind: 'Pod', name: 'echo-x' },
    hints: { forZones: [{ name: 'a' }, { name: 'b' }], forNodes: [{ name: NODE }] },
  }
  t.strictSame(endpointsIn({ endpoints: [endpoint] }).map(plainEndpoint), [
    {
      id: '10.0.0.1:8080',
      ip: '10.0.0.1',
      port: 8080,
      isLocal: true,
      isReady: false,
      isServing: true,
      isTerminating: true,
      weight: 1,
      zoneHints: ['a', 'b'],
      nodeHints: [NODE],
      nodeName: NODE,
      zone: 'a',
      podName: 'echo-x',
    },
  ])
})

t.test('absent fields have the defaults of the API', async (t) => {
  t.match(endpointsIn({ endpoints: ['10.0.0.1'] })[0], {
    isReady: true,
    isServing: true,
    isTerminating: false,
    isLocal: false,
    nodeName: undefined,
    podName: undefined,
  })
})

const CONDITIONS: readonly (readonly [name: string, Plain<V1Endpoint>['conditions'], object])[] = [
  ['ready true is ready', { ready: true }, { isReady: true, isServing: true }],
  [
    'ready false is not ready, and still serving',
    { ready: false },
    { isReady: false, isServing: true },
  ],
  ['serving false is not serving', { ready: false, serving: false }, { isServing: false }],
  ['terminating true is terminating', { terminating: true }, { isTerminating: true }],
]
for (const [name, conditions, expected] of CONDITIONS) {
  t.test(`condition ${name}`, async (t) => {
    const endpoint = { addresses: ['10.0.0.1'], ...(conditions && { conditions }) }
    t.match(endpointsIn({ endpoints: [endpoint] })[0], expected)
  })
}

const IDS: readonly (readonly [name: string, slices: EndpointSliceOptions[], ids: string[]])[] = [
  [
    'endpoints are sorted by the text of ip:port',
    [{ endpoints: ['10.0.0.2', '10.0.0.10', '10.0.0.1'] }],
    ['10.0.0.10:8080', '10.0.0.1:8080', '10.0.0.2:8080'],
  ],
  [
    'only the first address of an endpoint counts',
    [{ endpoints: [{ addresses: ['10.0.0.1', '10.0.0.2'] }] }],
    ['10.0.0.1:8080'],
  ],
  ['addresses are parsed sloppily', [{ endpoints: ['010.000.0.041'] }], ['10.0.0.41:8080']],
  ['a bad address costs only its endpoint', [{ endpoints: ['x', '10.0.0.1'] }], ['10.0.0.1:8080']],
  ['an address of the other family is left out', [{ endpoints: ['fd00::1'] }], []],
  ['no address at all', [{ endpoints: [{ addresses: [] }] }], []],
  ['a slice of FQDNs is ignored', [{ addressType: 'FQDN', endpoints: ['example.com'] }], []],
  ['an IPv6 slice is not of this family', [{ addressType: 'IPv6', endpoints: ['fd00::1'] }], []],
  ['a slice without a Service', [{ serviceName: undefined, endpoints: ['10.0.0.1'] }], []],
  ['a slice of another namespace', [{ namespace: 'other', endpoints: ['10.0.0.1'] }], []],
  [
    'a slice of a headless Service, whatever the value of the label',
    [{ labels: { 'service.kubernetes.io/headless': '' }, endpoints: ['10.0.0.1'] }],
    [],
  ],
  [
    'who manages a slice does not matter',
    [{ labels: { 'endpointslice.kubernetes.io/managed-by': 'me' }, endpoints: ['10.0.0.1'] }],
    ['10.0.0.1:8080'],
  ],
  ['a port without a name', [{ ports: [{ port: 8080 }], endpoints: ['10.0.0.1'] }], []],
  ['a port of another name', [{ ports: [{ name: 'x', port: 80 }], endpoints: ['10.0.0.1'] }], []],
  [
    'a port of another protocol',
    [{ ports: [{ name: 'http', port: 80, protocol: 'UDP' }], endpoints: ['10.0.0.1'] }],
    [],
  ],
  ['a port without a number', [{ ports: [{ name: 'http' }], endpoints: ['10.0.0.1'] }], []],
  ['port 0', [{ ports: [{ name: 'http', port: 0 }], endpoints: ['10.0.0.1'] }], []],
  [
    'TCP is the default protocol',
    [{ ports: [{ name: 'http', port: 8080 }], endpoints: ['10.0.0.1'] }],
    ['10.0.0.1:8080'],
  ],
  [
    'slices may have different numbers for one port name',
    [
      { name: 'echo-1', endpoints: ['10.0.0.1'] },
      { name: 'echo-2', ports: [{ name: 'http', port: 9090 }], endpoints: ['10.0.0.2'] },
    ],
    ['10.0.0.1:8080', '10.0.0.2:9090'],
  ],
]
for (const [name, slices, ids] of IDS) {
  t.test(name, async (t) => {
    t.same(idsIn(...slices), [...ids].sort())
  })
}

const serving = { addresses: ['10.0.0.1'], nodeName: 'new' }
const terminating = { addresses: ['10.0.0.1'], nodeName: 'old', conditions: { terminating: true } }
const DUPLICATES: readonly (readonly [name: string, Plain<V1Endpoint>[], winner: string])[] = [
  ['the last one wins', [{ addresses: ['10.0.0.1'], nodeName: 'first' }, serving], 'new'],
  ['a terminating one does not replace another', [serving, terminating], 'new'],
  ['a terminating one is replaced', [terminating, serving], 'new'],
  [
    'a terminating one does not replace one of its like',
    [terminating, { ...terminating, nodeName: 'later' }],
    'old',
  ],
]
for (const [name, endpoints, winner] of DUPLICATES) {
  t.test(`the same ip:port twice in a slice: ${name}`, async (t) => {
    t.same(
      endpointsIn({ endpoints }).map(({ nodeName }) => nodeName),
      [winner],
    )
  })
  t.test(`the same ip:port in two slices: ${name}, in any order of arrival`, async (t) => {
    const slices = endpoints.map((endpoint, i) => ({ name: `echo-${i}`, endpoints: [endpoint] }))
    const winners = [slices, [...slices].reverse()].map(
      (order) => endpointsIn(...order)[0]?.nodeName,
    )
    t.same(winners, [winner, winner])
  })
}

t.test('a slice that changes its Service touches both', async (t) => {
  const cache = new EndpointSliceCache(NODE)
  t.same(cache.apply('demo/s', endpointSlice({ name: 's' })).serviceKeys, ['demo/echo'])
  t.same(cache.apply('demo/s', endpointSlice({ name: 's', serviceName: 'web' })).serviceKeys, [
    'demo/echo',
    'demo/web',
  ])
  t.same(cache.delete('demo/s'), ['demo/web'])
  t.same(cache.delete('demo/s'), [], 'a slice that is gone touches nothing')
})

t.test('problems name the slice and the field', async (t) => {
  const { problems } = new EndpointSliceCache(NODE).apply(
    'demo/echo-1',
    endpointSlice({ ports: [{ port: 80 }, { name: 'x', port: 0 }], endpoints: ['10.0.0.300'] }),
  )
  t.match(problems, [
    { object: 'EndpointSlice demo/echo-1', field: 'ports[0].name' },
    { field: 'ports[1].port' },
    {
      field: 'endpoints[0].addresses[0]',
      message: '"10.0.0.300" is not an IPv4 address; the endpoint is left out',
    },
  ])
})

t.test('no slice makes it throw', async () => {
  const slice = fc.record({
    metadata: fc.oneof(
      fc.constant({ name: 's', labels: { 'kubernetes.io/service-name': 'echo' } }),
      fc.anything(),
    ),
    addressType: fc.oneof(fc.constant('IPv4'), fc.anything()),
    ports: fc.oneof(fc.array(fc.anything()), fc.constant([{ name: 'http', port: 80 }])),
    endpoints: fc.oneof(
      fc.array(
        fc.record({
          addresses: fc.oneof(fc.constant(['10.0.0.1']), fc.anything()),
          conditions: fc.anything(),
          hints: fc.oneof(fc.record({ forZones: fc.anything() }), fc.anything()),
          targetRef: fc.anything(),
        }),
      ),
      fc.anything(),
    ),
  })
  fc.assert(
    fc.property(slice, (garbage) => {
      const cache = new EndpointSliceCache(NODE)
      cache.apply('demo/s', garbage as unknown as V1EndpointSlice)
      cache.endpointsOf('default/echo', 'IPv4')
    }),
    { numRuns: 500 },
  )
})
