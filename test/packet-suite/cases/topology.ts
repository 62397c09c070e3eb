/** Topology hints: the endpoints of this node or zone, where all have hints. */
import {
  kept,
  masqueraded,
  notReady,
  type EndpointPlace,
  type EndpointSpec,
  type Topic,
} from '../packet-case.js'

/** An endpoint for these zones. The node of the suite is in zone-a. */
function zoned(at: EndpointPlace, ...zones: readonly string[]): EndpointSpec {
  return { at, zones: zones.map((zone) => `zone-${zone}`) }
}

/** An endpoint for zone-a, and for these nodes. The node of the suite is node-a. */
function noded(at: EndpointPlace, ...nodes: readonly string[]): EndpointSpec {
  return { at, zones: ['zone-a'], nodes: nodes.map((node) => `node-${node}`) }
}

const TERMINATING = { ready: false, serving: true, terminating: true }

export const topology: Topic = {
  title: 'Topology hints',
  about:
    'Hints decide when every ready endpoint has one and at least one names this node (or else this zone). They never touch a Local policy, nor endpoints that terminate.',
  services: [
    {
      title: 'zones: one of this zone, one of another',
      rule: '1.2',
      has: ['node-port', 'external-ip'],
      endpoints: [zoned('pod-1', 'a'), zoned('remote-1', 'b')],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1') },
        { from: 'outside', to: ['node-port', 'external-ip'], expect: masqueraded('pod-1') },
      ],
    },
    {
      title: 'zones: the endpoint for this zone is on another node',
      rule: '1.2',
      endpoints: [zoned('pod-1', 'b'), zoned('remote-1', 'a')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('remote-1') }],
    },
    {
      title: 'zones: an endpoint without a hint',
      rule: '1.2',
      endpoints: [zoned('pod-1', 'a'), 'pod-2', zoned('remote-1', 'b')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2', 'remote-1') }],
    },
    {
      title: 'zones: none names this zone',
      rule: '1.2',
      endpoints: [zoned('pod-1', 'b'), zoned('remote-1', 'c')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') }],
    },
    {
      title: 'zones: several in a hint',
      rule: '1.2',
      endpoints: [zoned('pod-1', 'b', 'a'), zoned('pod-2', 'a'), zoned('remote-1', 'b', 'c')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'zones: an endpoint without a hint that is not ready does not count',
      rule: '1.2',
      endpoints: [zoned('pod-1', 'a'), zoned('remote-1', 'b'), notReady('pod-2')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'zones: the endpoint for this zone is not ready',
      rule: '1.2',
      endpoints: [
        zoned('pod-1', 'b'),
        { ...zoned('pod-2', 'a'), conditions: { ready: false, serving: false } },
      ],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'zones: all terminating',
      rule: '1.2',
      endpoints: [
        { ...zoned('pod-1', 'a'), conditions: TERMINATING },
        { ...zoned('pod-2', 'b'), conditions: TERMINATING },
      ],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'nodes: one for this node, one for another',
      rule: '1.2',
      endpoints: [noded('pod-1', 'a'), noded('remote-1', 'b')],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1') },
      ],
    },
    {
      title: 'nodes: none names this node, so the zones count',
      rule: '1.2',
      endpoints: [
        noded('pod-1', 'b'),
        { ...noded('pod-2', 'c'), zones: ['zone-b'] },
        noded('remote-1', 'b'),
      ],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') }],
    },
    {
      title: 'nodes: an endpoint without a node, so the zones count',
      rule: '1.2',
      endpoints: [noded('pod-1', 'a'), zoned('pod-2', 'a'), zoned('remote-1', 'b')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'nodes alone, no zones',
      rule: '1.2',
      endpoints: [
        { at: 'pod-1', nodes: ['node-a'] },
        { at: 'remote-1', nodes: ['node-b'] },
      ],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'external policy Local does not look at hints',
      rule: '1.2',
      has: ['load-balancer-ip'],
      spec: { externalTrafficPolicy: 'Local' },
      endpoints: [zoned('pod-1', 'b'), zoned('remote-1', 'a')],
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: kept('pod-1') },
        { from: 'pod', to: 'load-balancer-ip', expect: kept('remote-1') },
      ],
    },
    {
      title: 'internal policy Local does not look at hints',
      rule: '1.2',
      spec: { internalTrafficPolicy: 'Local' },
      endpoints: [zoned('pod-1', 'b'), zoned('remote-1', 'a')],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'trafficDistribution without hints',
      rule: '1.2',
      spec: { trafficDistribution: 'PreferClose' },
      metadata: { annotations: { 'service.kubernetes.io/topology-mode': 'Auto' } },
      endpoints: ['pod-1', 'remote-1'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') }],
    },
  ],
}
