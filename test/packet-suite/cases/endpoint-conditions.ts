/** Which endpoints count: ready, serving, terminating. */
import {
  DROPPED,
  gone,
  kept,
  masqueraded,
  notReady,
  REJECTED,
  terminating,
  type Topic,
} from '../packet-case.js'
import { NOT_IN_OUTPUT } from '../reasons.js'

export const endpointConditions: Topic = {
  title: 'Endpoint conditions',
  about:
    'Ready endpoints take new connections. When there is none, those that terminate and still serve do. When there are none of these either, the Service has no endpoints, and says so.',
  services: [
    {
      title: 'no slice at all',
      rule: '1.2',
      has: ['external-ip', 'load-balancer-ip', 'node-port'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: REJECTED },
        { from: 'remote', to: 'cluster-ip', expect: REJECTED },
        {
          from: 'outside',
          to: ['cluster-ip', 'external-ip', 'load-balancer-ip', 'node-port'],
          expect: REJECTED,
        },
        {
          from: 'node',
          to: ['external-ip', 'load-balancer-ip'],
          expect: REJECTED,
          except: NOT_IN_OUTPUT,
        },
        { from: 'node', to: ['cluster-ip', 'node-port'], expect: REJECTED },
      ],
    },
    {
      title: 'a slice without endpoints',
      rule: '1.2',
      slices: [{ endpoints: [] }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: REJECTED }],
    },
    {
      title: 'one ready, one not',
      rule: '1.2',
      endpoints: ['pod-1', notReady('pod-2')],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1') },
      ],
    },
    {
      title: 'none ready',
      rule: '1.2',
      has: ['node-port'],
      endpoints: [notReady('pod-1'), notReady('remote-1')],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: REJECTED },
        { from: 'outside', to: ['cluster-ip', 'node-port'], expect: REJECTED },
      ],
    },
    {
      title: 'ready: true said in so many words',
      rule: '1.2',
      endpoints: [{ at: 'pod-1', conditions: { ready: true, serving: true, terminating: false } }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'publishNotReadyAddresses: ready, and not serving',
      rule: '1.2',
      spec: { publishNotReadyAddresses: true },
      endpoints: [{ at: 'pod-1', conditions: { ready: true, serving: false } }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'publishNotReadyAddresses: ready, and terminating',
      rule: '1.2',
      spec: { publishNotReadyAddresses: true },
      endpoints: [
        { at: 'pod-1', conditions: { ready: true, serving: true, terminating: true } },
        'pod-2',
      ],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'publishNotReadyAddresses in the spec, and nothing in the slice',
      rule: '1.2',
      spec: { publishNotReadyAddresses: true },
      endpoints: [notReady('pod-1')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: REJECTED }],
    },
    {
      title: 'one ready, one terminating',
      rule: '1.2',
      has: ['node-port'],
      endpoints: ['pod-1', terminating('pod-2')],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1') },
        { from: 'outside', to: 'node-port', expect: masqueraded('pod-1') },
      ],
    },
    {
      title: 'all terminating',
      rule: '1.2',
      has: ['node-port'],
      endpoints: [terminating('pod-1'), terminating('remote-1')],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') },
        { from: 'outside', to: 'node-port', expect: masqueraded('pod-1', 'remote-1') },
      ],
    },
    {
      title: 'terminating, and nothing said about serving',
      rule: '1.2',
      endpoints: [{ at: 'pod-1', conditions: { ready: false, terminating: true } }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'all terminating, one does not serve any more',
      rule: '1.2',
      endpoints: [terminating('pod-1'), gone('pod-2')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'terminating, and none serves any more',
      rule: '1.2',
      endpoints: [gone('pod-1'), gone('remote-1')],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: REJECTED },
        { from: 'outside', to: 'cluster-ip', expect: REJECTED },
      ],
    },
    {
      title: 'serving, not ready, not terminating',
      rule: '1.2',
      endpoints: [{ at: 'pod-1', conditions: { ready: false, serving: true } }],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: REJECTED }],
    },
    {
      title: 'internal policy Local, terminating here, ready elsewhere',
      rule: '1.2',
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: [terminating('pod-1'), 'remote-1'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'internal policy Local, no longer serving here, ready elsewhere',
      rule: '1.2',
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: [gone('pod-1'), 'remote-1'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: DROPPED }],
    },
    {
      title: 'internal policy Local, not ready here, terminating elsewhere',
      rule: '1.2',
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: [notReady('pod-1'), terminating('remote-1')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: DROPPED }],
    },
    {
      title: 'internal policy Local, not ready here nor elsewhere',
      rule: '1.2',
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: [notReady('pod-1'), gone('remote-1')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: REJECTED }],
    },
  ],
}
