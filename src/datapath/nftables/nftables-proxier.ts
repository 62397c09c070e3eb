/**
 * The flat nftables layout in the kernel: lays out each Snapshot and loads what changed.
 *
 * A table that a predecessor left keeps serving: when its rules are the same, its elements are
 * replaced in one transaction, else the whole table is. When the kernel refuses a change (somebody
 * flushed the ruleset), everything is loaded anew, once; when that fails too, the next sync does.
 */
import { runChecked, type RunCommand } from '../../kernel/command.js'
import type { Clock } from '../../lib/clock.js'
import type { IpFamily } from '../../lib/ip-address.js'
import { together } from '../../lib/together.js'
import type { NodeState, Snapshot } from '../../model/snapshot.js'
import type { RuleMetrics } from '../../observe/rule-metrics.js'
import type { Datapath, SyncResult } from '../datapath.js'
import { changedAffinity, staleClients, type AffinityEntries } from './affinity-clients.js'
import { renderOperations, type ElementLoader } from './element-loader.js'
import { computeLayout, roomNeeded, type Layout, type LayoutOptions } from './layout.js'
import { allElements, diffLayouts, replaceAll } from './layout-diff.js'
import { isMadeFrom, removalText, ruleCount, tableName } from './skeleton.js'

const FORGET_ATTEMPTS = 5

export interface NftablesProxierOptions {
  readonly run: RunCommand
  readonly clock: Pick<Clock, 'nowMs'>
  readonly metrics: RuleMetrics
  readonly loader: ElementLoader
  readonly families: readonly IpFamily[]
  /** Read at each sync; the same object for as long as nothing changed. */
  readonly layoutOptions: (node: NodeState) => LayoutOptions
  /** Rules in our table, without a tool; absent: that somebody has flushed them is not noticed. */
  readonly countRules?: (family: IpFamily) => number
  /** Reads the clients that session affinity has remembered; without it none is ever forgotten. */
  readonly affinityEntries?: () => AffinityEntries
}

export class NftablesProxier implements Datapath {
  readonly #options: NftablesProxierOptions
  /** What the kernel has; a family without one needs everything. */
  readonly #loaded = new Map<IpFamily, Layout>()
  /** How often the table was made anew. */
  readonly #made = new Map<IpFamily, number>()

  constructor(options: NftablesProxierOptions) {
    this.#options = options
  }

  /** What is loaded for a family; undefined before the first sync and after a failure. */
  layoutOf(family: IpFamily): Layout | undefined {
    return this.#loaded.get(family)
  }

  /**
   * Counts up when the table of a family was made anew: whatever others had put into it (steering's
   * endpoints) has gone.
   */
  tableGeneration(family: IpFamily): number {
    return this.#made.get(family) ?? 0
  }

  /** Whether our tables have all of their rules; one that could not be loaded: any. Throws KernelError. */
  hasRules(): boolean {
    const { families, countRules } = this.#options
    return families.every((family) => {
      const layout = this.#loaded.get(family)
      return layout === undefined ? countRules?.(family) !== 0 : this.#hasRulesOf(layout)
    })
  }

