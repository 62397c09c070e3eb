/**
 * The state of the cluster as this node's proxy sees it: takes the changes of a source and gives
 * Snapshots. Incremental: a change marks the Services it touches, and the next Snapshot recomputes
 * those, once each, and nothing else.
 *
 * Invariants: a ServicePortState that did not change in value is the same object in the next
 * Snapshot, even when its objects were applied again; a Snapshot never changes; a bad object costs
 * only itself.
 * Bounds: problems not yet taken are at most MAX_PENDING_PROBLEMS, more are counted. Memory is
 * that of the objects, which the source bounds.
 */
import type { ClusterChange, ClusterObject, ObjectKind } from '../source/cluster-source.js'
import { SortedMap } from '../lib/sorted-map.js'
import { categorizeEndpoints } from './categorize-endpoints.js'
import {
  EndpointSliceCache,
  endpointsUnder,
  slicePortKey,
  type EndpointsByPort,
} from './endpoint-slice-cache.js'
import type { ServicePort } from './service-port.js'
import { sameValue, shareEndpoints, shareState } from './share-structure.js'
import type { NodeState, ObjectProblem, ServicePortState, Snapshot } from './snapshot.js'
import { translateNode, unknownNode } from './translate-node.js'
import { translateService } from './translate-service.js'

const MAX_PENDING_PROBLEMS = 1000

export class ClusterState {
  readonly #nodeName: string
  readonly #nodeIp: string | undefined
  readonly #slices: EndpointSliceCache
  /** Service key -> its ports of both families. Services that are not served have no entry. */
  readonly #ports = new Map<string, readonly ServicePort[]>()
  /** Service key -> states, in the order of its ports. */
  readonly #states = new Map<string, readonly ServicePortState[]>()
  #node: NodeState
  /** Services to recompute before the next Snapshot. */
  readonly #touched = new Set<string>()

  /** By ServicePort.id, without what is in #changed. */
  #byId = SortedMap.empty<ServicePortState>()
  /** New states since the last Snapshot; undefined: gone. */
  readonly #changed = new Map<string, ServicePortState | undefined>()
  /** The latest Snapshot, while nothing has changed since. */
  #snapshot: Snapshot | undefined
  #generation = 0

  /** Kind and key -> the problems reported for that object, so that each is reported once. */
  readonly #reported = new Map<string, ReadonlySet<string>>()
  #pending: ObjectProblem[] = []
  #notPending = 0

  /**
   * @param options.nodeName name of this node's Node object; decides which endpoints are local
   * @param options.nodeIp the node's primary address of its family, whatever its object says
   */
  constructor(options: { readonly nodeName: string; readonly nodeIp?: string | undefined }) {
    this.#nodeName = options.nodeName
    this.#nodeIp = options.nodeIp
    this.#slices = new EndpointSliceCache(options.nodeName)
    this.#node = this.#withIp(unknownNode(options.nodeName))
  }

  /** Takes in a batch of changes. Never throws on the content of an object. */
  apply(changes: readonly ClusterChange[]): void {
    for (const change of changes) {
      const keys =
        change.type === 'apply'
          ? this.#applyObject(change.key, change.current)
          : this.#deleteObject(change.key, change.kind)
      for (const key of keys) this.#touched.add(key)
    }
  }

