/** How large a cluster is, counted on from one Snapshot to the next. */
import type { Snapshot } from '../../model/snapshot.js'

export class SnapshotSize {
  #counted: Snapshot | undefined
  #endpoints = 0

  of(snapshot: Snapshot): { readonly servicePorts: number; readonly endpoints: number } {
    const { servicePorts } = snapshot
    if (this.#counted === undefined) {
      for (const { endpoints } of servicePorts.values()) this.#endpoints += endpoints.length
    } else {
      for (const { before, after } of this.#counted.servicePorts.differences(servicePorts)) {
        this.#endpoints += (after?.endpoints.length ?? 0) - (before?.endpoints.length ?? 0)
      }
    }
    this.#counted = snapshot
    return { servicePorts: servicePorts.size, endpoints: this.#endpoints }
  }
}
