/**
 * All EndpointSlices, by the Service they belong to, and the endpoints of a Service's ports made
 * of them. Slices are kept decoded, so an API object is not held on to.
 * Source of the rules: kube-proxy pkg/proxy/endpointslicecache.go.
 */
import type { V1EndpointSlice } from '@kubernetes/client-node'
import { formatAddress, type IpFamily } from '../lib/ip-address.js'
import { decodeEndpointSlice, type DecodedSlice } from './decode-endpoint-slice.js'
import type { Endpoint } from './endpoint.js'
import type { Protocol } from './service-port.js'
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

export class EndpointSliceCache {
  readonly #nodeName: string
  /** Service key -> slice key -> slice. No empty inner map. */
  readonly #byService = new Map<string, Map<string, DecodedSlice>>()
  /** Slice key -> service key, to find a slice whose label has changed. */
  readonly #serviceOf = new Map<string, string>()

  /** @param nodeName this node: decides which endpoints are local */
  constructor(nodeName: string) {
    this.#nodeName = nodeName
  }

  /** Takes in a new or changed slice; key is `namespace/name` of the slice. */
  apply(key: string, object: V1EndpointSlice): SliceChange {
    const before = this.delete(key)
    const { slice, problems } = decodeEndpointSlice(object, this.#nodeName)
    if (slice === undefined) return { serviceKeys: before, problems }
    const { serviceKey } = slice
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
    const byPort = new Map<string, Map<string, Endpoint>>()
    for (const slice of this.#slicesOf(serviceKey, family)) {
      for (const { name, protocol, port } of slice.ports) {
        const key = slicePortKey(name, protocol)
        const endpoints = byPort.get(key) ?? new Map<string, Endpoint>()
        byPort.set(key, endpoints)
        for (const endpoint of slice.endpoints) {
          const id = formatAddress(endpoint.ip, port)
          if (endpoint.isTerminating && endpoints.has(id)) continue
          endpoints.set(id, { id, port, ...endpoint })
        }
      }
    }
    return new Map([...byPort].map(([key, endpoints]) => [key, sortedById(endpoints)]))
  }

  #slicesOf(serviceKey: string, family: IpFamily): DecodedSlice[] {
    const slices = this.#byService.get(serviceKey)
    if (slices === undefined) return []
    return [...slices]
      .filter(([, slice]) => slice.ipFamily === family)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, slice]) => slice)
  }
}

function sortedById(endpoints: ReadonlyMap<string, Endpoint>): readonly Endpoint[] {
  return [...endpoints.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
}
