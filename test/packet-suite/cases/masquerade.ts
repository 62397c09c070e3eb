/** What changes with --masquerade-all and with the way that Pods are told from others. */
import { away, DROPPED, kept, masqueraded, seen, type Topic } from '../packet-case.js'
import { fromTheNode } from '../reasons.js'

const LOCAL = { externalTrafficPolicy: 'Local' }

export const masquerade: Topic = {
  title: 'Masquerading',
  about:
    'With `--masquerade-all` everyone is masqueraded at a cluster IP. Without anything that tells Pods from others nobody is there, and nobody counts as a Pod at an external destination.',
  services: [
    {
      title: 'masquerade-all',
      rule: '1.4',
      configuration: 'masquerade-all',
      has: ['external-ip'],
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'node', to: 'cluster-ip', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'pod', to: 'external-ip', expect: masqueraded('pod-1', 'remote-1') },
      ],
    },
    {
      title: 'masquerade-all, policy Local',
      rule: '1.4',
      configuration: 'masquerade-all',
      has: ['load-balancer-ip'],
      spec: LOCAL,
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: kept('pod-1') },
        { from: 'pod', to: 'load-balancer-ip', expect: kept('pod-1', 'remote-1') },
        { from: 'pod', to: 'cluster-ip', expect: masqueraded('pod-1', 'remote-1') },
      ],
    },
    {
      title: 'masquerade-all, internal policy Local',
      rule: '1.4',
      configuration: 'masquerade-all',
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: ['pod-1', 'remote-1'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: masqueraded('pod-1') }],
    },
    {
      title: 'nothing tells Pods from others',
      rule: '1.4',
      configuration: 'no-detector',
      has: ['external-ip'],
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') },
        { from: 'outside', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') },
        {
          from: 'node',
          to: 'cluster-ip',
          expect: kept('pod-1', 'remote-1'),
          except: fromTheNode('pod-1', 'remote-1'),
        },
        { from: 'outside', to: 'external-ip', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'pod', to: 'external-ip', expect: masqueraded('pod-1', 'remote-1') },
      ],
    },
    {
      title: 'nothing tells Pods from others, an endpoint asks for itself',
      rule: '1.4',
      configuration: 'no-detector',
      endpoints: ['pod-1', 'pod-2'],
      cases: [
        { from: 'pod-1', to: 'cluster-ip', expect: seen({ 'pod-1': 'node', 'pod-2': 'client' }) },
      ],
    },
    {
      title: 'nothing tells Pods from others, policy Local',
      rule: '1.3',
      configuration: 'no-detector',
      has: ['load-balancer-ip'],
      spec: LOCAL,
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'pod', to: 'load-balancer-ip', expect: kept('pod-1') },
        { from: 'outside', to: 'load-balancer-ip', expect: kept('pod-1') },
        { from: 'node', to: 'load-balancer-ip', expect: masqueraded('pod-1', 'remote-1') },
      ],
    },
    {
      title: 'nothing tells Pods from others, policy Local, endpoints elsewhere only',
      rule: '1.3',
      configuration: 'no-detector',
      has: ['load-balancer-ip'],
      spec: LOCAL,
      endpoints: ['remote-1'],
      cases: [
        { from: 'pod', to: 'load-balancer-ip', expect: DROPPED },
        { from: 'node', to: 'load-balancer-ip', expect: masqueraded('remote-1') },
      ],
    },
    {
      title: 'the Pods of this node are told by its ranges (NodeCIDR)',
      rule: '1.4',
      configuration: 'node-cidr',
      endpoints: ['pod-1', 'pod-2'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') },
        { from: 'remote', to: 'cluster-ip', expect: masqueraded('pod-1', 'pod-2') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1', 'pod-2') },
        { from: 'node', to: 'cluster-ip', expect: masqueraded('pod-1', 'pod-2') },
      ],
    },
    {
      title: 'NodeCIDR, policy Local',
      rule: '1.3',
      configuration: 'node-cidr',
      has: ['load-balancer-ip'],
      spec: LOCAL,
      endpoints: ['pod-1', away('pod-2')],
      cases: [
        { from: 'pod', to: 'load-balancer-ip', expect: kept('pod-1', 'pod-2') },
        { from: 'remote', to: 'load-balancer-ip', expect: kept('pod-1') },
      ],
    },
  ],
}
