import type { V1Service } from '@kubernetes/client-node'
import fc from 'fast-check'
import t from 'tap'
import type { ServicePort } from '../../src/model/service-port.js'
import { translateService } from '../../src/model/translate-service.js'
import { service, type ServiceOptions } from '../fixtures/objects.js'

const LOCAL = { externalTrafficPolicy: 'Local' }
const ipv4Port = (options: ServiceOptions): ServicePort | undefined =>
  translateService(service(options), 'IPv4').servicePorts[0]

t.test('an ordinary Service is translated whole', async (t) => {
  const translated = translateService(
    service({
      metadata: {
        annotations: { 'kube-sluice.io/balancer': 'maglev', 'example.com/other': 'x' },
      },
      spec: { ports: [{ name: 'http', port: 80, nodePort: 30080, protocol: 'TCP' }] },
    }),
    'IPv4',
  )
  t.strictSame(translated, {
    servicePorts: [
      {
        id: 'demo/echo:http/TCP/IPv4',
        namespace: 'demo',
        name: 'echo',
        portName: 'http',
        appProtocol: undefined,
        protocol: 'TCP',
        ipFamily: 'IPv4',
        clusterIp: '10.96.0.10',
        port: 80,
        nodePort: 30080,
        externalIps: [],
        loadBalancerVips: [],
        loadBalancerSourceRanges: [],
        affinityTimeoutSeconds: undefined,
        internalPolicyLocal: false,
        externalPolicyLocal: false,
        healthCheckNodePort: undefined,
        annotations: { balancer: 'maglev' },
      },
    ],
    problems: [],
  })
})

const SKIPPED: readonly (readonly [name: string, options: ServiceOptions])[] = [
  ['a Service without a cluster IP', { spec: { clusterIP: '' } }],
  ['a headless Service', { spec: { clusterIP: 'None' } }],
  ['an ExternalName Service, even with a cluster IP', { spec: { type: 'ExternalName' } }],
  [
    'a Service of another proxy',
    { metadata: { labels: { 'service.kubernetes.io/service-proxy-name': 'other' } } },
  ],
  [
    'a Service with an empty service-proxy-name label',
    { metadata: { labels: { 'service.kubernetes.io/service-proxy-name': '' } } },
  ],
  ['a Service of the other family only', { spec: { clusterIP: 'fd00::10' } }],
  [
    'a Service whose ipFamilies name only the other family',
    { spec: { clusterIP: 'fd00::10', clusterIPs: ['fd00::10'], ipFamilies: ['IPv6'] } },
  ],
]
for (const [name, options] of SKIPPED) {
  t.test(`${name} is skipped without a problem`, async (t) => {
    t.strictSame(translateService(service(options), 'IPv4'), { servicePorts: [], problems: [] })
  })
}

t.test('the headless label means something on EndpointSlices only', async (t) => {
  const labels = { 'service.kubernetes.io/headless': '' }
  t.equal(ipv4Port({ metadata: { labels } })?.clusterIp, '10.96.0.10')
})

t.test('cluster IPs by family', async (t) => {
  const dual = { clusterIP: 'fd00::10', clusterIPs: ['fd00::10', '10.96.0.11'] }
  const of = (spec: ServiceOptions['spec'], family: 'IPv4' | 'IPv6'): string | undefined =>
    translateService(service({ spec: spec ?? {} }), family).servicePorts[0]?.clusterIp
  t.equal(of({ ...dual, ipFamilies: ['IPv6', 'IPv4'] }, 'IPv4'), '10.96.0.11')
  t.equal(of({ ...dual, ipFamilies: ['IPv6', 'IPv4'] }, 'IPv6'), 'fd00::10')
  t.equal(of({ ...dual, ipFamilies: ['IPv6'] }, 'IPv4'), undefined, 'only the named families')
  t.equal(of(dual, 'IPv4'), '10.96.0.11', 'without ipFamilies each address speaks for itself')
  t.equal(of({ clusterIP: '10.96.0.12', ipFamilies: ['IPv4'] }, 'IPv4'), '10.96.0.12')
  t.equal(of({ clusterIP: '172.30.0.041' }, 'IPv4'), '172.30.0.41', 'sloppy address')
})

