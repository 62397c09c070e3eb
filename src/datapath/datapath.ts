/** What every proxy mode implements. A datapath owns its kernel state and sockets, nothing else. */
import type { Snapshot } from '../model/snapshot.js'

export interface SyncResult {
  /** What could not be done for single Service ports; the others are in force. */
  readonly warnings: readonly string[]
}

export interface Datapath {
  /**
   * Brings the datapath to the Snapshot. Idempotent. Throws SluiceError when nothing could be
   * brought into force; the last good state stays then.
   */
  sync(snapshot: Snapshot): Promise<SyncResult>
  /** New connections are no longer taken; resolves when the last one has ended or the signal aborts. */
  drain(signal: AbortSignal): Promise<void>
  /** Ends what is left and removes everything from the kernel. Idempotent. */
  close(): Promise<void>
}
