/**
 * The ipvs mode: computes what a Snapshot needs and brings both families to it. While endpoints
 * drain it looks at their connections again every DRAIN_CHECK_MS. A stop leaves everything in the
 * kernel, as kube-proxy does; the next start takes it over (`kube-sluice cleanup` removes it).
 */
import type { Clock } from '../../lib/clock.js'
import { messageOf } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { LocalAddress } from '../../kernel/local-address.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { Datapath, SyncResult } from '../datapath.js'
import { hasUdpChange } from '../stale-flows.js'
import { Verification } from '../userspace/capture-options.js'
import { type DesiredState, desiredState, PartCache } from './desired-state.js'
import type { IpvsFamily } from './ipvs-family.js'
import { familyRulesOf, type IpvsSettings, partOptionsOf } from './ipvs-settings.js'

export interface IpvsProxierOptions {
  readonly settings: IpvsSettings
  readonly clock: Clock
  readonly families: ReadonlyMap<IpFamily, IpvsFamily>
  /** Read anew at each sync: nothing tells of address changes. */
  readonly localAddresses: () => readonly LocalAddress[]
  /** Deletes UDP entries of connection tracking that lead to endpoints that have gone (reference 1.8). */
  readonly deleteStaleFlows: (family: IpFamily, snapshot: Snapshot) => Promise<unknown>
  readonly warn: (message: string) => void
}

/** How often connections of draining endpoints are counted. */
export const DRAIN_CHECK_MS = 10_000

export class IpvsProxier implements Datapath {
  readonly #options: IpvsProxierOptions
  readonly #verification: Verification
  readonly #caches = { IPv4: new PartCache(), IPv6: new PartCache() }
  readonly #states = new Map<IpFamily, DesiredState>()
  #snapshot: Snapshot | undefined
  /** The last one that is in force in both families. */
  #inForce: Snapshot | undefined
  #cancelCheck: (() => void) | undefined
  /** The work that is under way: one thing at a time. */
  #queue: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(options: IpvsProxierOptions) {
    this.#options = options
    this.#verification = new Verification(options.clock)
  }

  /** Virtual servers that the last Snapshot wants, both families. */
  get states(): ReadonlyMap<IpFamily, DesiredState> {
    return this.#states
  }

  /** Real servers that drain, of both families. */
  get draining(): number {
    return [...this.#options.families.values()].reduce((sum, { draining }) => sum + draining, 0)
  }

  sync(snapshot: Snapshot): Promise<SyncResult> {
    return this.#inTurn(() => this.#bring(snapshot))
  }

  /** Nothing to wait for: connections are the kernel's. */
  drain(): Promise<void> {
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelCheck?.()
    await this.#queue
  }

  #inTurn<R>(work: () => Promise<R>): Promise<R> {
    const turn = this.#queue.then(work)
    this.#queue = turn.catch(() => undefined)
    return turn
  }

  async #bring(snapshot: Snapshot): Promise<SyncResult> {
    this.#snapshot = snapshot
    const verify = this.#verification.isDue()
    const { settings } = this.#options
    const own = this.#options.localAddresses()
    const warnings: string[] = []
    const failures: unknown[] = []
    for (const [family, kernel] of this.#options.families) {
      const options = partOptionsOf(family, snapshot, own, settings)
      const state = desiredState(snapshot, options, this.#caches[family])
      const rules = familyRulesOf(family, snapshot, settings)
      try {
        warnings.push(...(await kernel.bring(state, rules, options.ownAddresses, verify)))
        this.#states.set(family, state)
      } catch (error) {
        // The other family goes on.
        failures.push(error)
      }
    }
    this.#checkDrains()
    if (failures.length > 0) {
      this.#verification.reset()
      throw failures[0]
    }
    if (verify) this.#verification.done()
    await this.#forgetFlows(snapshot)
    return { warnings }
  }

  async #forgetFlows(snapshot: Snapshot): Promise<void> {
    const before = this.#inForce
    this.#inForce = snapshot
    for (const family of this.#options.families.keys()) {
      if (!hasUdpChange(before, snapshot, family)) continue
      // Servers are in force; an entry that stays costs its own flow only, and the next change tries again.
      await this.#options.deleteStaleFlows(family, snapshot).catch((error: unknown) => {
        this.#options.warn(`stale UDP flows could not be deleted: ${messageOf(error)}`)
      })
    }
  }

  #checkDrains(): void {
    this.#cancelCheck?.()
    if (this.draining === 0 || this.#isClosed) return
    this.#cancelCheck = this.#options.clock.after(DRAIN_CHECK_MS, () => {
      // The Snapshot of when its turn comes: a newer one may be under way.
      const check = () => this.#snapshot && this.#bring(this.#snapshot)
      this.#inTurn(async () => check()).catch((error: unknown) => {
        this.#options.warn(`endpoints that drain were not looked at: ${messageOf(error)}`)
      })
    })
  }
}
