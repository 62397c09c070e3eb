/** Cluster IPs: who answers, and whom the endpoint sees. */
import { kept, masqueraded, PASSED, REJECTED, seen, type Topic } from '../packet-case.js'
import { LOCAL_VIP, onTheNode } from '../reasons.js'

const TCP = ['TCP'] as const
const UDP = ['UDP'] as const

export const clusterIps: Topic = {
  title: 'Cluster IPs',
  about:
    'A connection to a cluster IP goes to any ready endpoint. Pods keep their address; everyone else, the node included, is masqueraded where something tells Pods from others.',
  services: [
    {
      title: 'endpoints on this node and on another',
      rule: '1.3, 1.4',
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'remote-1') },
        { from: 'node', to: 'cluster-ip', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1', 'remote-1') },
        {
          from: 'outside',
          to: 'cluster-ip:81',
          protocols: TCP,
          expect: PASSED,
          except: LOCAL_VIP,
        },
        { from: 'node', to: 'cluster-ip:81', protocols: TCP, expect: PASSED, except: LOCAL_VIP },
        { from: 'outside', to: 'free-cluster-ip', protocols: TCP, expect: PASSED },
      ],
    },
    {
      title: 'asked by a Pod of another node',
      rule: '1.4',
      endpoints: ['pod-1', 'pod-2'],
      cases: [{ from: 'remote', to: 'cluster-ip', expect: kept('pod-1', 'pod-2') }],
    },
    {
      title: 'an endpoint that asks for itself',
      rule: '1.4',
      endpoints: ['pod-1'],
      cases: [{ from: 'pod-1', to: 'cluster-ip', expect: masqueraded('pod-1') }],
    },
    {
      title: 'one of two endpoints that asks',
      rule: '1.4',
      endpoints: ['pod-1', 'pod-2'],
      cases: [
        { from: 'pod-1', to: 'cluster-ip', expect: seen({ 'pod-1': 'node', 'pod-2': 'client' }) },
      ],
    },
    {
      title: 'an endpoint in the network of the node',
      rule: '1.4',
      endpoints: ['host'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('host'), except: onTheNode('host') },
        { from: 'outside', to: 'cluster-ip', expect: seen({ host: 'any' }) },
        { from: 'node', to: 'cluster-ip', expect: seen({ host: 'any' }) },
      ],
    },
    {
      title: 'an endpoint in the network of the node, and one on another node',
      rule: '1.4',
      endpoints: ['host', 'remote-1'],
      cases: [
        {
          from: 'pod',
          to: 'cluster-ip',
          expect: kept('host', 'remote-1'),
          except: {
            'userspace-tproxy': {
              expect: seen({ host: 'node', 'remote-1': 'client' }),
              why: onTheNode()['userspace-tproxy']!.why,
            },
          },
        },
      ],
    },
    {
      title: 'one address and port, another Service behind each protocol',
      rule: '1.3',
      slices: [
        { endpoints: ['pod-1'], ports: [{ name: 't', port: 8080, protocol: 'TCP' }] },
        { endpoints: ['pod-2'], ports: [{ name: 'u', port: 8080, protocol: 'UDP' }] },
      ],
      cases: [
        { from: 'pod', to: 'cluster-ip', protocols: TCP, expect: kept('pod-1') },
        { from: 'pod', to: 'cluster-ip', protocols: UDP, expect: kept('pod-2') },
      ],
    },
    {
      title: 'one address and port, endpoints for one protocol only',
      rule: '1.2, 1.3',
      slices: [{ endpoints: ['pod-1'], ports: [{ name: 't', port: 8080, protocol: 'TCP' }] }],
      cases: [
        { from: 'pod', to: 'cluster-ip', protocols: TCP, expect: kept('pod-1') },
        { from: 'pod', to: 'cluster-ip', protocols: UDP, expect: REJECTED },
      ],
    },
    {
      title: 'one protocol in the Service, the other protocol asked for',
      rule: '1.3',
      spec: { ports: [{ name: 'u', port: 80, protocol: 'UDP' }] },
      endpoints: ['pod-1'],
      cases: [
        { from: 'pod', to: 'cluster-ip', protocols: UDP, expect: kept('pod-1') },
        { from: 'outside', to: 'cluster-ip', protocols: TCP, expect: PASSED, except: LOCAL_VIP },
      ],
    },
    {
      title: 'two ports with the same endpoints at different numbers',
      rule: '1.1',
      spec: {
        ports: [
          { name: 'one', port: 80, protocol: 'TCP' },
          { name: 'two', port: 8443, protocol: 'TCP' },
        ],
      },
      slices: [
        {
          endpoints: ['pod-1'],
          ports: [
            { name: 'one', port: 8080, protocol: 'TCP' },
            { name: 'two', port: 9090, protocol: 'TCP' },
          ],
        },
      ],
      cases: [
        { from: 'pod', to: 'cluster-ip', protocols: TCP, expect: kept('pod-1') },
        { from: 'pod', to: 'cluster-ip:8443', protocols: TCP, expect: kept('pod-1/9090') },
      ],
    },
    {
      title: 'a named target port that is another number in each slice',
      rule: '1.9',
      slices: [
        { endpoints: ['pod-1'] },
        {
          endpoints: ['pod-2'],
          ports: [
            { name: 't', port: 9090, protocol: 'TCP' },
            { name: 'u', port: 9090, protocol: 'UDP' },
          ],
        },
      ],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1', 'pod-2/9090') },
        { from: 'outside', to: 'cluster-ip', expect: masqueraded('pod-1', 'pod-2/9090') },
      ],
    },
    {
      title: 'IPv4 alone',
      rule: '1.1',
      families: ['IPv4'],
      endpoints: ['pod-1'],
      cases: [
        { from: 'pod', to: 'cluster-ip', expect: kept('pod-1') },
        {
          from: 'outside',
          to: 'cluster-ip',
          families: ['IPv6'],
          protocols: TCP,
          expect: PASSED,
        },
      ],
    },
    {
      title: 'IPv6 alone',
      rule: '1.1',
      families: ['IPv6'],
      endpoints: ['pod-1'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
    {
      title: 'no ipFamilies, the family is that of the address',
      rule: '1.1',
      families: ['IPv6'],
      spec: { ipFamilies: undefined, ipFamilyPolicy: undefined, clusterIPs: undefined },
      endpoints: ['pod-1'],
      cases: [{ from: 'pod', to: 'cluster-ip', expect: kept('pod-1') }],
    },
  ],
}
