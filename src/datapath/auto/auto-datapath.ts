/**
 * The automatic switch: one mode that decides per connection, and rules that take its place past a
 * threshold. Which Service port is whose changes in this order, so that none is ever nobody's:
 *
 *   1. rules get what they are to serve, and keep what they serve
 *   2. the deciding mode takes what it is to take, and leaves the rest
 *   3. rules lose what the deciding mode has taken
 *
 * The rules are the standby of the deciding mode, which has all Service ports anyway, or a mode of
 * their own, which stands by empty: connection tracking then knows every connection of the relay, so
 * that none is translated when the rules come. A switch that fails leaves who serves as it was, and is
 * tried again with the next sample.
 */
import type { Clock } from '../../lib/clock.js'
import { messageOf } from '../../lib/errors.js'
import { SortedMap } from '../../lib/sorted-map.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
import type { BalancerPlugin } from '../../policy/balancer/plugin.js'
import type { Datapath, SyncResult } from '../datapath.js'
import { SnapshotPart } from '../part-of-snapshot.js'
import type { DecidingMode, ModeLog } from '../running-mode.js'
import type { ConnectionCounter } from './connection-counter.js'
import { LoadMeter } from './load-meter.js'
import type { Measurements, ModeSelector } from './mode-selector.js'
import { SnapshotSize } from './snapshot-size.js'
import { staysInUserspace } from './stay-annotation.js'

export interface AutoDatapathOptions {
  readonly deciding: DecidingMode
  /** A mode of its own; undefined: the standby of the deciding mode. */
  readonly rules: Datapath | undefined
  readonly selector: ModeSelector
  readonly counter: ConnectionCounter
  /** Whether the counter sees the connections of the deciding mode as well. */
  readonly countsAll: boolean
  readonly clock: Clock
  readonly samplePeriodMs: number
  readonly log: ModeLog
  /** The switch is made. */
  readonly onSwitch: (usesRules: boolean, reason: string) => void
}

