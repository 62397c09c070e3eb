/** What every proxy mode implements. A datapath owns its kernel state and sockets, nothing else. */
import type { Endpoint } from '../model/endpoint.js'
import type { Snapshot } from '../model/snapshot.js'
import type { BalancerPlugin } from '../policy/balancer/plugin.js'

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
  /**
   * The endpoint has been down for its grace: ends what clients of the Service port have there.
   * Absent: the mode leaves such connections alone. Throws KernelError.
   */
  endConnections?(servicePortId: string, endpoint: Endpoint): Promise<void>
  /** Defaults of balancers or of passive health have changed in the configuration. Absent: it has none. */
  reconfigure?(): void
  /** The file of the balancer plug-in has changed. A thread of its own loads it by its version. */
  replacePlugin?(plugin: BalancerPlugin, version: number): void
  /** New connections are no longer taken; resolves when the last one has ended or the signal aborts. */
  drain(signal: AbortSignal): Promise<void>
  /** Ends what is left and removes everything from the kernel. Idempotent. */
  close(): Promise<void>
}
