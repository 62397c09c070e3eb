/**
 * A discovery.k8s.io/v1 EndpointSlice reduced to what a proxy needs. Pure and total: what cannot
 * be used is left out and listed as a problem.
 * Source of the rules: kube-proxy pkg/proxy/endpointslicecache.go, endpointschangetracker.go.
 */
import type { DiscoveryV1EndpointPort, V1Endpoint, V1EndpointSlice } from '@kubernetes/client-node'
import { familyOf, parseIpAddress, type IpFamily } from '../lib/ip-address.js'
import type { Endpoint } from './endpoint.js'
import { DEFAULT_WEIGHT, endpointWeights } from './endpoint-weights.js'
import {
  hasKey,
  reportingFor,
  isObjectName,
  isPort,
  itemsOf,
  quote,
  textOf,
  type ReportField,
} from './object-fields.js'
import type { Protocol } from './service-port.js'
import type { ObjectProblem } from './snapshot.js'
import { protocolOf } from './translate-service.js'

/** Names the Service that a slice belongs to, in the slice's own namespace. */
export const SERVICE_NAME_LABEL = 'kubernetes.io/service-name'
/** A slice with this label, whatever its value, belongs to a headless Service. */
export const HEADLESS_LABEL = 'service.kubernetes.io/headless'

export interface SlicePort {
  readonly name: string
  readonly protocol: Protocol
  readonly port: number
}

/** An endpoint before it meets a port: all fields but the two that depend on the port. */
export type SliceEndpoint = Omit<Endpoint, 'id' | 'port'>

export interface DecodedSlice {
  /** `namespace/name` of the Service. */
  readonly serviceKey: string
  readonly ipFamily: IpFamily
  readonly ports: readonly SlicePort[]
  readonly endpoints: readonly SliceEndpoint[]
}

export interface DecodeResult {
  /** undefined: not for us (headless, FQDN, no Service named). */
  readonly slice: DecodedSlice | undefined
  readonly problems: readonly ObjectProblem[]
}

/** One object for "no hints": most endpoints have none, and there may be 250,000 of them. */
const NO_HINTS: readonly string[] = []

/** Decodes a slice as seen from the node of that name, which decides which endpoints are local. */
export function decodeEndpointSlice(slice: V1EndpointSlice, nodeName: string): DecodeResult {
  const { identity, problems, report } = reportingFor('EndpointSlice', slice.metadata)
  if (identity === undefined) {
    report('metadata.name', 'the name or the namespace is not a DNS name; the slice is ignored')
    return { slice: undefined, problems }
  }
  const labels = slice.metadata?.labels
  const serviceName = labels?.[SERVICE_NAME_LABEL]
  const ipFamily = slice.addressType
  if (!isObjectName(serviceName) || hasKey(labels, HEADLESS_LABEL) || !isFamily(ipFamily)) {
    return { slice: undefined, problems }
  }
  return {
    slice: {
      serviceKey: `${identity.namespace}/${serviceName}`,
      ipFamily,
      ports: portsOf(slice.ports, report),
      endpoints: endpointsOf(slice.endpoints, {
        ipFamily,
        nodeName,
        weights: endpointWeights(slice.metadata?.annotations, report),
        report,
      }),
    },
    problems,
  }
}

function isFamily(addressType: string): addressType is IpFamily {
  return addressType === 'IPv4' || addressType === 'IPv6'
}

/** A Service port finds its endpoints by port name and protocol; "all ports" (no number) is not supported. */
function portsOf(
  ports: readonly DiscoveryV1EndpointPort[] | undefined,
  report: ReportField,
): SlicePort[] {
  const usable: SlicePort[] = []
  for (const [index, { name, port, protocol }] of itemsOf(ports)) {
    const known = protocolOf(protocol)
    if (typeof name !== 'string') {
      report(`ports[${index}].name`, 'is missing; the port is left out')
    } else if (!isPort(port)) {
      report(
        `ports[${index}].port`,
        `must be an integer from 1 to 65535, is ${quote(port)}; left out`,
      )
    } else if (known === undefined) {
      report(
        `ports[${index}].protocol`,
        `${quote(protocol)} is not TCP, UDP or SCTP; the port is left out`,
      )
    } else {
      usable.push({ name, protocol: known, port })
    }
  }
  return usable
}

function endpointsOf(
  endpoints: readonly V1Endpoint[] | undefined,
  context: {
    ipFamily: IpFamily
    nodeName: string
    weights: ReadonlyMap<string, number>
    report: ReportField
  },
): SliceEndpoint[] {
  const usable: SliceEndpoint[] = []
  for (const [index, endpoint] of itemsOf(endpoints)) {
    // further addresses of an endpoint have no meaning, kube-proxy does not look at them either
    const text = itemsOf(endpoint.addresses)[0]?.[1]
    const ip = typeof text === 'string' ? parseIpAddress(text) : undefined
    if (ip === undefined || familyOf(ip) !== context.ipFamily) {
      context.report(
        `endpoints[${index}].addresses[0]`,
        `${quote(text)} is not an ${context.ipFamily} address; the endpoint is left out`,
      )
    } else {
      usable.push(sliceEndpoint(ip, endpoint, context))
    }
  }
  return usable
}

function sliceEndpoint(
  ip: string,
  endpoint: V1Endpoint,
  { nodeName: thisNode, weights }: { nodeName: string; weights: ReadonlyMap<string, number> },
): SliceEndpoint {
  const { conditions, hints, targetRef } = endpoint
  const nodeName = textOf(endpoint.nodeName)
  return {
    ip,
    isLocal: nodeName === thisNode,
    // an unset condition reads as "yes" for ready and serving, as "no" for terminating
    isReady: conditions?.ready !== false,
    isServing: conditions?.serving !== false,
    isTerminating: conditions?.terminating === true,
    weight: weights.get(ip) ?? DEFAULT_WEIGHT,
    zoneHints: hintNames(hints?.forZones),
    nodeHints: hintNames(hints?.forNodes),
    nodeName,
    zone: textOf(endpoint.zone),
    podName: targetRef?.kind === 'Pod' ? textOf(targetRef.name) : undefined,
  }
}

function hintNames(hints: readonly { readonly name: string }[] | undefined): readonly string[] {
  const names = itemsOf(hints).flatMap(([, hint]) => textOf(hint.name) ?? [])
  return names.length === 0 ? NO_HINTS : names
}
