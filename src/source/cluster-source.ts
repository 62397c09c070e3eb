/**
 * Where objects come from: manifest files, or the API server. A source reports net changes; what the
 * objects mean is the model's business.
 */
import type { V1EndpointSlice, V1Node, V1Service } from '@kubernetes/client-node'

export type ClusterObject =
  | { readonly kind: 'Service'; readonly object: V1Service }
  | { readonly kind: 'EndpointSlice'; readonly object: V1EndpointSlice }
  | { readonly kind: 'Node'; readonly object: V1Node }

export type ObjectKind = ClusterObject['kind']

/** An object that is new or changed (`current`), or gone (only the key). Key: `namespace/name`, for a Node `name`. */
export type ClusterChange =
  | { readonly type: 'apply'; readonly key: string; readonly current: ClusterObject }
  | { readonly type: 'delete'; readonly key: string; readonly kind: ObjectKind }

export interface ClusterSourceListener {
  /**
   * A part of the first complete list, so that a large one is never in memory as a whole: to be taken
   * in, not to be brought into force. Only before the first onChanges. Without it, a source keeps
   * everything for that call.
   */
  onInitialPart?(changes: readonly ClusterChange[]): void
  /**
   * A batch of net changes, consistent with each other. The first call is the complete list (it
   * may be empty) and means "synced".
   */
  onChanges(changes: readonly ClusterChange[]): void
  /** Something of the source could not be used: one line that says what, where, what to do. */
  onWarning(message: string, context: Readonly<Record<string, unknown>>): void
  /** The source cannot do what was asked of it, ever: the process is to end. */
  onFailure?(error: Error): void
}

export interface ClusterSource {
  /**
   * Reads the complete list, reports it, then watches until close. Throws SluiceError if nothing can
   * be read at all. A source that keeps trying resolves once it has begun to: "synced" is the first
   * call of onChanges.
   */
  start(listener: ClusterSourceListener): Promise<void>
  /** Idempotent; no call to the listener after it resolves. */
  close(): Promise<void>
}
