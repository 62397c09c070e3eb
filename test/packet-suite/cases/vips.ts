/** Load-balancer IPs, external IPs and node ports: which there are. */
import { DROPPED, kept, masqueraded, PASSED, REJECTED, type Topic } from '../packet-case.js'
import { LOCAL_VIP, ON_LOOPBACK } from '../reasons.js'

const TCP = ['TCP'] as const

export const vips: Topic = {
  title: 'Load-balancer and external IPs',
  about:
    'Load-balancer IPs are those in the status, unless the load balancer itself translates (`ipMode: Proxy`). Whether the node has the address does not matter.',
  services: [
    {
      title: 'ipMode Proxy',
      rule: '1.3',
      has: ['load-balancer-ip', 'node-port'],
      ingress: ({ loadBalancerIp }) => [{ ip: loadBalancerIp, ipMode: 'Proxy' }],
      endpoints: ['pod-1'],
      cases: [
        { from: 'outside', to: 'load-balancer-ip', protocols: TCP, expect: PASSED },
        { from: 'node', to: 'load-balancer-ip', protocols: TCP, expect: PASSED },
        { from: 'outside', to: ['cluster-ip', 'node-port'], expect: masqueraded('pod-1') },
      ],
    },
    {
      title: 'ipMode VIP',
      rule: '1.3',
      has: ['load-balancer-ip'],
      ingress: ({ loadBalancerIp }) => [{ ip: loadBalancerIp, ipMode: 'VIP' }],
      endpoints: ['pod-1'],
      cases: [{ from: 'outside', to: 'load-balancer-ip', expect: masqueraded('pod-1') }],
    },
    {
      title: 'two load-balancer IPs, one of them by ipMode Proxy',
      rule: '1.3',
      has: ['load-balancer-ip'],
      ingress: ({ loadBalancerIp, loadBalancerIp2 }) => [
        { ip: loadBalancerIp2, ipMode: 'Proxy' },
        { ip: loadBalancerIp },
      ],
      endpoints: ['pod-1'],
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: masqueraded('pod-1') },
        {
          from: 'outside',
          to: 'load-balancer-ip-2',
          protocols: TCP,
          expect: PASSED,
        },
      ],
    },
    {
      title: 'two load-balancer IPs',
      rule: '1.3',
      has: ['load-balancer-ip'],
      ingress: ({ loadBalancerIp, loadBalancerIp2 }) => [
        { ip: loadBalancerIp },
        { ip: loadBalancerIp2 },
      ],
      endpoints: ['pod-1', 'pod-2'],
      cases: [
        {
          from: 'outside',
          to: ['load-balancer-ip', 'load-balancer-ip-2'],
          expect: masqueraded('pod-1', 'pod-2'),
        },
      ],
    },
    {
      title: 'a host name in the status, beside an IP',
      rule: '1.3',
      has: ['load-balancer-ip'],
      ingress: ({ loadBalancerIp }) => [{ hostname: 'lb.example.com' }, { ip: loadBalancerIp }],
      endpoints: ['pod-1'],
      cases: [{ from: 'outside', to: 'load-balancer-ip', expect: masqueraded('pod-1') }],
    },
    {
      title: 'an IP of a family that the Service does not have',
      rule: '1.3',
      has: ['load-balancer-ip'],
      families: ['IPv4'],
      ingress: ({ name, loadBalancerIp }) => [
        { ip: loadBalancerIp },
        { ip: `2001:db8:2::${Number(name.slice(1)).toString(16)}` },
      ],
      endpoints: ['pod-1'],
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: masqueraded('pod-1') },
        {
          from: 'outside',
          to: 'load-balancer-ip',
          families: ['IPv6'],
          protocols: TCP,
          expect: PASSED,
        },
      ],
    },
    {
      title: 'allocateLoadBalancerNodePorts: false',
      rule: '1.9',
      has: ['load-balancer-ip'],
      spec: { allocateLoadBalancerNodePorts: false },
      endpoints: ['pod-1'],
      cases: [
        { from: 'outside', to: 'load-balancer-ip', expect: masqueraded('pod-1') },
        { from: 'outside', to: 'node-port', expect: REJECTED },
      ],
    },
    {
      title: 'a port that the Service does not have',
      rule: '1.3',
      has: ['load-balancer-ip', 'external-ip'],
      endpoints: ['pod-1'],
      cases: [
        {
          from: 'outside',
          to: ['load-balancer-ip:81', 'external-ip:81'],
          protocols: TCP,
          expect: PASSED,
          except: LOCAL_VIP,
        },
      ],
    },
    {
      title: 'an external IP that is the node’s own address',
      rule: '1.3',
      spec: ({ family }) => ({
        externalIPs: [family === 'IPv4' ? '10.0.1.1' : 'fd00:1::1'],
        ports: [
          { name: 't', port: 7001, protocol: 'TCP' },
          { name: 'u', port: 7001, protocol: 'UDP' },
        ],
      }),
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'outside', to: 'node-address:7001', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'node', to: 'node-address:7001', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'pod', to: 'node-address:7001', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'pod', to: 'cluster-ip:7001', expect: kept('pod-1', 'remote-1') },
      ],
    },
    {
      title:
        'an external IP that is the node’s own address, policy Local, endpoints elsewhere only',
      rule: '1.3',
      spec: ({ family }) => ({
        externalTrafficPolicy: 'Local',
        externalIPs: [family === 'IPv4' ? '10.0.1.1' : 'fd00:1::1'],
        ports: [
          { name: 't', port: 7002, protocol: 'TCP' },
          { name: 'u', port: 7002, protocol: 'UDP' },
        ],
      }),
      endpoints: ['remote-1'],
      cases: [
        { from: 'outside', to: 'node-address:7002', expect: DROPPED },
        { from: 'pod', to: 'node-address:7002', expect: kept('remote-1') },
      ],
    },
  ],
}

