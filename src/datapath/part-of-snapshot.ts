/** A Snapshot with some of its Service ports. Pure; what is left is shared with the whole. */
import { SortedMap } from '../lib/sorted-map.js'
import type { ServicePort } from '../model/service-port.js'
import type { ServicePortState, Snapshot } from '../model/snapshot.js'

/** The same object when nothing is left out. */
export function partOfSnapshot(
  snapshot: Snapshot,
  includes: (port: ServicePort) => boolean,
): Snapshot {
  const { servicePorts } = snapshot
  const without = new Map<string, undefined>()
  const withOnly = new Map<string, ServicePortState>()
  for (const [id, state] of servicePorts) {
    if (includes(state.servicePort)) withOnly.set(id, state)
    else without.set(id, undefined)
  }
  if (without.size === 0) return snapshot
  // The smaller change: chunks of the map that stay are recognized as the same later.
  const isMostlyLeft = without.size < withOnly.size
  return {
    ...snapshot,
    servicePorts: isMostlyLeft
      ? servicePorts.with(without)
      : SortedMap.empty<ServicePortState>().with(withOnly),
  }
}
