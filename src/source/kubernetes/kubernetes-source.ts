/**
 * Objects from the API server: Services, EndpointSlices and this Node, each with a Reflector.
 *
 * Nothing is reported as synced before the first complete list of all three; the Node is waited for
 * no longer than `nodeWaitMs`, for it decides only about hints and addresses. Later, whatever the
 * server does or does not do, what was reported last stays: a failure is a warning, and a relist
 * reports differences.
 * Bounds: changes wait for the end of this turn of the event loop, at most MAX_BATCH of them.
 */
import type { V1Node } from '@kubernetes/client-node'
import type { Clock } from '../../lib/clock.js'
import { formatDuration } from '../../lib/duration.js'
import { SluiceError } from '../../lib/errors.js'
import type {
  ClusterChange,
  ClusterSource,
  ClusterSourceListener,
  ObjectKind,
} from '../cluster-source.js'
import type { ApiClient } from './api-client.js'
import { ConnectionReport } from './connection-report.js'
import { KnownObjects } from './known-objects.js'
import { Reflector, type ReflectorCounts, type ReflectorTiming } from './reflector.js'
import { watchedResources } from './watched-resource.js'

/** So many changes are handed on before the turn ends. */
const MAX_BATCH = 500

export interface KubernetesSourceOptions {
  readonly client: ApiClient
  readonly nodeName: string
  readonly clock: Clock
  /** As Math.random. */
  readonly random: () => number
  readonly timing: ReflectorTiming
  /** How long the first sync waits for this Node once the rest is there. */
  readonly nodeWaitMs: number
  /**
   * The first sync also waits for the Node's spec.podCIDRs, and this long; without them by then the
   * source fails (`--detect-local-mode NodeCIDR`, reference 1.4). undefined: they are not needed.
   */
  readonly podCidrWaitMs: number | undefined
}

export class KubernetesSource implements ClusterSource {
  readonly #options: KubernetesSourceOptions
  readonly #abort = new AbortController()
  readonly #reflectors = new Map<ObjectKind, Reflector>()
  readonly #waiting = new Set<ObjectKind>(['Service', 'EndpointSlice', 'Node'])
  readonly #report: ConnectionReport
  #running: Promise<unknown> = Promise.resolve()
  #listener: ClusterSourceListener | undefined
  #batch: ClusterChange[] = []
  #isFlushDue = false
  #isSynced = false
  #cancelNodeWait: (() => void) | undefined

  constructor(options: KubernetesSourceOptions) {
    this.#options = options
    this.#report = new ConnectionReport({
      clock: options.clock,
      server: options.client.server,
      warn: (message, context) => {
        this.#listener?.onWarning(message, context)
      },
    })
  }

  /** By kind. */
  get counts(): ReadonlyMap<ObjectKind, Readonly<ReflectorCounts>> {
    return new Map([...this.#reflectors].map(([kind, { counts }]) => [kind, counts]))
  }

  async start(listener: ClusterSourceListener): Promise<void> {
    this.#listener = listener
    const { client, nodeName, clock, random, timing } = this.#options
    for (const resource of watchedResources(nodeName)) {
      const { kind } = resource
      const known = new KnownObjects(kind, (change) => {
        this.#take(change)
      })
      const reflector = new Reflector({
        ...{ resource, client, known, clock, random, timing },
        onListed: () => {
          this.#listed(kind)
        },
        onReceived: () => {
          this.#flushSoon()
        },
        onFailure: (message, retryInMs) => {
          this.#report.failed(kind, message, retryInMs)
        },
        onContact: () => {
          this.#report.worked(kind)
        },
      })
      this.#reflectors.set(kind, reflector)
    }
    const { signal } = this.#abort
    this.#running = Promise.all([...this.#reflectors.values()].map((one) => one.run(signal)))
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.#cancelNodeWait?.()
    this.#abort.abort()
    await this.#running
    this.#listener = undefined
    this.#options.client.close()
  }

  #take(change: ClusterChange): void {
    const node =
      change.type === 'apply' && change.current.kind === 'Node' ? change.current : undefined
    if (node !== undefined && this.#isEnough(node.object)) this.#waiting.delete('Node')
    this.#batch.push(change)
    if (this.#batch.length >= MAX_BATCH) this.#flush()
  }

  /** After what else is to be read in this turn. */
  #flushSoon(): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    setImmediate(() => {
      this.#isFlushDue = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#waiting.size === 0 && !this.#isSynced) this.#synced()
    const listener = this.#listener
    if (this.#batch.length === 0 || listener === undefined) return
    if (!this.#isSynced && listener.onInitialPart === undefined) return
    const changes = this.#batch
    this.#batch = []
    if (this.#isSynced) listener.onChanges(changes)
    else listener.onInitialPart?.(changes)
  }

  #synced(): void {
    this.#isSynced = true
    this.#cancelNodeWait?.()
    const changes = this.#batch
    this.#batch = []
    this.#listener?.onChanges(changes)
  }

  #listed(kind: ObjectKind): void {
    if (kind !== 'Node') this.#waiting.delete(kind)
    if (this.#isSynced || this.#cancelNodeWait !== undefined) return
    if (this.#waiting.size > 1 || !this.#waiting.has('Node')) return
    const { clock, nodeWaitMs, podCidrWaitMs } = this.#options
    this.#cancelNodeWait = clock.after(podCidrWaitMs ?? nodeWaitMs, () => {
      this.#waitedForNode()
    })
  }

  /** Whether the first sync has to wait for no more of this Node. */
  #isEnough({ spec }: V1Node): boolean {
    return (
      this.#options.podCidrWaitMs === undefined ||
      (Array.isArray(spec?.podCIDRs) && spec.podCIDRs.length > 0) ||
      (typeof spec?.podCIDR === 'string' && spec.podCIDR !== '')
    )
  }

  #waitedForNode(): void {
    if (this.#isSynced) return
    const { nodeName, nodeWaitMs, podCidrWaitMs } = this.#options
    if (podCidrWaitMs !== undefined) {
      const message =
        `Node ${nodeName}: no spec.podCIDRs within ${formatDuration(podCidrWaitMs)}, which ` +
        `--detect-local-mode NodeCIDR needs; let the cluster allocate them, or use --cluster-cidr`
      this.#listener?.onFailure?.(new SluiceError('ERR_TIMEOUT', message))
      return
    }
    this.#listener?.onWarning(
      `Node ${nodeName} is not known after ${formatDuration(nodeWaitMs)}: it goes on without zone ` +
        `and addresses of the node; see that it is registered, or name it by --hostname-override`,
      { node: nodeName },
    )
    this.#waiting.delete('Node')
    this.#flush()
  }
}