export class AutoDatapath implements Datapath {
  readonly #options: AutoDatapathOptions
  readonly #meter = new LoadMeter()
  #load: Measurements = {}
  #snapshot: Snapshot | undefined
  /** Who serves, as of the last sync that succeeded; the selector may want something else. */
  #usesRules = false
  #isCounting = false
  /** What the deciding mode was told last: a sync may have failed after that. */
  #toldRules: boolean | undefined
  /** Service ports that the rules' own mode has. */
  #inRules = SortedMap.empty<ServicePortState>()
  readonly #rulesPart = new SnapshotPart()
  readonly #size = new SnapshotSize()
  #cancelSample: (() => void) | undefined
  /** Syncs and switches take turns. */
  #turn: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(options: AutoDatapathOptions) {
    this.#options = options
  }

  get usesRules(): boolean {
    return this.#usesRules
  }

  sync(snapshot: Snapshot): Promise<SyncResult> {
    return this.#inTurn(() => this.#bring(snapshot))
  }

  reconfigure(): void {
    this.#options.deciding.datapath.reconfigure?.()
  }

  replacePlugin(plugin: BalancerPlugin, version: number): void {
    this.#options.deciding.datapath.replacePlugin?.(plugin, version)
  }

  async endConnections(servicePortId: string, endpoint: Endpoint): Promise<void> {
    await this.#options.deciding.datapath.endConnections?.(servicePortId, endpoint)
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#stopSampling()
    await this.#turn
    await this.#options.deciding.datapath.drain(signal)
  }

  async close(): Promise<void> {
    this.#stopSampling()
    await this.#turn
    const { deciding, rules, counter } = this.#options
    await deciding.datapath.close()
    await rules?.close()
    if (this.#isCounting) await counter.stop()
  }

  async #bring(snapshot: Snapshot): Promise<SyncResult> {
    if (this.#isClosed) return { warnings: [] }
    this.#snapshot = snapshot
    const { selector, clock, onSwitch } = this.#options
    const { usesRules, reason } = selector.decide(this.#measured(snapshot), clock.nowMs())
    const isSwitch = usesRules !== this.#usesRules
    const warnings = await this.#serve(snapshot, usesRules)
    if (isSwitch) {
      await this.#count(usesRules)
      this.#usesRules = usesRules
      onSwitch(usesRules, reason)
    }
    if (this.#cancelSample === undefined) this.#sampleLater()
    return { warnings }
  }

  async #serve(snapshot: Snapshot, usesRules: boolean): Promise<readonly string[]> {
    const { deciding, rules } = this.#options
    const wanted = this.#rulesPart.of(snapshot, usesRules ? goesToRules : nothingGoesToRules)
    const rulesFirst = rules !== undefined && (usesRules || this.#inRules.size > 0)
    const warnings = rulesFirst
      ? await this.#syncRules(rules, withKept(wanted, this.#inRules, snapshot))
      : []
    if (this.#toldRules !== usesRules) {
      deciding.handOver.take(usesRules ? staysInUserspace : takesAll, rules === undefined)
    }
    this.#toldRules = usesRules
    const result = await deciding.datapath.sync(snapshot)
    const last = rules === undefined ? [] : await this.#syncRules(rules, wanted)
    return [...result.warnings, ...(last.length > 0 ? last : warnings)]
  }

  async #syncRules(rules: Datapath, part: Snapshot): Promise<readonly string[]> {
    const { warnings } = await rules.sync(part)
    this.#inRules = part.servicePorts
    return warnings
  }

  #measured(snapshot: Snapshot): Measurements {
    return { ...this.#load, ...this.#size.of(snapshot) }
  }

  /** Failing it, the load is not known while rules serve. */
  async #count(isOn: boolean): Promise<void> {
    const { counter, log } = this.#options
    try {
      if (isOn) await counter.start()
      else await counter.stop()
      this.#isCounting = isOn
    } catch (error) {
      log.warn(`new connections cannot be counted: ${messageOf(error)}`)
    }
  }

  #sampleLater(): void {
    if (this.#isClosed) return
    const { clock, samplePeriodMs, log } = this.#options
    this.#cancelSample = clock.after(samplePeriodMs, () => {
      void this.#inTurn(() => this.#sample())
        .catch((error: unknown) => {
          log.warn(`the mode could not be switched, it is tried again: ${messageOf(error)}`)
        })
        .then(() => {
          this.#sampleLater()
        })
    })
  }

  async #sample(): Promise<void> {
    const { deciding, counter, countsAll, clock, selector } = this.#options
    const snapshot = this.#snapshot
    if (snapshot === undefined || this.#isClosed) return
    const byRules = this.#isCounting ? await counter.read() : undefined
    const totals = deciding.handOver.load()
    const connections = byRules !== undefined && countsAll ? 0 : totals.connections
    this.#load = this.#meter.rates({ ...totals, connections, byRules, atMs: clock.nowMs() })
    const { usesRules } = selector.decide(this.#measured(snapshot), clock.nowMs())
    if (usesRules !== this.#usesRules) await this.#bring(snapshot)
  }

  #stopSampling(): void {
    this.#isClosed = true
    this.#cancelSample?.()
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work)
    this.#turn = mine.catch(() => undefined)
    return mine
  }
}

// Functions that stay the same: by them SnapshotPart knows that it may go on from the last Snapshot.
const takesAll = (): boolean => true
const nothingGoesToRules = (): boolean => false
const goesToRules = (port: ServicePort): boolean => !staysInUserspace(port)

/** What rules are to serve, and what they serve as long as nobody else does. */
function withKept(
  wanted: Snapshot,
  inRules: SortedMap<ServicePortState>,
  { servicePorts }: Snapshot,
): Snapshot {
  const kept = new Map<string, ServicePortState>()
  for (const { key, after } of inRules.differences(wanted.servicePorts)) {
    const state = after === undefined ? servicePorts.get(key) : undefined
    if (state !== undefined) kept.set(key, state)
  }
  if (kept.size === 0) return wanted
  return { ...wanted, servicePorts: wanted.servicePorts.with(kept) }
}
