/** Makes the objects of a Service of the suite: the Service itself, and its slices. */
import type { IpFamily } from '../../src/lib/ip-address.js'
import type { EndpointPlace, EndpointSpec, SliceSpec, SuiteService } from './packet-case.js'
import { ENDPOINTS, FAMILIES, type Place, placeOf } from './place.js'

const NAMESPACE = 'suite'
const SLICE_PORTS = [
  { name: 't', port: 8080, protocol: 'TCP' },
  { name: 'u', port: 8080, protocol: 'UDP' },
]

/** The node that the proxy runs on: its zone, the ranges of its Pods. */
export const NODE = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'node-a', labels: { 'topology.kubernetes.io/zone': 'zone-a' } },
  spec: { podCIDR: '10.244.0.0/17', podCIDRs: ['10.244.0.0/17', 'fd00:244::/41'] },
  status: {
    addresses: [
      { type: 'InternalIP', address: '10.0.1.1' },
      { type: 'InternalIP', address: 'fd00:1::1' },
      { type: 'Hostname', address: 'node-a' },
    ],
  },
}

/** `number`: its place in the suite, which gives it its addresses. */
export function manifestsOf(service: SuiteService, number: number): object[] {
  const families = service.families ?? FAMILIES
  const places = families.map((family) => placeOf(number, family))
  const slices = service.slices ?? (service.endpoints ? [{ endpoints: service.endpoints }] : [])
  return [
    serviceObject(service, places),
    ...slices.flatMap((slice, index) =>
      places.map((place) => sliceObject(slice, place, `${place.name}-${index}`)),
    ),
  ]
}

function serviceObject(service: SuiteService, places: readonly Place[]): object {
  const { has = [], spec = {}, metadata = {}, ingress } = service
  const [first] = places
  const ports = [
    { name: 't', port: 80, protocol: 'TCP' },
    { name: 'u', port: 80, protocol: 'UDP' },
  ].map((port) => (has.includes('node-port') ? { ...port, nodePort: first!.nodePort } : port))
  const ips = (place: Place) => ingress?.(place) ?? [{ ip: place.loadBalancerIp }]
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: first!.name, namespace: NAMESPACE, ...metadata },
    spec: {
      type: has.includes('load-balancer-ip')
        ? 'LoadBalancer'
        : has.includes('node-port')
          ? 'NodePort'
          : 'ClusterIP',
      clusterIP: first!.clusterIp,
      clusterIPs: places.map(({ clusterIp }) => clusterIp),
      ipFamilies: places.map(({ family }) => family),
      ipFamilyPolicy: places.length > 1 ? 'RequireDualStack' : 'SingleStack',
      ports,
      ...(has.includes('external-ip')
        ? { externalIPs: places.map(({ externalIp }) => externalIp) }
        : {}),
      ...specOf(spec, places),
    },
    ...(has.includes('load-balancer-ip')
      ? { status: { loadBalancer: { ingress: places.flatMap((place) => ips(place)) } } }
      : {}),
  }
}

/** Of each family, lists joined. */
function specOf(
  spec: object | ((place: Place) => object),
  places: readonly Place[],
): Record<string, unknown> {
  if (typeof spec !== 'function') return { ...spec }
  const merged: Record<string, unknown> = {}
  for (const place of places) {
    for (const [key, value] of Object.entries((spec as (place: Place) => object)(place))) {
      const before = merged[key]
      merged[key] =
        Array.isArray(before) && Array.isArray(value)
          ? [...new Set<unknown>([...(before as unknown[]), ...(value as unknown[])])]
          : value
    }
  }
  return merged
}

function sliceObject(slice: SliceSpec, place: Place, name: string): object {
  const { endpoints, ports = SLICE_PORTS, labels, namespace = NAMESPACE } = slice
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${place.family.toLowerCase()}`,
      namespace,
      labels: labelled(labels ?? { 'kubernetes.io/service-name': '$name' }, place),
    },
    addressType: slice.addressType ?? place.family,
    ports,
    endpoints: endpoints.map((endpoint) => endpointObject(endpoint, place)),
  }
}

function endpointObject(given: EndpointPlace | EndpointSpec, place: Place): object {
  const spec: EndpointSpec = typeof given === 'string' ? { at: given } : given
  const { at, nodeName, conditions, zones, nodes, addresses } = spec
  const own = addressOf(at, place.family)
  return {
    addresses: addresses?.(own, place) ?? [own],
    nodeName: nodeName ?? ENDPOINTS[at].node,
    ...(conditions === undefined ? {} : { conditions }),
    ...(zones === undefined && nodes === undefined
      ? {}
      : {
          hints: {
            ...(zones === undefined ? {} : { forZones: zones.map((zone) => ({ name: zone })) }),
            ...(nodes === undefined ? {} : { forNodes: nodes.map((node) => ({ name: node })) }),
          },
        }),
  }
}

function addressOf(at: EndpointPlace, family: IpFamily): string {
  return ENDPOINTS[at][family]
}

/** `$name` is the Service's. */
function labelled(labels: Readonly<Record<string, string>>, { name }: Place): object {
  return Object.fromEntries(
    Object.entries(labels).map(([key, value]) => [key, value.replace('$name', name)]),
  )
}
