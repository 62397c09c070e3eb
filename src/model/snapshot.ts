/**
 * The Snapshot: everything a datapath needs for one sync, immutable. Two Snapshots share the
 * ServicePortState objects that did not change, so `before.get(id) === after.get(id)` is the test
 * for "nothing to do here", and servicePorts.differences() finds the others without a look at all.
 */
import type { SortedMap } from '../lib/sorted-map.js'
import type { Endpoint } from './endpoint.js'
import type { ServicePort } from './service-port.js'

/** Which endpoints a Service port may use: the result of categorizeEndpoints. */
export interface CategorizedEndpoints {
  /** For destinations with a Cluster policy. */
  readonly cluster: readonly Endpoint[]
  /** For destinations with a Local policy. */
  readonly local: readonly Endpoint[]
  /** Union of the two, sorted by id. */
  readonly reachable: readonly Endpoint[]
  /** Whether any usable endpoint exists anywhere: decides between reject (no) and drop (yes). */
  readonly hasAny: boolean
}

export interface ServicePortState extends CategorizedEndpoints {
  readonly servicePort: ServicePort
  /** Every endpoint of the port, usable or not, sorted by id. */
  readonly endpoints: readonly Endpoint[]
}

/** What is known of this node; from its Node object and the configuration. */
export interface NodeState {
  readonly name: string
  /** Label topology.kubernetes.io/zone. */
  readonly zone: string | undefined
  /** Node status addresses: InternalIP first, then ExternalIP; canonical. */
  readonly addresses: readonly string[]
  /** spec.podCIDRs as text. */
  readonly podCidrs: readonly string[]
  /** There is no Node object of that name (yet). */
  readonly isUnknown?: true
  /** It is being deleted, or the cluster autoscaler is about to: no new traffic of load balancers. */
  readonly isLeaving?: true
}

export interface Snapshot {
  /** Counts up by one with each Snapshot of one process. */
  readonly generation: number
  readonly node: NodeState
  /** By ServicePort.id. */
  readonly servicePorts: SortedMap<ServicePortState>
}

/** Something in an object that was left out or replaced, for a warning on that object. */
export interface ObjectProblem {
  /** metadata.uid of the object, where it has one: `kubectl describe` finds events by it. */
  readonly uid?: string
  /** `Service demo/echo`, `EndpointSlice demo/echo-1`. */
  readonly object: string
  /** `spec.externalIPs[1]` */
  readonly field: string
  /** What is wrong and what was done about it, e.g. `"10.0.0.300" is not an IP address; left out`. */
  readonly message: string
}
