/**
 * The flat nftables layout in the kernel: lays out each Snapshot, loads the skeleton when it
 * changed and the elements that changed.
 *
 * A table that a predecessor left keeps serving until the elements are replaced in one transaction.
 * When the kernel refuses a change (somebody flushed the ruleset), everything is loaded anew, once;
 * when that fails too, the next sync loads everything.
 */
import { runChecked, type RunCommand } from '../../kernel/command.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { Datapath, SyncResult } from '../datapath.js'
import type { ElementLoader } from './element-loader.js'
import { computeLayout, type Layout, type LayoutOptions } from './layout.js'
import { diffLayouts, replaceAll } from './layout-diff.js'
import { removalText } from './skeleton.js'

export interface NftablesProxierOptions {
  readonly run: RunCommand
  readonly loader: ElementLoader
  readonly families: readonly IpFamily[]
  /** Read at each sync; the same object for as long as nothing changed. */
  readonly layoutOptions: () => LayoutOptions
}

export class NftablesProxier implements Datapath {
  readonly #options: NftablesProxierOptions
  /** What the kernel has; a family without one needs everything. */
  readonly #loaded = new Map<IpFamily, Layout>()

  constructor(options: NftablesProxierOptions) {
    this.#options = options
  }

  async sync(snapshot: Snapshot): Promise<SyncResult> {
    const { families, layoutOptions } = this.#options
    const options = layoutOptions()
    const warnings: string[] = []
    for (const family of families) {
      const layout = computeLayout(snapshot, family, options, this.#loaded.get(family))
      await this.#bring(layout)
      warnings.push(...layout.warnings)
    }
    return { warnings }
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
    const before = this.#loaded.get(family)
    this.#loaded.delete(family)
    if (before?.skeleton === layout.skeleton) {
      try {
        await this.#options.loader.load(diffLayouts(before, layout))
        this.#loaded.set(family, layout)
        return
      } catch {
        // Not what was loaded is in the kernel; loading everything tells what is wrong, if anything.
      }
    }
    await this.#loadSkeleton(layout)
    await this.#options.loader.load(replaceAll(layout))
    this.#loaded.set(family, layout)
  }

  /** In place where it can be; an older version's table, whose sets differ, gives way. */
  async #loadSkeleton({ family, skeleton }: Layout): Promise<void> {
    const { run } = this.#options
    const inPlace = await run('nft', ['-f', '-'], skeleton)
    if (inPlace.status === 0) return
    await runChecked(run, 'nft', ['-f', '-'], removalText(family) + skeleton)
  }
}
