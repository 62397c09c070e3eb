/** SCTP Services: who answers an INIT, and whom the endpoint sees. */
import {
  DROPPED,
  type EndpointPlace,
  kept,
  masqueraded,
  type PacketCase,
  REJECTED,
  type SliceSpec,
  sticky,
  type Topic,
} from '../packet-case.js'
import type { Place } from '../place.js'
import { eachSticky, NO_RELAY } from '../reasons.js'

const ALL = ['external-ip', 'load-balancer-ip', 'node-port'] as const

function sctpCases(...cases: readonly Omit<PacketCase, 'protocols'>[]): PacketCase[] {
  return cases.map((one) => ({
    ...one,
    protocols: ['SCTP'],
    except: { ...one.except, ...NO_RELAY },
  }))
}

function withPort(spec: object, hasNodePort = false): (place: Place) => object {
  return ({ nodePort }) => ({
    ports: [{ name: 's', port: 80, protocol: 'SCTP', ...(hasNodePort ? { nodePort } : {}) }],
    ...spec,
  })
}

function slices(...endpoints: readonly EndpointPlace[]): SliceSpec[] {
  return [{ endpoints, ports: [{ name: 's', port: 8080, protocol: 'SCTP' }] }]
}

export const sctp: Topic = {
  title: 'SCTP',
  about:
    'The rules are those of TCP and UDP. Packets are an INIT and its answer, by raw sockets: no kernel needs a socket of SCTP for them. `passed on` is answered by a host that has none.',
  services: [
    {
      title: 'cluster IP',
      rule: '1.3, 1.4',
      spec: withPort({}),
      slices: slices('pod-1', 'remote-1'),
      cases: sctpCases(
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') },
        { from: 'node', to: 'cluster-ip', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1', 'remote-1') },
      ),
    },
    {
      title: 'an endpoint that asks for itself',
      rule: '1.4',
      spec: withPort({}),
      slices: slices('pod-1'),
      cases: sctpCases({ from: 'pod-1', to: 'cluster-ip', expect: masqueraded('pod-1') }),
    },
    {
      title: 'policy Cluster',
      rule: '1.3, 1.4',
      has: ALL,
      spec: withPort({}, true),
      slices: slices('pod-1', 'remote-1'),
      cases: sctpCases(
        { from: 'outside', to: ALL, expect: masqueraded('pod-1', 'remote-1') },
        { from: 'node', to: 'external-ip', expect: masqueraded('pod-1', 'remote-1') },
      ),
    },
    {
      title: 'policy Local',
      rule: '1.3, 1.4',
      has: ALL,
      spec: withPort({ externalTrafficPolicy: 'Local' }, true),
      slices: slices('pod-1', 'remote-1'),
      cases: sctpCases(
        { from: 'outside', to: ALL, expect: kept('pod-1') },
        { from: 'pod', to: 'load-balancer-ip', expect: kept('pod-1', 'remote-1') },
      ),
    },
    {
      title: 'policy Local, endpoints elsewhere only',
      rule: '1.3',
      has: ALL,
      spec: withPort({ externalTrafficPolicy: 'Local' }, true),
      slices: slices('remote-1'),
      cases: sctpCases({ from: 'outside', to: ALL, expect: DROPPED }),
    },
    {
      title: 'no endpoints',
      rule: '1.2',
      has: ALL,
      spec: withPort({}, true),
      cases: sctpCases(
        { from: 'pod', to: 'cluster-ip', expect: REJECTED },
        { from: 'outside', to: ALL, expect: REJECTED },
      ),
    },
    {
      title: 'source ranges',
      rule: '1.3',
      has: ['load-balancer-ip'],
      spec: withPort({ loadBalancerSourceRanges: ['10.0.1.0/24', 'fd00:1::/64'] }),
      slices: slices('pod-1'),
      cases: sctpCases(
        { from: 'outside', to: 'load-balancer-ip', expect: masqueraded('pod-1') },
        { from: 'remote', to: 'load-balancer-ip', expect: DROPPED },
      ),
    },
    {
      title: 'ClientIP',
      rule: '1.6',
      has: ['node-port'],
      spec: withPort({ sessionAffinity: 'ClientIP' }, true),
      slices: slices('pod-1', 'pod-2', 'remote-1'),
      cases: sctpCases({
        from: 'outside',
        to: ['cluster-ip', 'node-port'],
        expect: sticky('pod-1', 'pod-2', 'remote-1'),
        except: eachSticky('pod-1', 'pod-2', 'remote-1'),
      }),
    },
  ],
}
