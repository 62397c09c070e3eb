/** sessionAffinity ClientIP: a client stays with its endpoint. */
import { kept, masqueraded, REJECTED, sticky, type Topic } from '../packet-case.js'
import { eachSticky } from '../reasons.js'

const STICKY = {
  sessionAffinity: 'ClientIP',
  sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } },
}

export const affinity: Topic = {
  title: 'Session affinity',
  about:
    'A client address stays with one endpoint of a Service port, whichever of its destinations it asks. `one of` several endpoints: the same for all connections.',
  services: [
    {
      title: 'ClientIP',
      rule: '1.6',
      spec: STICKY,
      endpoints: ['pod-1', 'pod-2', 'remote-1'],
      cases: [
        { from: 'outside', to: 'cluster-ip', expect: sticky('pod-1', 'pod-2', 'remote-1') },
        { from: 'pod', to: 'cluster-ip', expect: sticky('pod-1', 'pod-2', 'remote-1') },
        { from: 'node', to: 'cluster-ip', expect: sticky('pod-1', 'pod-2', 'remote-1') },
      ],
    },
    {
      title: 'ClientIP, without a timeout said',
      rule: '1.6',
      spec: { sessionAffinity: 'ClientIP' },
      endpoints: ['pod-1', 'pod-2'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: sticky('pod-1', 'pod-2') }],
    },
    {
      title: 'ClientIP, several destinations',
      rule: '1.6',
      has: ['node-port', 'external-ip', 'load-balancer-ip'],
      spec: STICKY,
      endpoints: ['pod-1', 'pod-2', 'remote-1'],
      cases: [
        {
          from: 'outside',
          to: ['cluster-ip', 'node-port', 'external-ip', 'load-balancer-ip'],
          expect: sticky('pod-1', 'pod-2', 'remote-1'),
          except: eachSticky('pod-1', 'pod-2', 'remote-1'),
        },
        {
          from: 'pod',
          to: ['cluster-ip', 'node-port', 'node-port-2'],
          expect: sticky('pod-1', 'pod-2', 'remote-1'),
          except: eachSticky('pod-1', 'pod-2', 'remote-1'),
        },
      ],
    },
    {
      title: 'ClientIP, policy Local',
      rule: '1.6',
      has: ['load-balancer-ip', 'node-port'],
      spec: { ...STICKY, externalTrafficPolicy: 'Local' },
      endpoints: ['pod-1', 'pod-2', 'remote-1'],
      cases: [
        {
          from: 'outside',
          to: ['load-balancer-ip', 'node-port'],
          expect: sticky('pod-1', 'pod-2'),
          except: eachSticky('pod-1', 'pod-2'),
        },
      ],
    },
    {
      title: 'ClientIP, one endpoint',
      rule: '1.6',
      spec: STICKY,
      endpoints: ['pod-1'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1') },
        { from: 'pod-1', to: 'cluster-ip', expect: masqueraded('pod-1') },
      ],
    },
    {
      title: 'ClientIP, no endpoints',
      rule: '1.6',
      spec: STICKY,
      cases: [{ from: 'pod', to: 'cluster-ip', expect: REJECTED }],
    },
    {
      title: 'None',
      rule: '1.6',
      spec: { sessionAffinity: 'None' },
      endpoints: ['pod-1', 'pod-2', 'remote-1'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2', 'remote-1') }],
    },
  ],
}