export const nodePorts: Topic = {
  title: 'Node ports',
  about:
    'A node port is served at all addresses of the node, or at those that `--nodeport-addresses` says; over IPv4 on loopback as well.',
  services: [
    {
      title: 'no addresses said',
      rule: '1.5',
      has: ['node-port'],
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        {
          from: 'outside',
          to: ['node-port', 'node-port-2'],
          expect: masqueraded('pod-1', 'remote-1'),
        },
        { from: 'node', to: 'node-port-2', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'pod', to: 'node-port-2', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'remote', to: 'node-port', expect: masqueraded('pod-1', 'remote-1') },
        {
          from: 'node',
          to: 'node-port-loopback',
          families: ['IPv4'],
          expect: masqueraded('pod-1', 'remote-1'),
          except: ON_LOOPBACK,
        },
        { from: 'node', to: 'node-port-loopback', families: ['IPv6'], expect: REJECTED },
        { from: 'outside', to: 'node-address', expect: REJECTED },
      ],
    },
    {
      title: 'no endpoints, on loopback',
      rule: '1.5',
      has: ['node-port'],
      families: ['IPv4'],
      cases: [{ from: 'node', to: 'node-port-loopback', expect: REJECTED }],
    },
    {
      title: 'policy Local, on loopback',
      rule: '1.5',
      has: ['node-port'],
      families: ['IPv4'],
      spec: { externalTrafficPolicy: 'Local' },
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        {
          from: 'node',
          to: 'node-port-loopback',
          expect: masqueraded('pod-1', 'remote-1'),
          except: ON_LOOPBACK,
        },
      ],
    },
    {
      title: 'addresses said: a range of each family',
      rule: '1.5',
      configuration: 'masquerade-all',
      has: ['node-port'],
      endpoints: ['pod-1', 'remote-1'],
      cases: [
        { from: 'outside', to: 'node-port', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'node', to: 'node-port', expect: masqueraded('pod-1', 'remote-1') },
        { from: 'outside', to: 'node-port-2', expect: REJECTED },
        { from: 'node', to: 'node-port-loopback', expect: REJECTED },
      ],
    },
    {
      title: 'addresses said: primary',
      rule: '1.5',
      configuration: 'no-detector',
      has: ['node-port'],
      endpoints: ['pod-1'],
      cases: [
        { from: 'outside', to: 'node-port', expect: masqueraded('pod-1') },
        { from: 'outside', to: 'node-port-2', expect: REJECTED },
        { from: 'node', to: 'node-port-loopback', expect: REJECTED },
      ],
    },
    {
      title: 'addresses said: loopback among them, none of IPv6',
      rule: '1.5',
      configuration: 'node-cidr',
      has: ['node-port'],
      endpoints: ['pod-1'],
      cases: [
        { from: 'outside', to: 'node-port', expect: masqueraded('pod-1') },
        { from: 'outside', to: 'node-port-2', families: ['IPv4'], expect: REJECTED },
        { from: 'outside', to: 'node-port-2', families: ['IPv6'], expect: masqueraded('pod-1') },
        {
          from: 'node',
          to: 'node-port-loopback',
          families: ['IPv4'],
          expect: masqueraded('pod-1'),
          except: ON_LOOPBACK,
        },
      ],
    },
  ],
}