t.test('one state a port and protocol, ids with and without a port name', async (t) => {
  const { servicePorts } = translateService(
    service({
      spec: {
        ports: [
          { port: 53, protocol: 'UDP' },
          { port: 53, protocol: 'TCP', name: '' },
          { port: 9153, name: 'metrics' },
        ],
      },
    }),
    'IPv4',
  )
  t.same(
    servicePorts.map(({ id }) => id),
    ['demo/echo/UDP/IPv4', 'demo/echo/TCP/IPv4', 'demo/echo:metrics/TCP/IPv4'],
  )
})

t.test('external IPs are canonical, of the family and without repetition', async (t) => {
  const spec = { externalIPs: ['203.0.113.007', ' 203.0.113.7', 'fd00::7', '198.51.100.1'] }
  t.same(ipv4Port({ spec })?.externalIps, ['203.0.113.7', '198.51.100.1'])
})

t.test('load-balancer IPs', async (t) => {
  const ingress = [
    { ip: '203.0.113.1' },
    { ip: '203.0.113.2', ipMode: 'VIP' },
    { ip: '203.0.113.3', ipMode: 'Proxy' },
    { hostname: 'lb.example.com' },
    { ip: 'fd00::1' },
  ]
  t.same(ipv4Port({ spec: { type: 'LoadBalancer' }, ingress })?.loadBalancerVips, [
    '203.0.113.1',
    '203.0.113.2',
  ])
})

const SOURCE_RANGES: readonly (readonly [name: string, given: string[], used: string[]])[] = [
  ['trimmed, sloppy, canonical', [' 203.0.113.000/025 '], ['203.0.113.0/25']],
  ['filtered to the family', ['10.0.0.0/8', 'fd00::/8'], ['10.0.0.0/8']],
  ['a /0 makes the list empty', ['10.0.0.0/8', '0.0.0.0/0'], []],
  ['a /0 of the other family does not', ['10.0.0.0/8', '::/0'], ['10.0.0.0/8']],
  ['only ranges of the other family allow everyone', ['fd00::/8'], []],
]
for (const [name, given, used] of SOURCE_RANGES) {
  t.test(`loadBalancerSourceRanges: ${name}`, async (t) => {
    const port = ipv4Port({ spec: { type: 'LoadBalancer', loadBalancerSourceRanges: given } })
    t.same(
      port?.loadBalancerSourceRanges.map(({ text }) => text),
      used,
    )
  })
}

const EXTERNAL_POLICY: readonly (readonly [string, ServiceOptions['spec'], boolean])[] = [
  ['LoadBalancer', { type: 'LoadBalancer', ...LOCAL, healthCheckNodePort: 31000 }, true],
  ['NodePort', { type: 'NodePort', ...LOCAL }, true],
  ['ClusterIP with external IPs', { externalIPs: ['203.0.113.1'], ...LOCAL }, true],
  ['ClusterIP without external IPs', { ...LOCAL }, false],
  ['LoadBalancer with policy Cluster', { type: 'LoadBalancer' }, false],
]
for (const [name, spec, isLocal] of EXTERNAL_POLICY) {
  t.test(
    `externalTrafficPolicy Local on ${name} means ${isLocal ? 'Local' : 'nothing'}`,
    async (t) => {
      t.equal(ipv4Port({ spec: spec ?? {} })?.externalPolicyLocal, isLocal)
    },
  )
}

t.test('internalTrafficPolicy', async (t) => {
  t.equal(ipv4Port({})?.internalPolicyLocal, false, 'absent is Cluster')
  t.equal(ipv4Port({ spec: { internalTrafficPolicy: 'Local' } })?.internalPolicyLocal, true)
})

t.test('session affinity', async (t) => {
  const seconds = (spec: ServiceOptions['spec']): number | undefined =>
    ipv4Port({ spec: spec ?? {} })?.affinityTimeoutSeconds
  const config = (timeoutSeconds: number): object => ({ clientIP: { timeoutSeconds } })
  t.equal(seconds({ sessionAffinity: 'None' }), undefined)
  t.equal(seconds({ sessionAffinity: 'ClientIP' }), 10800, 'the API default')
  t.equal(seconds({ sessionAffinity: 'ClientIP', sessionAffinityConfig: config(60) }), 60)
  t.equal(seconds({ sessionAffinity: 'ClientIP', sessionAffinityConfig: config(86401) }), 10800)
  t.equal(seconds({ sessionAffinityConfig: config(60) }), undefined, 'a config alone is nothing')
})

