/**
 * The stages put together: a source's changes become Snapshots, and each is brought into force on
 * the datapath, one at a time.
 *
 *   ClusterSource -> ClusterState -> HealthStage -> SyncRunner -> Datapath
 *
 * A change is applied to the model at once and reaches the datapath with the next run. Nothing is
 * synced before the source's first complete list.
 */
import type { RunConfig } from '../config/run-config.js'
import type { Clock } from '../lib/clock.js'
import { messageOf } from '../lib/errors.js'
import type { Datapath } from '../datapath/datapath.js'
import { ClusterState } from '../model/cluster-state.js'
import type { ObjectProblem, Snapshot } from '../model/snapshot.js'
import { eventSubject, type Events } from '../observe/events.js'
import type { Logger } from '../observe/log.js'
import { type AnnotationReader, newAnnotationProblems } from '../policy/annotation-problems.js'
import type { ClusterChange, ClusterSource } from '../source/cluster-source.js'
import { FirstSync } from './first-sync.js'
import type { HealthStage } from './health-stage.js'
import { SyncRunner } from './sync-runner.js'

/** First wait after a failed sync. */
const RETRY_MS = 500
/** A sync that takes longer is told of each time. */
const SLOW_SYNC_MS = 1000

export interface SyncObservers {
  /** Changes wait for the datapath. */
  readonly onQueued: (changes: readonly ClusterChange[]) => void
  /** A sync begins: it has all changes until now. */
  readonly onSyncStarted: () => void
  /** The datapath is in accord with the Snapshot, after that long. */
  readonly onSynced: (snapshot: Snapshot, tookMs: number) => void
  readonly onSyncFailed: () => void
}

export interface ServiceProxyOptions extends SyncObservers {
  readonly nodeName: string
  /** The node's primary address, whatever its object says. */
  readonly nodeIp?: string | undefined
  readonly source: ClusterSource
  readonly datapath: Datapath
  readonly health: HealthStage
  readonly clock: Clock
  readonly log: Logger
  /** Read at each run: a reload may change them. */
  readonly config: Pick<RunConfig, 'minSyncPeriodMs' | 'syncPeriodMs'>
  /** Who reads annotations of Services, for what is wrong with them. */
  readonly annotationReaders: readonly AnnotationReader[]
  /** The source has failed for good. */
  readonly onFailure: (error: Error) => void
  /** Is told what is wrong with objects. */
  readonly events: Pick<Events, 'warn'>
}

export class ServiceProxy {
  readonly #options: ServiceProxyOptions
  readonly #state: ClusterState
  readonly #runner: SyncRunner
  #snapshot: Snapshot
  /** The latest one whose annotations have been read. */
  #checked: Snapshot
  #warnings: readonly string[] = []
  #lastSyncAt: Date | undefined
  #lastSyncError: string | undefined
  /** Until the first sync has succeeded. */
  #first: FirstSync | undefined

  constructor(options: ServiceProxyOptions) {
    this.#options = options
    this.#state = new ClusterState({ nodeName: options.nodeName, nodeIp: options.nodeIp })
    this.#snapshot = this.#state.snapshot()
    this.#checked = this.#snapshot
    this.#runner = new SyncRunner({
      clock: options.clock,
      get minIntervalMs() {
        return options.config.minSyncPeriodMs
      },
      get periodMs() {
        return options.config.syncPeriodMs
      },
      retryMs: RETRY_MS,
      sync: () => this.#sync(),
      onError: (error, retryInMs) => {
        this.#lastSyncError = messageOf(error)
        options.onSyncFailed()
        options.log.error(
          { error: messageOf(error), retryInMs: Math.round(retryInMs) },
          'sync failed; what was in force stays, it is tried again',
        )
      },
    })
  }

  /** The Snapshot that is in force. */
  get snapshot(): Snapshot {
    return this.#snapshot
  }

  /** What is in force, and how the last sync went; `warnings`: what it could not do for single Service ports. */
  syncStatus() {
    return {
      snapshot: this.#snapshot,
      warnings: this.#warnings,
      lastSyncAt: this.#lastSyncAt?.toISOString(),
      lastSyncError: this.#lastSyncError,
    }
  }

  /** Starts the source; syncs follow. Throws what the source throws. */
  async start(): Promise<void> {
    const { source, log, clock, onFailure } = this.#options
    this.#first = new FirstSync({ clock, log })
    await source.start({
      onFailure,
      onInitialPart: (changes) => {
        this.#first?.took(changes, false)
        this.#takeIn(changes)
      },
      onChanges: (changes) => {
        this.#first?.took(changes, true)
        this.#apply(changes)
      },
      onWarning: (message, context) => {
        log.warn(context, message)
      },
    })
  }

  /** The health of endpoints has changed: a sync as soon as can be. */
  healthChanged(): void {
    this.#runner.requestUrgently()
  }

  /** No changes and no syncs any more; the datapath stays as it is. Idempotent. */
  async stop(): Promise<void> {
    this.#first?.end()
    await this.#options.source.close()
    await this.#runner.close()
  }

  #apply(changes: readonly ClusterChange[]): void {
    this.#takeIn(changes)
    this.#options.onQueued(changes)
    this.#runner.request()
  }

  #takeIn(changes: readonly ClusterChange[]): void {
    this.#state.apply(changes)
    this.#report(this.#state.takeProblems())
  }

  #report(problems: readonly ObjectProblem[]): void {
    const { events, log } = this.#options
    for (const { object, field, message, uid } of problems) {
      log.warn({ object, field }, `${object}: ${field}: ${message}`)
      const subject = eventSubject(object, uid)
      if (subject === undefined) continue
      const details = { action: 'ReadObject', isLogged: true }
      events.warn(subject, 'FieldIgnored', `${field}: ${message}`, details)
    }
  }

  async #sync(): Promise<void> {
    const { datapath, health, log, clock, onSyncStarted, onSynced } = this.#options
    const startedMs = clock.nowMs()
    onSyncStarted()
    const input = this.#state.snapshot()
    this.#report(newAnnotationProblems(this.#checked, input, this.#options.annotationReaders))
    this.#checked = input
    const snapshot = health.apply(input)
    const isNew = snapshot !== this.#snapshot || this.#lastSyncAt === undefined
    const { warnings } = await datapath.sync(snapshot)
    const tookMs = clock.nowMs() - startedMs
    this.#snapshot = snapshot
    const known = new Set(this.#warnings)
    for (const warning of warnings) if (!known.has(warning)) log.warn(warning)
    this.#warnings = warnings
    const isFirst = this.#lastSyncAt === undefined
    this.#lastSyncAt = new Date()
    this.#lastSyncError = undefined
    this.#first?.end()
    if (isNew) {
      // A busy cluster changes every second: that is no news, unless it takes long.
      log[isFirst || tookMs >= SLOW_SYNC_MS ? 'info' : 'debug'](
        {
          generation: snapshot.generation,
          servicePorts: snapshot.servicePorts.size,
          tookMs: Math.round(tookMs),
        },
        'in force',
      )
    }
    onSynced(snapshot, tookMs)
  }
}