  /** Looks whether our tables are still there; the next sync loads what is not. Throws ERR_TOOL. */
  async verify(): Promise<void> {
    await together(this.#loaded, async ([family, layout]) => {
      if ((await this.#tableState(layout)) !== 'current') this.#loaded.delete(family)
    })
  }

  async sync(snapshot: Snapshot): Promise<SyncResult> {
    const { families, layoutOptions } = this.#options
    const options = layoutOptions(snapshot.node)
    const layouts = families.map((family) =>
      computeLayout(snapshot, family, options, this.#loaded.get(family)),
    )
    await together(layouts, (layout) => this.#bring(layout))
    return { warnings: layouts.flatMap((layout) => layout.warnings) }
  }

  /** Nothing to wait for: established connections are the kernel's. */
  drain(): Promise<void> {
    return Promise.resolve()
  }

  async close(): Promise<void> {
    for (const family of this.#options.families) {
      this.#loaded.delete(family)
      await runChecked(this.#options.run, 'nft', ['-f', '-'], removalText(family))
    }
  }

  async #bring(layout: Layout): Promise<void> {
    const { family } = layout
    const { clock, metrics } = this.#options
    const startedMs = clock.nowMs()
    const before = this.#loaded.get(family)
    this.#loaded.delete(family)
    const kind = await this.#load(before, layout)
    await this.#forgetClients(before, layout)
    this.#loaded.set(family, layout)
    metrics.rulesWritten(kind, family, (clock.nowMs() - startedMs) / 1000)
  }

  async #load(before: Layout | undefined, layout: Layout): Promise<'full' | 'partial'> {
    const { loader, metrics } = this.#options
    if (before?.skeleton === layout.skeleton) {
      try {
        await loader.load(diffLayouts(before, layout))
        return 'partial'
      } catch {
        // Not what was loaded is in the kernel; loading everything tells what is wrong, if anything.
        metrics.nftablesSyncFailed(layout.family)
      }
    }
    try {
      await this.#bringWhole(layout)
    } catch (error) {
      metrics.nftablesSyncFailed(layout.family)
      throw error
    }
    return 'full'
  }

  /** Clients of endpoints that have gone. An entry may expire meanwhile: then it is looked again. */
  async #forgetClients(before: Layout | undefined, layout: Layout): Promise<void> {
    const { affinityEntries, loader, metrics } = this.#options
    if (affinityEntries === undefined) return
    const allowed = changedAffinity(before, layout)
    if (allowed.size === 0) return
    for (let attempt = 1; ; attempt++) {
      const stale = staleClients(affinityEntries(), allowed)
      if (stale === undefined) return
      try {
        await loader.load([stale])
        return
      } catch (error) {
        if (attempt < FORGET_ATTEMPTS) continue
        metrics.nftablesCleanupFailed(layout.family)
        throw error
      }
    }
  }

  /** A table of another version serves until it is replaced, in one transaction. */
  async #bringWhole(layout: Layout): Promise<void> {
    const { run, loader } = this.#options
    const { family, skeleton } = layout
    const state = await this.#tableState(layout)
    if (state !== 'current') {
      this.#made.set(family, this.tableGeneration(family) + 1)
      // As text a large layout takes seconds; netlink is for where there is nothing to disturb.
      const text = state === 'absent' ? skeleton : layoutText(layout)
      await runChecked(run, 'nft', ['-f', '-'], text)
    }
    if (state !== 'outdated') await loader.load(replaceAll(layout))
  }

  /** Listing chains costs milliseconds, whatever the number of elements; listing rules does not. */
  async #tableState({
    family,
    skeleton,
    size,
  }: Layout): Promise<'current' | 'outdated' | 'absent'> {
    const args = ['list', 'chains', family === 'IPv4' ? 'ip' : 'ip6']
    const { status, stdout } = await this.#options.run('nft', args)
    if (status !== 0 || !stdout.includes(`table ${tableName(family)} {`)) return 'absent'
    const isCurrent =
      isMadeFrom(stdout, skeleton, roomNeeded(size)) && this.#hasRulesOf({ family, skeleton })
    return isCurrent ? 'current' : 'outdated'
  }

  /** A flushed table keeps its chains, sets and elements, and serves nobody. */
  #hasRulesOf({ family, skeleton }: Pick<Layout, 'family' | 'skeleton'>): boolean {
    const { countRules } = this.#options
    return countRules === undefined || countRules(family) === ruleCount(skeleton)
  }
}

/** Everything of a layout as one transaction for `nft -f`; replaces what is there. */
export function layoutText(layout: Layout): string {
  return layout.skeleton + renderOperations(allElements(layout))
}