t.test('the health-check node port is for LoadBalancer with policy Local only', async (t) => {
  const port = (spec: ServiceOptions['spec']): number | undefined =>
    ipv4Port({ spec: { ...spec, healthCheckNodePort: 31000 } })?.healthCheckNodePort
  t.equal(port({ type: 'LoadBalancer', ...LOCAL }), 31000)
  t.equal(port({ type: 'LoadBalancer' }), undefined)
  t.equal(port({ type: 'NodePort', ...LOCAL }), undefined)
})

const PROBLEMS: readonly (readonly [name: string, ServiceOptions, fields: string[]])[] = [
  [
    'a bad external IP',
    { spec: { externalIPs: ['203.0.113.1', '10.0.0.300'] } },
    ['spec.externalIPs[1]'],
  ],
  ['a bad load-balancer IP', { ingress: [{ ip: 'x' }] }, ['status.loadBalancer.ingress[0].ip']],
  [
    'a bad source range',
    { spec: { loadBalancerSourceRanges: ['10.0.0.0'] } },
    ['spec.loadBalancerSourceRanges[0]'],
  ],
  ['a bad cluster IP', { spec: { clusterIP: '10.96.0' } }, ['spec.clusterIP']],
  [
    'an unknown policy',
    { spec: { internalTrafficPolicy: 'Near' } },
    ['spec.internalTrafficPolicy'],
  ],
  ['an unknown affinity', { spec: { sessionAffinity: 'Cookie' } }, ['spec.sessionAffinity']],
  ['a bad name', { name: 'a/b' }, ['metadata.name']],
  [
    'no health-check node port under policy Local',
    { spec: { type: 'LoadBalancer', ...LOCAL, healthCheckNodePort: 0 } },
    ['spec.healthCheckNodePort'],
  ],
  [
    'bad ports',
    {
      spec: {
        ports: [
          { port: 0 },
          { port: 80, name: 'a b' },
          { port: 80, protocol: 'ICMP' },
          { port: 80, nodePort: 70000 },
          { port: 81 },
        ],
      },
    },
    [
      'spec.ports[0].port',
      'spec.ports[1].name',
      'spec.ports[2].protocol',
      'spec.ports[3].nodePort',
      'spec.ports[4]',
    ],
  ],
]
for (const [name, options, fields] of PROBLEMS) {
  t.test(`${name} is a problem of its field`, async (t) => {
    const { problems } = translateService(service(options), 'IPv4')
    t.same(
      problems.map(({ field }) => field),
      fields,
    )
  })
}

t.test('a bad port costs only itself', async (t) => {
  const ports = [
    { port: 0, name: 'bad' },
    { port: 80, name: 'good' },
  ]
  t.equal(ipv4Port({ spec: { ports } })?.portName, 'good')
})

t.test('no object makes it throw', async () => {
  const spec = fc.record(
    {
      clusterIP: fc.oneof(fc.constant('10.96.0.1'), fc.anything()),
      clusterIPs: fc.anything(),
      ipFamilies: fc.oneof(fc.constant(['IPv6', 'IPv4']), fc.anything()),
      externalIPs: fc.oneof(fc.array(fc.anything()), fc.anything()),
      loadBalancerSourceRanges: fc.array(fc.anything()),
      sessionAffinity: fc.oneof(fc.constant('ClientIP'), fc.anything()),
      sessionAffinityConfig: fc.anything(),
      externalTrafficPolicy: fc.anything(),
      type: fc.oneof(fc.constant('LoadBalancer'), fc.anything()),
      ports: fc.oneof(fc.array(fc.object()), fc.anything()),
    },
    { requiredKeys: ['clusterIP'] },
  )
  const metadata = fc.oneof(
    fc.constant({ name: 'echo' }),
    fc.record({ name: fc.constant('echo'), labels: fc.anything(), annotations: fc.anything() }),
    fc.anything(),
  )
  fc.assert(
    fc.property(
      fc.record({ metadata, spec: fc.oneof(spec, fc.anything()), status: fc.anything() }),
      (garbage) => {
        translateService(garbage as unknown as V1Service, 'IPv4')
        translateService(garbage as unknown as V1Service, 'IPv6')
      },
    ),
    { numRuns: 500 },
  )
})
