/**
 * Which endpoints a Service port may use, by their conditions, the traffic policies and topology
 * hints. Source of the algorithm: kube-proxy pkg/proxy/topology.go, CategorizeEndpoints.
 */
import type { Endpoint } from './endpoint.js'
import { usesClusterEndpoints, usesLocalEndpoints, type ServicePort } from './service-port.js'
import type { CategorizedEndpoints, NodeState } from './snapshot.js'

/** What decides about topology: this node's name and zone. */
export type Topology = Pick<NodeState, 'name' | 'zone'>

type TopologyMode = 'same-node' | 'same-zone' | 'none'

/**
 * Sorts out the endpoints of a port.
 *
 *   cluster  ready ones that the hints allow for this node; if there is none, all that still serve
 *            while they terminate, wherever they are
 *   local    ready ones of this node, whatever the hints; if there is none, those of this node that
 *            still serve while they terminate, even when another node has ready ones
 *
 * An endpoint of weight 0 is drained: it is in neither, as if it were not there, but it keeps the
 * connections that it has. When all are drained the port has none: that is what the operator said.
 *
 * A set that no destination of the port uses is empty. All three lists keep the order of `all`.
 */
export function categorizeEndpoints(
  all: readonly Endpoint[],
  servicePort: ServicePort,
  topology: Topology,
): CategorizedEndpoints {
  const isDraining = all.some(({ weight }) => weight === 0)
  const endpoints = isDraining ? all.filter(({ weight }) => weight > 0) : all
  const cluster = usesClusterEndpoints(servicePort) ? clusterEndpoints(endpoints, topology) : []
  if (!usesLocalEndpoints(servicePort)) {
    return { cluster, local: [], reachable: cluster, hasAny: cluster.length > 0 }
  }
  const local = readyElseTerminating(endpoints.filter(({ isLocal }) => isLocal))
  return {
    cluster,
    local,
    reachable: union(endpoints, cluster, local),
    hasAny: endpoints.some((endpoint) => endpoint.isReady || stillServes(endpoint)),
  }
}

function clusterEndpoints(endpoints: readonly Endpoint[], topology: Topology): readonly Endpoint[] {
  const ready = readyOf(endpoints)
  switch (topologyModeFromHints(ready, topology)) {
    case 'same-node':
      return ready.filter(({ nodeHints }) => nodeHints.includes(topology.name))
    case 'same-zone':
      return ready.filter(({ zoneHints }) => isHinted(zoneHints, topology.zone))
    case 'none':
      return readyElseTerminating(endpoints)
  }
}

/**
 * Hints count only when every ready endpoint has them and one of them names us: otherwise they are
 * stale or incomplete and following them could leave clients without an endpoint.
 */
function topologyModeFromHints(ready: readonly Endpoint[], topology: Topology): TopologyMode {
  if (ready.length === 0) return 'none'
  if (
    ready.every(({ nodeHints }) => nodeHints.length > 0) &&
    ready.some(({ nodeHints }) => nodeHints.includes(topology.name))
  ) {
    return 'same-node'
  }
  if (
    ready.every(({ zoneHints }) => zoneHints.length > 0) &&
    ready.some(({ zoneHints }) => isHinted(zoneHints, topology.zone))
  ) {
    return 'same-zone'
  }
  return 'none'
}

function isHinted(zoneHints: readonly string[], zone: string | undefined): boolean {
  return zone !== undefined && zoneHints.includes(zone)
}

function readyElseTerminating(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const ready = readyOf(endpoints)
  return ready.length > 0 ? ready : endpoints.filter(stillServes)
}

/** The list itself when all are: mostly they are, and it is in memory already. */
function readyOf(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  return endpoints.every(({ isReady }) => isReady)
    ? endpoints
    : endpoints.filter(({ isReady }) => isReady)
}

function stillServes({ isServing, isTerminating }: Endpoint): boolean {
  return isServing && isTerminating
}

function union(
  endpoints: readonly Endpoint[],
  a: readonly Endpoint[],
  b: readonly Endpoint[],
): readonly Endpoint[] {
  if (a.length === 0) return b
  if (b.length === 0) return a
  const members = new Set([...a, ...b])
  return endpoints.filter((endpoint) => members.has(endpoint))
}