  /** The state now. The same object as before when nothing has changed since. */
  snapshot(): Snapshot {
    for (const key of this.#touched) this.#recompute(key)
    this.#touched.clear()
    if (this.#snapshot !== undefined) return this.#snapshot
    this.#byId = this.#byId.with(this.#changed)
    this.#changed.clear()
    this.#snapshot = {
      generation: ++this.#generation,
      node: this.#node,
      servicePorts: this.#byId,
    }
    return this.#snapshot
  }

  /** The problems found since the last call, each once for as long as its object has it. */
  takeProblems(): ObjectProblem[] {
    const taken = this.#pending
    if (this.#notPending > 0) {
      taken.push({
        object: 'Snapshot',
        field: 'problems',
        message: `${this.#notPending} more problems are not listed; repair the ones above first`,
      })
    }
    this.#pending = []
    this.#notPending = 0
    return taken
  }

  /** Returns the keys of the Services to recompute. */
  #applyObject(key: string, current: ClusterObject): Iterable<string> {
    switch (current.kind) {
      case 'Service': {
        const ipv4 = translateService(current.object, 'IPv4')
        const ipv6 = translateService(current.object, 'IPv6')
        this.#report('Service', key, [...ipv4.problems, ...ipv6.problems])
        this.#ports.set(key, [...ipv4.servicePorts, ...ipv6.servicePorts])
        return [key]
      }
      case 'EndpointSlice': {
        const { serviceKeys, problems } = this.#slices.apply(key, current.object)
        this.#report('EndpointSlice', key, problems)
        return serviceKeys
      }
      case 'Node': {
        if (key !== this.#nodeName) return []
        const { node, problems } = translateNode(current.object, key)
        this.#report('Node', key, problems)
        return this.#setNode(node)
      }
    }
  }

  #deleteObject(key: string, kind: ObjectKind): Iterable<string> {
    this.#report(kind, key, [])
    switch (kind) {
      case 'Service':
        this.#ports.delete(key)
        return [key]
      case 'EndpointSlice':
        return this.#slices.delete(key)
      case 'Node':
        if (key !== this.#nodeName) return []
        // Its addresses and its pods are still there: traffic goes on (reference 2.2).
        return this.#setNode({
          ...unknownNode(key),
          addresses: this.#node.addresses,
          podCidrs: this.#node.podCidrs,
        })
    }
  }

  #withIp(node: NodeState): NodeState {
    const ip = this.#nodeIp
    if (ip === undefined) return node
    return { ...node, addresses: [ip, ...node.addresses.filter((address) => address !== ip)] }
  }

  /** A new zone can change the category of any endpoint; addresses and pod CIDRs change none. */
  #setNode(given: NodeState): Iterable<string> {
    const node = this.#withIp(given)
    if (sameValue(node, this.#node)) return []
    const isSameZone = node.zone === this.#node.zone
    this.#node = node
    this.#snapshot = undefined
    return isSameZone ? [] : this.#ports.keys()
  }

  #recompute(serviceKey: string): void {
    const before = this.#states.get(serviceKey) ?? []
    const after = this.#statesOf(serviceKey, before)
    if (after.length === before.length && after.every((state, i) => state === before[i])) return
    this.#snapshot = undefined
    if (after.length === 0) this.#states.delete(serviceKey)
    else this.#states.set(serviceKey, after)
    const kept = new Set(after.map(({ servicePort }) => servicePort.id))
    for (const { servicePort } of before) {
      if (!kept.has(servicePort.id)) this.#changed.set(servicePort.id, undefined)
    }
    for (const state of after) this.#changed.set(state.servicePort.id, state)
  }

  #statesOf(serviceKey: string, before: readonly ServicePortState[]): ServicePortState[] {
    const byFamily = new Map<string, EndpointsByPort>()
    return (this.#ports.get(serviceKey) ?? []).map((servicePort) => {
      const { id, ipFamily, portName, protocol } = servicePort
      const byPort = byFamily.get(ipFamily) ?? this.#slices.endpointsOf(serviceKey, ipFamily)
      byFamily.set(ipFamily, byPort)
      const old = before.find((state) => state.servicePort.id === id)
      const endpoints = shareEndpoints(
        old?.endpoints ?? [],
        endpointsUnder(byPort, slicePortKey(portName, protocol)),
      )
      const categorized = categorizeEndpoints(endpoints, servicePort, this.#node)
      return shareState(old, { servicePort, endpoints, ...categorized })
    })
  }

  /** Keeps those problems that the object did not have before; both families find the same ones. */
  #report(kind: ObjectKind, key: string, problems: readonly ObjectProblem[]): void {
    const id = `${kind} ${key}`
    const before = this.#reported.get(id)
    if (problems.length === 0) {
      this.#reported.delete(id)
      return
    }
    const now = new Set<string>()
    for (const problem of problems) {
      const text = `${problem.field}: ${problem.message}`
      if (!now.has(text) && before?.has(text) !== true) this.#keep(problem)
      now.add(text)
    }
    this.#reported.set(id, now)
  }

  #keep(problem: ObjectProblem): void {
    if (this.#pending.length < MAX_PENDING_PROBLEMS) this.#pending.push(problem)
    else this.#notPending++
  }
}
