/**
 * The nftables mode: the flat layout alone, on a node where nothing is steered.
 *
 * Rules that somebody flushes, and a table that somebody removes, are noticed within a second (they are
 * counted over netlink, by no tool), one that somebody edits at the next sync that comes by itself. A stop leaves everything in the
 * kernel, which needs no process to serve; `kube-sluice cleanup` removes it.
 */
import type { Clock } from '../../lib/clock.js'
import { messageOf } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { Datapath, SyncResult } from '../datapath.js'
import { hasUdpChange } from '../stale-flows.js'
import type { NftablesProxier } from './nftables-proxier.js'

export interface NftablesModeOptions {
  readonly proxier: NftablesProxier
  readonly families: readonly IpFamily[]
  readonly clock: Clock
  /** Deletes UDP entries of connection tracking that lead to endpoints that have gone. */
  readonly deleteStaleFlows: (family: IpFamily, snapshot: Snapshot) => Promise<unknown>
  /** Lets loopback addresses be translated to others: once a node port may be reached there. */
  readonly routeLoopback: (snapshot: Snapshot) => void
  readonly warn: (message: string) => void
}

/** A look takes a fifth of a millisecond. */
const WATCH_MS = 250
/** After a repair that failed. */
const RETRY_MS = 1000
/** The rules are listed this often: that costs a process. */
const VERIFY_MS = 30_000

export class NftablesMode implements Datapath {
  readonly #options: NftablesModeOptions
  #snapshot: Snapshot | undefined
  #verifiedAtMs = -Infinity
  #cancelWatch: (() => void) | undefined
  /** Syncs and repairs take turns. */
  #turn: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(options: NftablesModeOptions) {
    this.#options = options
  }

  async sync(snapshot: Snapshot): Promise<SyncResult> {
    if (this.#isClosed) return { warnings: [] }
    const result = await this.#inTurn(() => this.#bring(snapshot))
    if (this.#cancelWatch === undefined) this.#watch()
    return result
  }

  /** Nothing to wait for: connections are the kernel's. */
  drain(): Promise<void> {
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancelWatch?.()
    await this.#turn
  }

  async #bring(snapshot: Snapshot): Promise<SyncResult> {
    const { proxier, clock, families, routeLoopback, warn } = this.#options
    const before = this.#snapshot
    if (clock.nowMs() - this.#verifiedAtMs >= VERIFY_MS) {
      await proxier.verify()
      this.#verifiedAtMs = clock.nowMs()
    }
    routeLoopback(snapshot)
    const result = await proxier.sync(snapshot)
    this.#snapshot = snapshot
    for (const family of families) {
      if (!hasUdpChange(before, snapshot, family)) continue
      // The rules are in force; an entry that stays costs its own flow, and the next change tries again.
      await this.#options.deleteStaleFlows(family, snapshot).catch((error: unknown) => {
        warn(`stale UDP flows could not be deleted: ${messageOf(error)}`)
      })
    }
    return result
  }

  #watch(delayMs = WATCH_MS): void {
    if (this.#isClosed) return
    this.#cancelWatch = this.#options.clock.after(delayMs, () => {
      this.#inTurn(() => this.#repair()).then(
        () => {
          this.#watch()
        },
        (error: unknown) => {
          this.#options.warn(`the nftables table could not be repaired: ${messageOf(error)}`)
          this.#watch(RETRY_MS)
        },
      )
    })
  }

  async #repair(): Promise<void> {
    const { proxier, warn } = this.#options
    const snapshot = this.#snapshot
    if (snapshot === undefined || proxier.hasRules()) return
    warn('somebody has flushed or removed our nftables table; it is made again')
    await proxier.verify()
    await proxier.sync(snapshot)
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work)
    this.#turn = mine.catch(() => undefined)
    return mine
  }
}
