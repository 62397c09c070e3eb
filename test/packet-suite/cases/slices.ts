/** What is taken from slices and Services, and what is not. */
import { kept, masqueraded, PASSED, REJECTED, terminating, type Topic } from '../packet-case.js'

const TCP = ['TCP'] as const
const SERVICE_NAME = 'kubernetes.io/service-name'
/** `10.244.1.2` as `010.244.001.002`. */
const padded = (own: string) => [
  own.includes(':')
    ? own
    : own
        .split('.')
        .map((part) => part.padStart(3, '0'))
        .join('.'),
]

export const slices: Topic = {
  title: 'Objects',
  about:
    'Which Services are served at all, and what of their slices is taken. What is wrong in an object harms nothing else: all of these are loaded at once.',
  services: [
    {
      title: 'several slices',
      rule: '1.1',
      slices: [{ endpoints: ['pod-1'] }, { endpoints: ['pod-2'] }, { endpoints: [] }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'the same endpoint in two slices',
      rule: '1.1',
      slices: [{ endpoints: ['pod-1'] }, { endpoints: ['pod-1', 'pod-2'] }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'the same address ready in one slice, terminating in a later one',
      rule: '1.1',
      slices: [{ endpoints: ['pod-1'] }, { endpoints: [terminating('pod-1'), 'pod-2'] }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'the same address terminating in one slice, ready in a later one',
      rule: '1.1',
      slices: [{ endpoints: [terminating('pod-1')] }, { endpoints: ['pod-1', 'pod-2'] }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'two addresses in an endpoint, of which the first counts',
      rule: '1.1',
      endpoints: [
        {
          at: 'pod-1',
          addresses: (own, { family }) => [own, family === 'IPv4' ? '10.244.2.2' : 'fd00:244:2::2'],
        },
      ],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'leading zeros in the address of an endpoint',
      rule: '1.1',
      families: ['IPv4'],
      endpoints: [{ at: 'pod-1', addresses: padded }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'leading zeros in the cluster IP',
      rule: '1.1',
      families: ['IPv4'],
      spec: ({ clusterIp }) => ({
        clusterIP: padded(clusterIp)[0],
        clusterIPs: padded(clusterIp),
      }),
      endpoints: ['pod-1'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'leading zeros in the external IP',
      rule: '1.1',
      families: ['IPv4'],
      has: ['external-ip'],
      spec: ({ externalIp }) => ({ externalIPs: padded(externalIp) }),
      endpoints: ['pod-1'],
      cases: [{ from: 'outside', to: 'external-ip', expect: masqueraded('pod-1') }],
    },
    {
      title: 'an external IP that is none, beside a good one',
      rule: '1.1',
      has: ['external-ip'],
      spec: ({ externalIp }) => ({ externalIPs: ['nonsense', '300.1.2.3', externalIp] }),
      endpoints: ['pod-1'],
      cases: [
        { from: 'outside', to: 'external-ip', expect: masqueraded('pod-1') },
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1') },
      ],
    },
    {
      title: 'a slice of another port name',
      rule: '1.1',
      slices: [{ endpoints: ['pod-1'], ports: [{ name: 'x', port: 8080, protocol: 'TCP' }] }],
      cases: [{ from: 'pod', to: 'cluster-ip', protocols: TCP, expect: REJECTED }],
    },
    {
      title: 'a slice of the port name with another protocol',
      rule: '1.1',
      slices: [{ endpoints: ['pod-1'], ports: [{ name: 't', port: 8080, protocol: 'UDP' }] }],
      cases: [{ from: 'pod', to: 'cluster-ip', protocols: TCP, expect: REJECTED }],
    },
    {
      title: 'a slice port without a number',
      rule: '1.1',
      slices: [{ endpoints: ['pod-1'], ports: [{ name: 't', protocol: 'TCP' }] }],
      cases: [{ from: 'pod', to: 'cluster-ip', protocols: TCP, expect: REJECTED }],
    },
    {
      title: 'a slice without the label of its Service',
      rule: '1.1',
      slices: [{ endpoints: ['pod-1'], labels: {} }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: REJECTED }],
    },
    {
      title: 'a slice in another namespace',
      rule: '1.1',
      slices: [{ endpoints: ['pod-1'], namespace: 'elsewhere' }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: REJECTED }],
    },
    {
      title: 'a slice of names (FQDN)',
      rule: '1.1',
      slices: [
        {
          endpoints: [{ at: 'pod-1', addresses: () => ['pod-1.example.com'] }],
          addressType: 'FQDN',
        },
      ],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: REJECTED }],
    },
    {
      title: 'an endpoint with a wrong address, beside a good one',
      rule: '1.1',
      endpoints: [{ at: 'pod-2', addresses: () => ['nonsense'] }, 'pod-1'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'the label service-proxy-name',
      rule: '1.1',
      has: ['external-ip'],
      metadata: { labels: { 'service.kubernetes.io/service-proxy-name': 'somebody' } },
      endpoints: ['pod-1'],
      cases: [
        { from: 'outside', to: ['cluster-ip', 'external-ip'], protocols: TCP, expect: PASSED },
        { from: 'node', to: 'cluster-ip', protocols: TCP, expect: PASSED },
      ],
    },
    {
      title: 'a headless Service',
      rule: '1.1',
      has: ['external-ip'],
      spec: { clusterIP: 'None', clusterIPs: ['None'] },
      endpoints: ['pod-1'],
      cases: [{ from: 'outside', to: 'external-ip', protocols: TCP, expect: PASSED }],
    },
    {
      title: 'an ExternalName Service that has addresses',
      rule: '1.1',
      has: ['external-ip'],
      spec: { type: 'ExternalName', externalName: 'example.com' },
      endpoints: ['pod-1'],
      cases: [
        { from: 'outside', to: ['cluster-ip', 'external-ip'], protocols: TCP, expect: PASSED },
      ],
    },
    {
      title: 'the label headless on a Service’s slices',
      rule: '1.1',
      families: ['IPv4'],
      spec: ({ name }) => ({ selector: { app: name } }),
      slices: [
        {
          endpoints: ['pod-1'],
          labels: { [SERVICE_NAME]: '$name', 'service.kubernetes.io/headless': '' },
        },
      ],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: REJECTED }],
    },
    {
      title: 'managed by somebody else',
      rule: '1.1',
      slices: [
        {
          endpoints: ['pod-1'],
          labels: {
            [SERVICE_NAME]: '$name',
            'endpointslice.kubernetes.io/managed-by': 'somebody',
          },
        },
      ],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'a port of a protocol that does not exist: the Service is left out, and no other',
      rule: '1.1',
      spec: {
        ports: [
          { name: 't', port: 80, protocol: 'TCP' },
          { name: 'x', port: 82, protocol: 'NONE' },
        ],
      },
      endpoints: ['pod-1'],
      cases: [{ from: 'outside', to: 'cluster-ip', protocols: TCP, expect: PASSED }],
    },
  ],
}
