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

/** The part of one Snapshot after the other, in time proportional to what changed between them. */
export class SnapshotPart {
  #whole: Snapshot | undefined
  #part: Snapshot | undefined
  #includes: ((port: ServicePort) => boolean) | undefined

  /** `includes` answers the same for the same Service port; another function means another part. */
  of(snapshot: Snapshot, includes: (port: ServicePort) => boolean): Snapshot {
    const part =
      this.#whole === undefined || this.#part === undefined || this.#includes !== includes
        ? partOfSnapshot(snapshot, includes)
        : nextPart({ whole: this.#whole, part: this.#part }, snapshot, includes)
    this.#whole = snapshot
    this.#part = part
    this.#includes = includes
    return part
  }
}

function nextPart(
  before: { readonly whole: Snapshot; readonly part: Snapshot },
  snapshot: Snapshot,
  includes: (port: ServicePort) => boolean,
): Snapshot {
  if (before.whole === snapshot) return before.part
  const changes = new Map<string, ServicePortState | undefined>()
  for (const { key, after } of before.whole.servicePorts.differences(snapshot.servicePorts)) {
    changes.set(key, after !== undefined && includes(after.servicePort) ? after : undefined)
  }
  const servicePorts = before.part.servicePorts.with(changes)
  return servicePorts.size === snapshot.servicePorts.size ? snapshot : { ...snapshot, servicePorts }
}
