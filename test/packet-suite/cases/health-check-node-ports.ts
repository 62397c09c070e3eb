/** healthCheckNodePort: what a load balancer outside is told of this node. */
import { away, health, notReady, REJECTED, terminating, type Topic } from '../packet-case.js'

const TCP = ['TCP'] as const
const LOCAL = ({ healthCheckNodePort }: { readonly healthCheckNodePort: number }) => ({
  externalTrafficPolicy: 'Local',
  healthCheckNodePort,
})
const HAS = ['load-balancer-ip', 'node-port'] as const
const PORT = 'health-check-node-port'

export const healthCheckNodePorts: Topic = {
  title: 'Health-check node ports',
  about:
    'Answered by the proxy itself, by HTTP, at the addresses of node ports: 200 where this node has a ready endpoint, 503 where it has none.',
  services: [
    {
      title: 'endpoints here and elsewhere',
      rule: '1.7',
      has: HAS,
      spec: LOCAL,
      endpoints: ['pod-1', 'pod-2', 'remote-1'],
      cases: [
        { from: 'outside', to: PORT, protocols: TCP, expect: health(200, 2) },
        { from: 'node', to: PORT, protocols: TCP, expect: health(200, 2) },
        { from: 'pod', to: PORT, protocols: TCP, expect: health(200, 2) },
      ],
    },
    {
      title: 'endpoints elsewhere only',
      rule: '1.7',
      has: HAS,
      spec: LOCAL,
      endpoints: ['remote-1', away('pod-1')],
      cases: [{ from: 'outside', to: PORT, protocols: TCP, expect: health(503, 0) }],
    },
    {
      title: 'endpoints here, not ready',
      rule: '1.7',
      has: HAS,
      spec: LOCAL,
      endpoints: [notReady('pod-1'), 'remote-1'],
      cases: [{ from: 'outside', to: PORT, protocols: TCP, expect: health(503, 0) }],
    },
    {
      title: 'endpoints here, all terminating',
      rule: '1.7',
      has: HAS,
      spec: LOCAL,
      endpoints: [terminating('pod-1'), 'remote-1'],
      cases: [{ from: 'outside', to: PORT, protocols: TCP, expect: health(503, 0) }],
    },
    {
      title: 'no endpoints',
      rule: '1.7',
      has: HAS,
      spec: LOCAL,
      cases: [{ from: 'outside', to: PORT, protocols: TCP, expect: health(503, 0) }],
    },
    {
      title: 'policy Cluster: there is none',
      rule: '1.7',
      has: HAS,
      endpoints: ['pod-1'],
      cases: [{ from: 'outside', to: PORT, protocols: TCP, expect: REJECTED }],
    },
    {
      title: 'node ports at some addresses only',
      rule: '1.7',
      configuration: 'masquerade-all',
      has: HAS,
      spec: LOCAL,
      endpoints: ['pod-1'],
      cases: [{ from: 'outside', to: PORT, protocols: TCP, expect: health(200, 1) }],
    },
  ],
}
