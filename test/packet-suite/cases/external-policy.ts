/** External destinations: policy Cluster masquerades everyone, policy Local keeps the client's address. */
import {
  away,
  DROPPED,
  gone,
  kept,
  masqueraded,
  notReady,
  REJECTED,
  seen,
  terminating,
  type Topic,
} from '../packet-case.js'
import { NOT_IN_OUTPUT, onTheNode } from '../reasons.js'

const ALL = ['external-ip', 'load-balancer-ip', 'node-port'] as const
const LOCAL = { externalTrafficPolicy: 'Local' }

export const externalPolicyCluster: Topic = {
  title: 'External traffic policy Cluster',
  about:
    'External IPs, load-balancer IPs and node ports go to any ready endpoint. All are masqueraded, because the endpoint may be on another node.',
  services: [
    {
      title: 'endpoints here and elsewhere',
      rule: '1.3, 1.4',
      has: ALL,
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'outside', to: ALL, expect: masqueraded('pod-1', 'remote-1') },
        { from: 'node', to: ALL, expect: masqueraded('pod-1', 'remote-1') },
        { from: 'pod', to: ALL, expect: masqueraded('pod-1', 'remote-1') },
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') },
      ],
    },
    {
      title: 'an endpoint that asks for itself',
      rule: '1.4',
      has: ALL,
      endpoints: ['pod-1'],
      cases: [{ from: 'pod-1', to: ALL, expect: masqueraded('pod-1') }],
    },
    {
      title: 'asked by a Pod of another node',
      rule: '1.4',
      has: ALL,
      endpoints: ['pod-1', 'pod-2'],
      cases: [{ from: 'remote', to: ALL, expect: masqueraded('pod-1', 'pod-2') }],
    },
    {
      title: 'endpoints elsewhere only',
      rule: '1.3',
      has: ALL,
      endpoints: ['remote-1', 'remote-2'],
      cases: [{ from: 'outside', to: ALL, expect: masqueraded('remote-1', 'remote-2') }],
    },
  ],
}

export const externalPolicyLocal: Topic = {
  title: 'External traffic policy Local',
  about:
    'Clients from outside go to endpoints of this node and keep their address; they are dropped where there are others and none here. Pods and the node itself are short-circuited: to any endpoint, as if they had gone out and come back in where there is one.',
  services: [
    {
      title: 'endpoints here and elsewhere',
      rule: '1.3, 1.4',
      has: ALL,
      spec: LOCAL,
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'outside', to: ALL, expect: kept('pod-1') },
        { from: 'node', to: ALL, expect: masqueraded('pod-1', 'remote-1') },
        { from: 'pod', to: ALL, expect: kept('pod-1', 'remote-1') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') },
      ],
    },
    {
      title: 'endpoints elsewhere only',
      rule: '1.2, 1.3',
      has: ALL,
      spec: LOCAL,
      endpoints: ['remote-1'],
      cases: [
        { from: 'outside', to: ALL, expect: DROPPED },
        { from: 'node', to: ALL, expect: masqueraded('remote-1') },
        { from: 'pod', to: ALL, expect: kept('remote-1') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('remote-1') },
      ],
    },
    {
      title: 'asked by a Pod of another node',
      rule: '1.3',
      has: ALL,
      spec: LOCAL,
      endpoints: ['pod-1', away('pod-2')],
      cases: [{ from: 'remote', to: ALL, expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'an endpoint that asks, here and elsewhere',
      rule: '1.4',
      has: ALL,
      spec: LOCAL,
      endpoints: ['pod-1', away('pod-2')],
      cases: [{ from: 'pod-1', to: ALL, expect: seen({ 'pod-1': 'node', 'pod-2': 'client' }) }],
    },
    {
      title: 'no endpoints',
      rule: '1.2',
      has: ALL,
      spec: LOCAL,
      cases: [
        { from: 'outside', to: ALL, expect: REJECTED },
        { from: 'pod', to: ALL, expect: REJECTED },
        {
          from: 'node',
          to: ['external-ip', 'load-balancer-ip'],
          expect: REJECTED,
          except: NOT_IN_OUTPUT,
        },
        { from: 'node', to: 'node-port', expect: REJECTED },
      ],
    },
    {
      title: 'terminating here, ready elsewhere',
      rule: '1.2',
      has: ['load-balancer-ip', 'node-port'],
      spec: LOCAL,
      endpoints: [terminating('pod-1'), 'remote-1'],
      cases: [
        { from: 'outside', to: ['load-balancer-ip', 'node-port'], expect: kept('pod-1') },
        { from: 'pod', to: 'load-balancer-ip', expect: kept('remote-1') },
        { from: 'node', to: 'load-balancer-ip', expect: masqueraded('remote-1') },
      ],
    },
    {
      title: 'all terminating',
      rule: '1.2',
      has: ['load-balancer-ip'],
      spec: LOCAL,
      endpoints: [terminating('pod-1'), terminating('remote-1')],
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: kept('pod-1') },
        { from: 'pod', to: 'load-balancer-ip', expect: kept('pod-1', 'remote-1') },
      ],
    },
    {
      title: 'no longer serving here, ready elsewhere',
      rule: '1.2',
      has: ['load-balancer-ip'],
      spec: LOCAL,
      endpoints: [gone('pod-1'), 'remote-1'],
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: DROPPED },
        { from: 'pod', to: 'load-balancer-ip', expect: kept('remote-1') },
      ],
    },
    {
      title: 'not ready here, ready elsewhere',
      rule: '1.2',
      has: ['node-port'],
      spec: LOCAL,
      endpoints: [notReady('pod-1'), 'remote-1'],
      cases: [{ from: 'outside', to: 'node-port', expect: DROPPED }],
    },
    {
      title: 'not ready anywhere',
      rule: '1.2',
      has: ['node-port'],
      spec: LOCAL,
      endpoints: [notReady('pod-1'), notReady('remote-1')],
      cases: [{ from: 'outside', to: 'node-port', expect: REJECTED }],
    },
    {
      title: 'a Service of type ClusterIP with an external IP',
      rule: '1.2',
      has: ['external-ip'],
      spec: LOCAL,
      endpoints: ['pod-1', 'remote-1'],
      cases: [{ from: 'outside', to: 'external-ip', expect: kept('pod-1') }],
    },
    {
      title: 'an endpoint in the network of the node',
      rule: '1.3',
      has: ['load-balancer-ip', 'node-port'],
      spec: LOCAL,
      endpoints: ['host', 'remote-1'],
      cases: [
        {
          from: 'outside',
          to: ['load-balancer-ip', 'node-port'],
          expect: kept('host'),
          except: onTheNode('host'),
        },
      ],
    },
  ],
}
