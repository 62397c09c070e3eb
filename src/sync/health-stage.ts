/** What stands between the model and the datapath: takes unhealthy endpoints out of Snapshots. */
import type { Snapshot } from '../model/snapshot.js'

export interface HealthStage {
  /** The Snapshot as the datapath is to have it; the same object while nothing has changed. */
  apply(snapshot: Snapshot): Snapshot
}
