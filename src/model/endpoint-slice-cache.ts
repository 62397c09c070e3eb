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

/** Endpoints sorted by id, under slicePortKey of their port. */
export type EndpointsByPort = ReadonlyMap<string, readonly Endpoint[]>

export interface SliceChange {
  /** Keys of the Services whose endpoints may have changed. */
  readonly serviceKeys: readonly string[]
  readonly problems: readonly ObjectProblem[]
}

/** Key of a port in EndpointsByPort: by name and protocol, never by number. */
export function slicePortKey(portName: string, protocol: Protocol): string {
  return `${portName}/${protocol}`
}

/** A slice as it is kept. */
interface CachedSlice {
  readonly serviceKey: string
  readonly ipFamily: IpFamily
  /** By slicePortKey; endpoints sorted by id, each id once. */
  readonly ports: EndpointsByPort
}

/** Names of nodes and zones that are kept once; more are kept as they come. */
const MAX_NAMES = 20_000

export class EndpointSliceCache {
  readonly #nodeName: string
  /** Service key -> slice key -> slice. No empty inner map. */
  readonly #byService = new Map<string, Map<string, CachedSlice>>()
  /** Slice key -> service key, to find a slice whose label has changed. */
  readonly #serviceOf = new Map<string, string>()
  /** Each text once: 250,000 endpoints are on a few thousand nodes. */
  readonly #names = new Map<string, string>()
  readonly #traits = new SharedTraits()

  /** @param nodeName this node: decides which endpoints are local */
  constructor(nodeName: string) {
    this.#nodeName = nodeName
  }

  /** Takes in a new or changed slice; key is `namespace/name` of the slice. */
  apply(key: string, object: V1EndpointSlice): SliceChange {
    const old = this.#byService.get(this.#serviceOf.get(key) ?? '')?.get(key)
    const before = this.delete(key)
    const { slice: decoded, problems } = decodeEndpointSlice(object, this.#nodeName)
    if (decoded === undefined) return { serviceKeys: before, problems }
    const { serviceKey, ipFamily } = decoded
    const slice = { serviceKey, ipFamily, ports: this.#portsOf(decoded, old?.ports) }
    this.#serviceOf.set(key, serviceKey)
    const slices = this.#byService.get(serviceKey)
    if (slices === undefined) this.#byService.set(serviceKey, new Map([[key, slice]]))
    else slices.set(key, slice)
    return { serviceKeys: [...new Set([...before, serviceKey])], problems }
  }

  /** Forgets a slice; returns the key of the Service it belonged to, if it is known. */
  delete(key: string): readonly string[] {
    const serviceKey = this.#serviceOf.get(key)
    if (serviceKey === undefined) return []
    this.#serviceOf.delete(key)
    const slices = this.#byService.get(serviceKey)
    slices?.delete(key)
    if (slices?.size === 0) this.#byService.delete(serviceKey)
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
    if (only === undefined) return new Map()
    if (others.length === 0) return only.ports
    const byPort = new Map<string, Map<string, Endpoint>>()
    for (const { ports } of [only, ...others]) {
      for (const [key, endpoints] of ports) {
        const merged = byPort.get(key) ?? new Map<string, Endpoint>()
        byPort.set(key, merged)
        for (const endpoint of endpoints) add(merged, endpoint)
      }
    }
    return new Map([...byPort].map(([key, endpoints]) => [key, sortedById(endpoints)]))
  }

  /** The endpoints of a slice's ports; one that has not changed is the same object as before. */
  #portsOf({ ports, endpoints }: DecodedSlice, old: EndpointsByPort | undefined): EndpointsByPort {
    this.#traits.begin()
    const byPort = new Map<string, Map<string, Endpoint>>()
    for (const { name, protocol, port } of ports) {
      const key = slicePortKey(name, protocol)
      const found = byPort.get(key) ?? new Map<string, Endpoint>()
      byPort.set(key, found)
      for (const endpoint of endpoints) add(found, this.#endpointOf(endpoint, port))
    }
    return new Map(
      [...byPort].map(([key, found]) => [
        key,
        shareEndpoints(old?.get(key) ?? [], sortedById(found)),
      ]),
    )
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
    const slices = this.#byService.get(serviceKey)
    if (slices === undefined) return []
    return [...slices]
      .filter(([, slice]) => slice.ipFamily === family)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, slice]) => slice)
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
