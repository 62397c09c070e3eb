/**
 * What the demo is made of: Services, pods and addresses, the same as in deploy/examples (a test
 * compares them). Pure constants; stage.ts builds it.
 *
 *   client 10.90.0.2 ---- 10.90.0.1 node ---- 10.244.0.11  pod echo-1
 *                           (the proxy)  \--- 10.244.0.12  pod echo-2   ... nine pods
 *
 * Every pod has a veth pair of its own and a host route: no bridge, which some kernels lack.
 */
export type DemoServiceName = 'echo' | 'http' | 'dns'

export const NETNS_PREFIX = 'ks-demo'
export const NODE_NAME = 'demo-node'

export const CLIENT = { ipv4: '10.90.0.2', ipv6: 'fd00:90::2' }
export const NODE = { ipv4: '10.90.0.1', ipv6: 'fd00:90::1' }
/** What the node dials pods from, on its loopback device. */
export const NODE_POD_GATEWAY = { ipv4: '10.244.0.1', ipv6: 'fd00:244::1' }
/** The node's end of every pod's link: link-local, so it may be the same on all of them. */
export const NODE_LINK_LOCAL = 'fe80::1'

export const HEALTHZ = '127.0.0.1:10256'
export const METRICS = '127.0.0.1:10249'

export interface PodAddresses {
  readonly ipv4: string
  /** Only pods of a dual-stack Service. */
  readonly ipv6: string | undefined
}

export interface PodPlan {
  readonly name: string
  readonly service: DemoServiceName
  readonly port: number
  readonly first: PodAddresses
  /** What it comes back with after it was killed. */
  readonly second: PodAddresses
}

/** An address that clients of a Service go to. */
export interface Target {
  readonly address: string
  readonly port: number
}

export interface ServicePlan {
  readonly name: DemoServiceName
  /** How clients are told to reach it. */
  readonly title: string
  readonly targets: readonly Target[]
  readonly pods: readonly PodPlan[]
}

interface ServiceShape {
  readonly name: DemoServiceName
  readonly podPort: number
  /** Last number of the first pod's address, less one. */
  readonly firstHost: number
  readonly isDualStack: boolean
}

const PODS_PER_SERVICE = 3
/** Added to the last number of an address when a pod comes back. */
const SECOND_ADDRESS_OFFSET = 100

/** The three Services. `withIpv6`: whether the kernel has it. */
export function planServices(withIpv6: boolean): readonly ServicePlan[] {
  const echoV6: readonly Target[] = withIpv6 ? [{ address: 'fd00:96::10', port: 7 }] : []
  return [
    {
      name: 'echo',
      title: withIpv6 ? 'TCP 10.96.0.10:7 and [fd00:96::10]:7' : 'TCP 10.96.0.10:7',
      targets: [{ address: '10.96.0.10', port: 7 }, ...echoV6],
      pods: planPods({ name: 'echo', podPort: 7007, firstHost: 10, isDualStack: withIpv6 }),
    },
    {
      name: 'http',
      title: 'HTTP 10.96.0.20:80 and node port 30080',
      targets: [
        { address: '10.96.0.20', port: 80 },
        { address: NODE.ipv4, port: 30080 },
      ],
      pods: planPods({ name: 'http', podPort: 8080, firstHost: 20, isDualStack: false }),
    },
    {
      name: 'dns',
      title: 'UDP 10.96.0.53:53',
      targets: [{ address: '10.96.0.53', port: 53 }],
      pods: planPods({ name: 'dns', podPort: 5353, firstHost: 30, isDualStack: false }),
    },
  ]
}

function planPods(shape: ServiceShape): readonly PodPlan[] {
  return Array.from({ length: PODS_PER_SERVICE }, (_, index) => {
    const host = shape.firstHost + index + 1
    return {
      name: `${shape.name}-${index + 1}`,
      service: shape.name,
      port: shape.podPort,
      first: addressesOf(host, shape.isDualStack),
      second: addressesOf(host + SECOND_ADDRESS_OFFSET, shape.isDualStack),
    }
  })
}

function addressesOf(host: number, isDualStack: boolean): PodAddresses {
  return { ipv4: `10.244.0.${host}`, ipv6: isDualStack ? `fd00:244::${host}` : undefined }
}
