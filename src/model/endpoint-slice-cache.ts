/**
 * All EndpointSlices, by the Service they belong to, and the endpoints of a Service's ports made
 * of them. Slices are kept as the endpoints that a Snapshot has, the same objects, so that each endpoint
 * is in memory once and an API object is not held on to.
 * Source of the rules: kube-proxy pkg/proxy/endpointslicecache.go.
 */
import type { V1EndpointSlice } from '@kubernetes/client-node'
import { formatAddress, type IpFamily } from '../lib/ip-address.js'
import { CompactEndpoint, SharedTraits } from './compact-endpoint.js'
import {
  decodeEndpointSlice,
  type DecodedSlice,
  type SliceEndpoint,
} from './decode-endpoint-slice.js'
import type { Endpoint } from './endpoint.js'
import type { Protocol } from './service-port.js'
import { shareEndpoints } from './share-structure.js'
import type { ObjectProblem } from './snapshot.js'

/** The endpoints of one port, sorted by id. */
export interface PortEndpoints {
  /** slicePortKey */
  readonly key: string
  readonly endpoints: readonly Endpoint[]
}

/**
 * By port, each key once. A list and no Map: slices have a port or two, and there are many slices (an
 * empty Map takes 200 bytes).
 */
export type EndpointsByPort = readonly PortEndpoints[]

export interface SliceChange {
  /** Keys of the Services whose endpoints may have changed. */
  readonly serviceKeys: readonly string[]
  readonly problems: readonly ObjectProblem[]
}

/** Key of a port in EndpointsByPort: by name and protocol, never by number. */
export function slicePortKey(portName: string, protocol: Protocol): string {
  return `${portName}/${protocol}`
}

/** The endpoints of the port with that key. */
export function endpointsUnder(byPort: EndpointsByPort, key: string): readonly Endpoint[] {
  return byPort.find((port) => port.key === key)?.endpoints ?? []
}

/** A slice as it is kept. */
interface CachedSlice {
  /** `namespace/name` of the slice. */
  readonly key: string
  readonly serviceKey: string
  readonly ipFamily: IpFamily
  /** Each id once a port. */
  readonly ports: EndpointsByPort
}

/** Names of nodes and zones that are kept once; more are kept as they come. */
const MAX_NAMES = 20_000

export class EndpointSliceCache {
  readonly #nodeName: string
  /** Service key -> slices, sorted by their keys. No empty list. */
  readonly #byService = new Map<string, readonly CachedSlice[]>()
  /** By slice key: to find a slice whose label has changed. */
  readonly #slices = new Map<string, CachedSlice>()
  /** Each text once: 250,000 endpoints are on a few thousand nodes. */
  readonly #names = new Map<string, string>()
  readonly #traits = new SharedTraits()

  /** @param nodeName this node: decides which endpoints are local */
  constructor(nodeName: string) {
    this.#nodeName = nodeName
  }

  /** Takes in a new or changed slice; key is `namespace/name` of the slice. */
  apply(key: string, object: V1EndpointSlice): SliceChange {
    const old = this.#slices.get(key)
    const before = this.delete(key)
    const { slice: decoded, problems } = decodeEndpointSlice(object, this.#nodeName)
    if (decoded === undefined) return { serviceKeys: before, problems }
    const { serviceKey, ipFamily } = decoded
    const slice = { key, serviceKey, ipFamily, ports: this.#portsOf(decoded, old?.ports ?? []) }
    this.#slices.set(key, slice)
    const others = this.#byService.get(serviceKey) ?? []
    const at = others.findIndex((other) => other.key > key)
    this.#byService.set(serviceKey, others.toSpliced(at < 0 ? others.length : at, 0, slice))
    return { serviceKeys: [...new Set([...before, serviceKey])], problems }
  }

  /** Forgets a slice; returns the key of the Service it belonged to, if it is known. */
  delete(key: string): readonly string[] {
    const slice = this.#slices.get(key)
    if (slice === undefined) return []
    this.#slices.delete(key)
    const { serviceKey } = slice
    const others = this.#byService.get(serviceKey)?.filter((other) => other !== slice) ?? []
    if (others.length === 0) this.#byService.delete(serviceKey)
    else this.#byService.set(serviceKey, others)
    return [serviceKey]
  }

  /**
   * The endpoints of a Service in one family. The same ip:port may be in several slices (a pod
   * moves between slices, or a new pod has the IP of one that ends): the last one seen wins, but a
   * terminating one never replaces another. "Last" is by slice name, so the result is the same
   * whatever the order of arrival.
   */
  endpointsOf(serviceKey: string, family: IpFamily): EndpointsByPort {
    const [only, ...others] = this.#slicesOf(serviceKey, family)
    if (only === undefined) return []
    if (others.length === 0) return only.ports
    const byPort = new Map<string, Map<string, Endpoint>>()
    for (const { ports } of [only, ...others]) {
      for (const { key, endpoints } of ports) {
        const merged = byPort.get(key) ?? new Map<string, Endpoint>()
        byPort.set(key, merged)
        for (const endpoint of endpoints) add(merged, endpoint)
      }
    }
    return [...byPort].map(([key, endpoints]) => ({ key, endpoints: sortedById(endpoints) }))
  }

  /** The endpoints of a slice's ports; one that has not changed is the same object as before. */
  #portsOf({ ports, endpoints }: DecodedSlice, old: EndpointsByPort): EndpointsByPort {
    this.#traits.begin()
    const byPort = new Map<string, Map<string, Endpoint>>()
    for (const { name, protocol, port } of ports) {
      const key = slicePortKey(name, protocol)
      const found = byPort.get(key) ?? new Map<string, Endpoint>()
      byPort.set(key, found)
      for (const endpoint of endpoints) add(found, this.#endpointOf(endpoint, port))
    }
    return [...byPort].map(([key, found]) => ({
      key,
      endpoints: shareEndpoints(endpointsUnder(old, key), sortedById(found)),
    }))
  }

  #endpointOf(endpoint: SliceEndpoint, port: number): Endpoint {
    const { isLocal, isReady, isServing, isTerminating, weight, zoneHints, nodeHints } = endpoint
    const names = { nodeName: this.#once(endpoint.nodeName), podName: endpoint.podName }
    const zone = this.#once(endpoint.zone)
    const conditions = { isLocal, isReady, isServing, isTerminating }
    const traits = this.#traits.share({ port, ...conditions, weight, zoneHints, nodeHints, zone })
    return new CompactEndpoint(formatAddress(endpoint.ip, port), names, traits)
  }

  #once(name: string | undefined): string | undefined {
    if (name === undefined) return undefined
    const known = this.#names.get(name)
    if (known === undefined && this.#names.size < MAX_NAMES) this.#names.set(name, name)
    return known ?? name
  }

  #slicesOf(serviceKey: string, family: IpFamily): CachedSlice[] {
    const slices = this.#byService.get(serviceKey) ?? []
    return slices.filter((slice) => slice.ipFamily === family)
  }
}

/** The last one wins, but a terminating one never replaces another. */
function add(endpoints: Map<string, Endpoint>, endpoint: Endpoint): void {
  if (endpoint.isTerminating && endpoints.has(endpoint.id)) return
  endpoints.set(endpoint.id, endpoint)
}

function sortedById(endpoints: ReadonlyMap<string, Endpoint>): readonly Endpoint[] {
  return [...endpoints.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
}
