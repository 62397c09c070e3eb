/**
 * The iptables mode: brings the chains of both families to each Snapshot.
 *
 *   Snapshot -> Ruleset -> the chains that differ from the last one -> one iptables-restore
 *
 * Everything is written at the first sync, after a failure, when the options change, once an hour in
 * a cluster that is not large, and when somebody has flushed a table (seen by the canary chain). What
 * a predecessor has left, kube-proxy too, goes on serving until its chains, which have the same names,
 * are replaced in one transaction; chains that nobody wants any more go in the same one.
 *
 * A stop leaves all rules in the kernel: they need no process.
 */
import type { Clock } from '../../lib/clock.js'
import { messageOf } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { Datapath, SyncResult } from '../datapath.js'
import { hasUdpChange } from '../stale-flows.js'
import type { FamilyRules } from './family-rules.js'
import type { RulesetOptions } from './ruleset.js'

export interface IptablesProxierOptions {
  readonly clock: Clock
  readonly families: readonly IpFamily[]
  readonly rulesOf: (family: IpFamily) => FamilyRules
  /** Read at each sync: addresses of the node come and go. */
  readonly optionsOf: (family: IpFamily, snapshot: Snapshot) => RulesetOptions
  /** Deletes UDP entries of connection tracking that lead to endpoints that have gone (reference 1.8). */
  readonly deleteStaleFlows: (family: IpFamily, snapshot: Snapshot) => Promise<unknown>
  readonly warn: (message: string) => void
}

/** How often jumps are looked for that somebody has removed: not during a sync, which is to be quick. */
const VERIFY_MS = 30_000
/** Time between two glances at the canary chains, which take microseconds. */
const GLANCE_MS = 250
/** Shortest time between two looks by the tools, where a glance does not tell. */
const CANARY_MS = 800
/** A look may take this share of the time (legacy tools read the whole table for it), */
const CANARY_SHARE = 0.05
/** but there is one this often at least. */
const CANARY_LONGEST_MS = 10_000

export class IptablesProxier implements Datapath {
  readonly #options: IptablesProxierOptions
  readonly #rules: ReadonlyMap<IpFamily, FamilyRules>
  #snapshot: Snapshot | undefined
  #verifiedAtMs = -Infinity
  #cancelCanary: (() => void) | undefined
  /** One restore at a time: syncs and repairs take turns. */
  #turn: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(options: IptablesProxierOptions) {
    this.#options = options
    this.#rules = new Map(options.families.map((family) => [family, options.rulesOf(family)]))
  }

  async sync(snapshot: Snapshot): Promise<SyncResult> {
    if (this.#isClosed) return { warnings: [] }
    await this.#inTurn(() => this.#bring(snapshot))
    if (this.#cancelCanary === undefined) this.#watch(GLANCE_MS)
    return { warnings: [] }
  }

  /** Nothing to wait for: connections are the kernel's. */
  drain(): Promise<void> {
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelCanary?.()
    await this.#turn
  }

  async #bring(snapshot: Snapshot): Promise<void> {
    const { optionsOf } = this.#options
    const before = this.#snapshot
    // One family after the other: the legacy tools of both share one lock, and a load may hold it for
    // longer than the other family's tool waits.
    let failure: Error | undefined
    for (const [family, rules] of this.#rules) {
      try {
        await rules.sync(snapshot, optionsOf(family, snapshot), false)
      } catch (error) {
        failure ??= error instanceof Error ? error : new Error(messageOf(error))
      }
    }
    if (failure !== undefined) throw failure
    this.#snapshot = snapshot
    for (const family of this.#rules.keys()) {
      if (!hasUdpChange(before, snapshot, family)) continue
      // The rules are in force; an entry that stays costs its own flow only, and the next change tries again.
      await this.#options.deleteStaleFlows(family, snapshot).catch((error: unknown) => {
        this.#options.warn(`stale UDP flows could not be deleted: ${messageOf(error)}`)
      })
    }
  }

  /** Looks at the canaries from time to time, and now and then at the jumps; what is gone is written again. */
  #watch(delayMs: number): void {
    const { clock } = this.#options
    if (this.#isClosed) return
    this.#cancelCanary = clock.after(delayMs, () => {
      const startedMs = clock.nowMs()
      this.#repairInTurn().then(
        (lookedMs) => {
          this.#watch(lookedMs === undefined ? GLANCE_MS : pauseAfter(lookedMs))
        },
        (error: unknown) => {
          this.#options.warn(
            `rules could not be repaired, the next sync tries: ${messageOf(error)}`,
          )
          this.#watch(pauseAfter(clock.nowMs() - startedMs))
        },
      )
    })
  }

  async #repairInTurn(): Promise<number | undefined> {
    let lookedMs: number | undefined
    await this.#inTurn(async () => {
      lookedMs = await this.#repair()
    })
    return lookedMs
  }

  /** Milliseconds that the tools have looked in vain; undefined: none had to, or something was repaired. */
  async #repair(): Promise<number | undefined> {
    const snapshot = this.#snapshot
    if (snapshot === undefined) return undefined
    const { clock } = this.#options
    const startedMs = clock.nowMs()
    const isVerifying = startedMs - this.#verifiedAtMs >= VERIFY_MS
    let hasLooked = false
    let isRepaired = false
    for (const [family, rules] of this.#rules) {
      const isFlushed = isVerifying ? undefined : await rules.isFlushed()
      hasLooked ||= isFlushed === undefined
      if (isFlushed === false || (isFlushed === undefined && (await rules.hasCanaries()))) {
        if (isVerifying) await rules.verify()
        continue
      }
      isRepaired = true
      this.#options.warn(`${family}: somebody has flushed iptables rules; they are written again`)
      rules.forget()
      await rules.sync(snapshot, this.#options.optionsOf(family, snapshot), false)
    }
    if (isVerifying) this.#verifiedAtMs = clock.nowMs()
    return hasLooked && !isRepaired ? clock.nowMs() - startedMs : undefined
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const mine = this.#turn.then(work, work)
    this.#turn = mine.catch(() => undefined)
    await mine
  }
}

function pauseAfter(lookedMs: number): number {
  return Math.min(Math.max(CANARY_MS, lookedMs / CANARY_SHARE), CANARY_LONGEST_MS)
}
