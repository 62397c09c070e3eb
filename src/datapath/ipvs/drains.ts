/**
 * Graceful termination: a TCP endpoint that is no longer wanted gets weight 0, and goes when it has
 * no connections left or its time is over. Virtual servers that nobody wants go with their last
 * real server. UDP and SCTP go at once, as in kube-proxy. Pure; the clock is the caller's.
 *
 * Bound: as many as there were real servers, each for `periodMs`.
 */
import type { RealServerConnections, VirtualServer, VirtualServers } from '../../kernel/ipvs.js'

export class Drains {
  readonly #periodMs: number
  /** When its time is over, by virtual server and real server. */
  readonly #deadlines = new Map<string, Map<string, number>>()

  /** With a period of 0 everything goes at once. */
  constructor(periodMs: number) {
    this.#periodMs = periodMs
  }

  /** Real servers that drain. */
  get size(): number {
    let size = 0
    for (const one of this.#deadlines.values()) size += one.size
    return size
  }

  /** Keys of the virtual servers of those. */
  get servers(): Iterable<string> {
    return this.#deadlines.keys()
  }

  /**
   * What the kernel is to have: the wanted servers, and those of `present` that drain, with weight 0.
   * What is wanted again drains no longer, and what is not in the kernel need not.
   */
  merge(
    wanted: VirtualServers,
    present: VirtualServers,
    nowMs: number,
  ): Map<string, VirtualServer> {
    const merged = new Map(wanted)
    const known = new Map(this.#deadlines)
    this.#deadlines.clear()
    if (this.#periodMs === 0) return merged
    for (const [key, server] of present) {
      const target = wanted.get(key)
      if (server.protocol !== 'TCP' || server === target) continue
      const gone = [...server.realServers.keys()].filter((id) => !target?.realServers.has(id))
      if (gone.length === 0) continue
      const deadlines = new Map(
        gone.map((id) => [id, known.get(key)?.get(id) ?? nowMs + this.#periodMs]),
      )
      this.#deadlines.set(key, deadlines)
      merged.set(key, withDraining(target ?? { ...server, realServers: new Map() }, gone))
    }
    return merged
  }

  /**
   * Forgets those without connections, and those whose time is over, and returns what is left of
   * `merged`. `connections`: by virtual server and real server; a server that is missing has none.
   */
  sweep(
    merged: ReadonlyMap<string, VirtualServer>,
    wanted: VirtualServers,
    connections: ReadonlyMap<string, ReadonlyMap<string, RealServerConnections>>,
    nowMs: number,
  ): Map<string, VirtualServer> {
    const left = new Map(merged)
    for (const [key, deadlines] of this.#deadlines) {
      for (const [id, deadlineMs] of deadlines) {
        const { active, inactive } = connections.get(key)?.get(id) ?? NONE
        if (active + inactive === 0 || nowMs >= deadlineMs) deadlines.delete(id)
      }
      const server = merged.get(key)
      if (deadlines.size === 0) this.#deadlines.delete(key)
      const target = wanted.get(key)
      if (target !== undefined) {
        left.set(key, deadlines.size === 0 ? target : withDraining(target, deadlines.keys()))
      } else if (deadlines.size === 0 || server === undefined) left.delete(key)
      else left.set(key, withDraining({ ...server, realServers: new Map() }, deadlines.keys()))
    }
    return left
  }
}

const NONE: RealServerConnections = { active: 0, inactive: 0 }

function withDraining(server: VirtualServer, ids: Iterable<string>): VirtualServer {
  const realServers = new Map(server.realServers)
  for (const id of ids) realServers.set(id, 0)
  return { ...server, realServers }
}
