/** The addresses of the suite's network, and those that a Service of the suite has. */
import type { IpFamily } from '../../src/lib/ip-address.js'
import type { Destination, EndpointPlace, Source } from './packet-case.js'

export const FAMILIES: readonly IpFamily[] = ['IPv4', 'IPv6']

type Both = Readonly<Record<IpFamily, string>>

/** Addresses of the clients, as endpoints see them when nothing is masqueraded. */
export const SOURCES: Readonly<Record<Source, Both>> = {
  outside: { IPv4: '10.0.1.2', IPv6: 'fd00:1::2' },
  node: { IPv4: '10.0.1.1', IPv6: 'fd00:1::1' },
  pod: { IPv4: '10.244.3.2', IPv6: 'fd00:244:3::2' },
  'pod-1': { IPv4: '10.244.1.2', IPv6: 'fd00:244:1::2' },
  remote: { IPv4: '10.244.130.2', IPv6: 'fd00:244:82::2' },
}

export const ENDPOINTS: Readonly<Record<EndpointPlace, Both & { readonly node: string }>> = {
  'pod-1': { IPv4: '10.244.1.2', IPv6: 'fd00:244:1::2', node: 'node-a' },
  'pod-2': { IPv4: '10.244.2.2', IPv6: 'fd00:244:2::2', node: 'node-a' },
  'remote-1': { IPv4: '10.244.128.2', IPv6: 'fd00:244:80::2', node: 'node-b' },
  'remote-2': { IPv4: '10.244.129.2', IPv6: 'fd00:244:81::2', node: 'node-b' },
  host: { IPv4: '10.0.1.1', IPv6: 'fd00:1::1', node: 'node-a' },
}

/** The link to the other node, and the one to the world. */
export const REMOTE_LINK: Both = { IPv4: '10.0.8', IPv6: 'fd00:8::' }
export const WORLD_LINK: Both = { IPv4: '10.0.7', IPv6: 'fd00:7::' }

/** All VIPs of the suite are in here; the world answers for those that nobody takes. */
export const VIP_RANGES: Readonly<Record<IpFamily, readonly string[]>> = {
  IPv4: ['10.96.0.0/12', '198.18.0.0/15'],
  IPv6: ['fd00:96::/32', '2001:db8::/32'],
}

/** Of the node: what an endpoint may see of a masqueraded connection. */
export const NODE_ADDRESSES: Readonly<Record<IpFamily, readonly string[]>> = {
  IPv4: ['10.0.1.1', '10.0.7.1', '10.0.8.1', '10.0.9.1', '10.244.1.1', '10.244.2.1', '10.244.3.1'],
  IPv6: [
    'fd00:1::1',
    'fd00:7::1',
    'fd00:8::1',
    'fd00:9::1',
    'fd00:244:1::1',
    'fd00:244:2::1',
    'fd00:244:3::1',
  ],
}

const NODE_PORT_BASE = 30_000
const HEALTH_PORT_BASE = 31_000
/** Places of addresses that no Service of the suite has. */
const FREE = 60_000

/** What the Service of that number in the suite has, in one family. */
export interface Place {
  readonly family: IpFamily
  readonly name: string
  readonly clusterIp: string
  readonly externalIp: string
  readonly loadBalancerIp: string
  readonly loadBalancerIp2: string
  readonly nodePort: number
  readonly healthCheckNodePort: number
}

export function placeOf(number: number, family: IpFamily): Place {
  const v4 = (network: string) => `${network}.${number >> 8}.${number & 255}`
  const v6 = (network: string) => `${network}::${number.toString(16)}`
  const [cluster, external, balancer, balancer2] =
    family === 'IPv4'
      ? [v4('10.96'), v4('198.18'), v4('198.19'), v4('10.111')]
      : [v6('fd00:96'), v6('2001:db8:1'), v6('2001:db8:2'), v6('2001:db8:3')]
  return {
    family,
    name: `s${number}`,
    clusterIp: cluster,
    externalIp: external,
    loadBalancerIp: balancer,
    loadBalancerIp2: balancer2,
    nodePort: NODE_PORT_BASE + number,
    healthCheckNodePort: HEALTH_PORT_BASE + number,
  }
}

/** Address and port of a destination of the Service at that place. */
export function targetOf(destination: Destination, place: Place): { host: string; port: number } {
  const [kind, port] = destination.split(':')
  const { family } = place
  const [host, ownPort] = ((): [string, number] => {
    switch (kind ?? '') {
      case 'external-ip':
        return [place.externalIp, 80]
      case 'load-balancer-ip':
        return [place.loadBalancerIp, 80]
      case 'load-balancer-ip-2':
        return [place.loadBalancerIp2, 80]
      case 'node-port':
        return [SOURCES.node[family], place.nodePort]
      case 'node-port-2':
        return [family === 'IPv4' ? '10.244.1.1' : 'fd00:244:1::1', place.nodePort]
      case 'node-port-loopback':
        return [family === 'IPv4' ? '127.0.0.1' : '::1', place.nodePort]
      case 'health-check-node-port':
        return [SOURCES.node[family], place.healthCheckNodePort]
      case 'node-address':
        return [SOURCES.node[family], 80]
      case 'free-cluster-ip':
        return [placeOf(FREE, family).clusterIp, 80]
      default:
        return [place.clusterIp, 80]
    }
  })()
  return { host, port: port === undefined ? ownPort : Number(port) }
}
