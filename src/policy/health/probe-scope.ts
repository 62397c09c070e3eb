/**
 * Which endpoints this node probes. With N nodes that all probe every endpoint, each endpoint gets N probes an
 * interval. With the scope `traffic` a node probes the endpoints of Service ports that its clients have used
 * within TRAFFIC_MS, and of all others a share that rendezvous hashing gives it: every node draws a number for
 * every endpoint, and probes those whose number is low, so the shares of nodes are even, differ from node
 * to node, and change for nobody else when a node or an endpoint comes or goes.
 *
 * Bound: one entry for each Service port that is probed.
 */
import { hashText } from '../../lib/hash.js'

export interface ProbeScopeConfig {
  readonly scope: 'all' | 'traffic'
  /** Of the endpoints of Service ports without traffic here, 0..100. */
  readonly sharePercent: number
}

/** Connections to a Service port from here, since some beginning; undefined: nobody counts them. */
export type ReadConnections = (servicePortId: string) => number | undefined

export interface ProbeScopeOptions {
  /** Read at each question: it may change. */
  readonly config: ProbeScopeConfig
  readonly nodeName: string
  /** Called once for each look at all Service ports. */
  readonly readTraffic: () => ReadConnections
}

/** A Service port counts as used for that long after its last connection. */
export const TRAFFIC_MS = 300_000
/** How often traffic is looked at. */
export const LOOK_MS = 5000

interface Seen {
  connections: number
  /** When they last changed; undefined: never. */
  usedMs: number | undefined
}

export class ProbeScope {
  readonly #options: ProbeScopeOptions
  readonly #seen = new Map<string, Seen>()
  readonly #used = new Set<string>()

  constructor(options: ProbeScopeOptions) {
    this.#options = options
  }

  get isLimited(): boolean {
    return this.#options.config.scope === 'traffic'
  }

  includes(servicePortId: string, endpointId: string): boolean {
    if (!this.isLimited || this.#used.has(servicePortId)) return true
    const { nodeName, config } = this.#options
    return hashText(`${nodeName} ${endpointId}`) < (config.sharePercent / 100) * 2 ** 32
  }

  /** Looks at the traffic of these Service ports; the ones that came into use, or went out of it. */
  look(servicePortIds: Iterable<string>, nowMs: number): readonly string[] {
    if (!this.isLimited) return []
    const connectionsOf = this.#options.readTraffic()
    const changed: string[] = []
    for (const id of servicePortIds) {
      const isUsed = this.#isUsed(id, connectionsOf(id), nowMs)
      if (isUsed === this.#used.has(id)) continue
      if (isUsed) this.#used.add(id)
      else this.#used.delete(id)
      changed.push(id)
    }
    return changed
  }

  forget(servicePortId: string): void {
    this.#seen.delete(servicePortId)
    this.#used.delete(servicePortId)
  }

  #isUsed(id: string, connections: number | undefined, nowMs: number): boolean {
    if (connections === undefined) return true
    const seen = this.#seen.get(id)
    const isNew = connections !== (seen?.connections ?? 0)
    const usedMs = isNew ? nowMs : seen?.usedMs
    this.#seen.set(id, { connections, usedMs })
    return usedMs !== undefined && nowMs - usedMs < TRAFFIC_MS
  }
}
