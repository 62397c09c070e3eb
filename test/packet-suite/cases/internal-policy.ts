/** internalTrafficPolicy Local: cluster IPs go to this node's endpoints. */
import {
  away,
  DROPPED,
  kept,
  masqueraded,
  REJECTED,
  seen,
  terminating,
  type Topic,
} from '../packet-case.js'

export const internalPolicy: Topic = {
  title: 'Internal traffic policy Local',
  about:
    'The cluster IP goes to endpoints of this node only. Are there others and none here, packets are dropped, whoever sends them. External destinations do not know of it.',
  services: [
    {
      title: 'endpoints here and elsewhere',
      rule: '1.2',
      has: ['external-ip', 'load-balancer-ip', 'node-port'],
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1') },
        { from: 'remote', to: 'cluster-ip', expect: kept('pod-1') },
        { from: 'node', to: 'cluster-ip', expect: masqueraded('pod-1') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1') },
        { from: 'pod-1', to: 'cluster-ip', expect: masqueraded('pod-1') },
        {
          from: 'outside',
          to: ['external-ip', 'load-balancer-ip', 'node-port'],
          expect: masqueraded('pod-1', 'remote-1'),
        },
      ],
    },
    {
      title: 'endpoints elsewhere only',
      rule: '1.2',
      has: ['external-ip', 'node-port'],
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: ['remote-1', away('pod-2')],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: DROPPED },
        { from: 'remote', to: 'cluster-ip', expect: DROPPED },
        { from: 'node', to: 'cluster-ip', expect: DROPPED },
        { from: 'outside', to: 'cluster-ip', expect: DROPPED },
        {
          from: 'outside',
          to: ['external-ip', 'node-port'],
          expect: masqueraded('pod-2', 'remote-1'),
        },
      ],
    },
    {
      title: 'no endpoints',
      rule: '1.2',
      spec: { internalTrafficPolicy: 'Local' },
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: REJECTED },
        { from: 'node', to: 'cluster-ip', expect: REJECTED },
      ],
    },
    {
      title: 'two endpoints here, one of them asks',
      rule: '1.2, 1.4',
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: ['pod-1', 'pod-2', 'remote-1'],
      cases: [
        { from: 'pod-1', to: 'cluster-ip', expect: seen({ 'pod-1': 'node', 'pod-2': 'client' }) },
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') },
      ],
    },
    {
      title: 'one terminating and one ready endpoint here',
      rule: '1.2',
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: ['pod-1', terminating('pod-2')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'an endpoint without the name of a node counts as elsewhere',
      rule: '1.1',
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: [{ at: 'pod-1', nodeName: '' }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: DROPPED }],
    },
    {
      title: 'both policies Local',
      rule: '1.2',
      has: ['external-ip'],
      spec: { internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local' },
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1') },
        { from: 'outside', to: 'external-ip', expect: kept('pod-1') },
        { from: 'pod', to: 'external-ip', expect: kept('pod-1', 'remote-1') },
      ],
    },
    {
      title: 'both policies Local, endpoints elsewhere only',
      rule: '1.2',
      has: ['external-ip'],
      spec: { internalTrafficPolicy: 'Local', externalTrafficPolicy: 'Local' },
      endpoints: ['remote-1'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: DROPPED },
        { from: 'outside', to: 'external-ip', expect: DROPPED },
        { from: 'pod', to: 'external-ip', expect: kept('remote-1') },
        { from: 'node', to: 'external-ip', expect: masqueraded('remote-1') },
      ],
    },
  ],
}
