/**
 * What a case of the packet suite is made of, and the words for what becomes of a connection.
 *
 * A topic has Services, a Service has cases: from where to which of its destinations, and what is
 * to happen, by the rules of kube-proxy's iptables mode. Where a mode cannot do that by its nature,
 * the case (or the mode, in modes.ts) says what it does in place of it, and why. The cases are
 * data: the runner makes manifests and packets of them, describe-behaviour.ts a page.
 */
import type { IpFamily } from '../../src/lib/ip-address.js'
import type { ModeName } from './modes.js'
import type { ConfigurationName } from './configurations.js'
import type { Place } from './place.js'

/**
 *   outside   a client of no cluster, behind the node's uplink
 *   node      a program on the node, from the node's InternalIP
 *   pod       a pod of this node that is no endpoint
 *   pod-1     the endpoint of that name: it may meet itself
 *   remote    a pod of another node
 */
export type Source = 'outside' | 'node' | 'pod' | 'pod-1' | 'remote'

/** pod-1 and pod-2 are on this node, remote-1 and remote-2 on another; `host` is the node itself. */
export type EndpointPlace = 'pod-1' | 'pod-2' | 'remote-1' | 'remote-2' | 'host'

/** Who answers; `pod-2/9090` is the same pod on another port than 8080. */
export type Responder = EndpointPlace | `${EndpointPlace}/9090`

type Kind =
  | 'cluster-ip'
  | 'external-ip'
  | 'load-balancer-ip'
  /** The first port of the Service at the second IP in its status. */
  | 'load-balancer-ip-2'
  /** On the InternalIP. */
  | 'node-port'
  /** On another address of the node. */
  | 'node-port-2'
  | 'node-port-loopback'
  /** Not a VIP: the InternalIP itself. */
  | 'node-address'
  /** The Service's healthCheckNodePort, on the InternalIP. */
  | 'health-check-node-port'
  /** In the range of cluster IPs, of no Service. */
  | 'free-cluster-ip'

/** A destination; `:81` is port 81 of it in place of the Service's own. */
export type Destination = Kind | `${Kind}:${number}`

/** Of the client, as the endpoint sees it: its own address, one of the node's, or no matter. */
export type Seen = 'client' | 'node' | 'any'

export type Expectation =
  /** Each of these answers, nobody else does. */
  | { readonly kind: 'answered'; readonly by: Readonly<Partial<Record<Responder, Seen>>> }
  /** One of these answers all connections, whatever the destination; `each`: of one destination. */
  | { readonly kind: 'sticky'; readonly by: readonly Responder[]; readonly each?: true }
  /** The client hears at once: ECONNREFUSED, for UDP by an ICMP port unreachable. */
  | { readonly kind: 'rejected' }
  /** The client hears nothing. */
  | { readonly kind: 'dropped' }
  /** HTTP, with this status and that many endpoints in the body. */
  | { readonly kind: 'health'; readonly status: 200 | 503; readonly endpoints: number }
  /** The packet goes on as if there were no proxy, to whoever has the address. */
  | { readonly kind: 'passed' }

export type Protocol = 'TCP' | 'UDP' | 'SCTP'

export interface Difference {
  readonly expect: Expectation
  readonly why: string
}

export interface PacketCase {
  readonly from: Source
  /** Several: a case each; of a sticky expectation one for all. */
  readonly to: Destination | readonly Destination[]
  readonly expect: Expectation
  /** TCP and UDP unless told otherwise. */
  readonly protocols?: readonly Protocol[]
  /** Those of the Service unless told otherwise. */
  readonly families?: readonly IpFamily[]
  readonly except?: Readonly<Partial<Record<ModeName, Difference>>>
}

export interface EndpointSpec {
  readonly at: EndpointPlace
  /** Of its node; where it is unless told otherwise. */
  readonly nodeName?: string
  /** Left out: nil, which counts as ready and serving. */
  readonly conditions?: {
    readonly ready?: boolean
    readonly serving?: boolean
    readonly terminating?: boolean
  }
  readonly zones?: readonly string[]
  readonly nodes?: readonly string[]
  /** In place of its address. */
  readonly addresses?: (own: string, place: Place) => readonly string[]
}

export interface SliceSpec {
  readonly endpoints: readonly (EndpointPlace | EndpointSpec)[]
  /** 8080 of both protocols unless told otherwise. */
  readonly ports?: readonly object[]
  readonly labels?: Readonly<Record<string, string>>
  readonly namespace?: string
  readonly addressType?: string
}

export interface SuiteService {
  /** What is special about it. */
  readonly title: string
  /** Section of the reference that the rules are from. */
  readonly rule: string
  readonly configuration?: ConfigurationName
  /** Both unless told otherwise; both make a dual-stack Service. */
  readonly families?: readonly IpFamily[]
  /** Destinations that it has besides its cluster IP. */
  readonly has?: readonly ('external-ip' | 'load-balancer-ip' | 'node-port')[]
  /** Fields over those of the spec and of the metadata that it would have. */
  readonly spec?: object | ((place: Place) => object)
  readonly metadata?: object
  /** In place of its load-balancer IP. */
  readonly ingress?: (place: Place) => readonly object[]
  /** The one slice (of each family); in place of it, `slices`. */
  readonly endpoints?: readonly (EndpointPlace | EndpointSpec)[]
  readonly slices?: readonly SliceSpec[]
  readonly cases: readonly PacketCase[]
}

export interface Topic {
  readonly title: string
  /** A few sentences for the page. */
  readonly about: string
  readonly services: readonly SuiteService[]
}

export const REJECTED: Expectation = { kind: 'rejected' }
export const DROPPED: Expectation = { kind: 'dropped' }
export const PASSED: Expectation = { kind: 'passed' }

/** All of these answer, and see the client's address. */
export function kept(...by: readonly Responder[]): Expectation {
  return seen(Object.fromEntries(by.map((name) => [name, 'client' as const])))
}

/** All of these answer, and see an address of the node. */
export function masqueraded(...by: readonly Responder[]): Expectation {
  return seen(Object.fromEntries(by.map((name) => [name, 'node' as const])))
}

export function seen(by: Readonly<Partial<Record<Responder, Seen>>>): Expectation {
  return { kind: 'answered', by }
}

export function sticky(...by: readonly Responder[]): Expectation {
  return { kind: 'sticky', by }
}

/** What a health-check node port says. */
export function health(status: 200 | 503, endpoints: number): Expectation {
  return { kind: 'health', status, endpoints }
}

export function notReady(at: EndpointPlace): EndpointSpec {
  return { at, conditions: { ready: false, serving: false, terminating: false } }
}

/** Terminating, and still serving. */
export function terminating(at: EndpointPlace): EndpointSpec {
  return { at, conditions: { ready: false, serving: true, terminating: true } }
}

/** Terminating, and not serving any more. */
export function gone(at: EndpointPlace): EndpointSpec {
  return { at, conditions: { ready: false, serving: false, terminating: true } }
}

/** Here by its link, on another node by its slice. */
export function away(at: EndpointPlace): EndpointSpec {
  return { at, nodeName: 'node-b' }
}
