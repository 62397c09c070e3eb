/** loadBalancerSourceRanges: who may reach a load-balancer IP. */
import {
  DROPPED,
  kept,
  masqueraded,
  REJECTED,
  type SuiteService,
  type Topic,
} from '../packet-case.js'
import { type Place, SOURCES } from '../place.js'

type Who = 'outside' | 'node' | 'pod'

/** Ranges that hold these sources and nobody else. */
const only =
  (...who: readonly Who[]) =>
  ({ family }: Place) => ({
    loadBalancerSourceRanges: [
      ...who.map((source) => `${SOURCES[source][family]}/${family === 'IPv4' ? 32 : 128}`),
      family === 'IPv4' ? '203.0.113.0/24' : '2001:db8:ffff::/48',
    ],
  })

const balanced: Pick<SuiteService, 'has' | 'rule' | 'endpoints'> = {
  rule: '1.3',
  has: ['load-balancer-ip'],
  endpoints: ['pod-1', 'remote-1'],
}
const BOTH = masqueraded('pod-1', 'remote-1')

export const sourceRanges: Topic = {
  title: 'loadBalancerSourceRanges',
  about:
    'Who is not in a range is dropped at the load-balancer IP, Pods and the node as well; cluster IP, external IP and node port are not guarded. A list without a range of the family lets everyone in.',
  services: [
    {
      ...balanced,
      title: 'a range with the client',
      has: ['load-balancer-ip', 'external-ip', 'node-port'],
      spec: only('outside'),
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: BOTH },
        { from: 'pod', to: 'load-balancer-ip', expect: DROPPED },
        { from: 'node', to: 'load-balancer-ip', expect: DROPPED },
        { from: 'remote', to: 'load-balancer-ip', expect: DROPPED },
        { from: 'pod', to: ['external-ip', 'node-port'], expect: BOTH },
        { from: 'node', to: ['external-ip', 'node-port'], expect: BOTH },
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') },
      ],
    },
    {
      ...balanced,
      title: 'a range with a Pod',
      has: ['load-balancer-ip', 'node-port'],
      spec: only('pod'),
      cases: [
        { from: 'pod', to: 'load-balancer-ip', expect: BOTH },
        { from: 'outside', to: 'load-balancer-ip', expect: DROPPED },
        { from: 'outside', to: 'node-port', expect: BOTH },
      ],
    },
    {
      ...balanced,
      title: 'a range with the node',
      spec: only('node'),
      cases: [
        { from: 'node', to: 'load-balancer-ip', expect: BOTH },
        { from: 'outside', to: 'load-balancer-ip', expect: DROPPED },
        { from: 'pod', to: 'load-balancer-ip', expect: DROPPED },
      ],
    },
    {
      ...balanced,
      title: 'a /0 among the ranges',
      spec: ({ family }) => ({
        loadBalancerSourceRanges: [
          family === 'IPv4' ? '203.0.113.0/24' : '2001:db8:ffff::/48',
          family === 'IPv4' ? '0.0.0.0/0' : '::/0',
        ],
      }),
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: BOTH },
        { from: 'pod', to: 'load-balancer-ip', expect: BOTH },
      ],
    },
    {
      ...balanced,
      title: 'ranges of IPv6 only, asked over IPv4',
      families: ['IPv4'],
      spec: { loadBalancerSourceRanges: ['2001:db8:ffff::/48'] },
      cases: [{ from: 'outside', to: 'load-balancer-ip', expect: BOTH }],
    },
    {
      ...balanced,
      title: 'ranges of IPv4 only, asked over IPv6',
      families: ['IPv6'],
      spec: { loadBalancerSourceRanges: ['203.0.113.0/24'] },
      cases: [{ from: 'outside', to: 'load-balancer-ip', expect: BOTH }],
    },
    {
      ...balanced,
      title: 'ranges with spaces and leading zeros',
      families: ['IPv4'],
      spec: { loadBalancerSourceRanges: [' 203.0.113.0/24', ' 010.000.001.000/024 '] },
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: BOTH },
        { from: 'pod', to: 'load-balancer-ip', expect: DROPPED },
      ],
    },
    {
      ...balanced,
      title: 'the annotation load-balancer-source-ranges is not read',
      metadata: {
        annotations: { 'service.beta.kubernetes.io/load-balancer-source-ranges': '203.0.113.0/24' },
      },
      cases: [{ from: 'outside', to: 'load-balancer-ip', expect: BOTH }],
    },
    {
      ...balanced,
      title: 'policy Local, a range with the client',
      spec: (place) => ({ ...only('outside')(place), externalTrafficPolicy: 'Local' }),
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: kept('pod-1') },
        { from: 'pod', to: 'load-balancer-ip', expect: DROPPED },
        { from: 'node', to: 'load-balancer-ip', expect: DROPPED },
      ],
    },
    {
      ...balanced,
      title: 'policy Local, endpoints elsewhere only, a range with a Pod',
      endpoints: ['remote-1'],
      spec: (place) => ({ ...only('pod')(place), externalTrafficPolicy: 'Local' }),
      cases: [
        { from: 'pod', to: 'load-balancer-ip', expect: kept('remote-1') },
        { from: 'outside', to: 'load-balancer-ip', expect: DROPPED },
      ],
    },
    {
      title: 'no endpoints, a range with the client',
      rule: '1.3',
      has: ['load-balancer-ip'],
      spec: only('outside'),
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: REJECTED },
        { from: 'pod', to: 'load-balancer-ip', expect: REJECTED },
      ],
    },
    {
      title: 'two load-balancer IPs, a range with the client',
      rule: '1.3',
      has: ['load-balancer-ip'],
      ingress: ({ loadBalancerIp, loadBalancerIp2 }) => [
        { ip: loadBalancerIp },
        { ip: loadBalancerIp2 },
      ],
      spec: only('outside'),
      endpoints: ['pod-1'],
      cases: [
        {
          from: 'outside',
          to: ['load-balancer-ip', 'load-balancer-ip-2'],
          expect: masqueraded('pod-1'),
        },
        { from: 'pod', to: ['load-balancer-ip', 'load-balancer-ip-2'], expect: DROPPED },
      ],
    },
  ],
}
