/** From one table of virtual servers to another, as lines for `ipvsadm -R`. Pure. */
import {
  realServerLine,
  virtualServerLine,
  virtualServerOption,
  type VirtualServer,
  type VirtualServers,
} from './ipvs.js'

export interface VirtualServerChanges {
  /** Virtual servers that go, with their real servers. */
  readonly removals: readonly string[]
  /** What comes and changes. In a virtual server that stays, real servers come before others go. */
  readonly changes: readonly string[]
}

/**
 * Virtual servers that are the same object in both are passed over, so that a small change costs
 * little.
 */
export function diffVirtualServers(
  before: VirtualServers,
  after: VirtualServers,
): VirtualServerChanges {
  const removals: string[] = []
  for (const [key, server] of before) {
    if (!after.has(key)) removals.push(`-D ${virtualServerOption(server)}`)
  }
  const changes: string[] = []
  for (const [key, server] of after) {
    const old = before.get(key)
    if (old === server) continue
    if (old === undefined) changes.push(...creation(server))
    else changes.push(...edits(old, server))
  }
  return { removals, changes }
}

/** Lines that make a virtual server. */
export function creation(server: VirtualServer): string[] {
  const lines = [virtualServerLine('-A', server)]
  for (const [id, weight] of server.realServers)
    lines.push(realServerLine('-a', server, id, weight))
  return lines
}

function edits(old: VirtualServer, server: VirtualServer): string[] {
  const line = virtualServerLine('-E', server)
  const lines = line === virtualServerLine('-E', old) ? [] : [line]
  const gone: string[] = []
  for (const [id, weight] of server.realServers) {
    const before = old.realServers.get(id)
    if (before === undefined) lines.push(realServerLine('-a', server, id, weight))
    else if (before !== weight) lines.push(realServerLine('-e', server, id, weight))
  }
  for (const id of old.realServers.keys()) {
    if (!server.realServers.has(id)) gone.push(`-d ${virtualServerOption(server)} -r ${id}`)
  }
  return [...lines, ...gone]
}
