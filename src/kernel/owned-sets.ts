/**
 * The ipsets of one owner: brings them to a wanted content, remembers it, and notices when somebody
 * has removed or changed them. Sets whose names are not given are never touched.
 */
import { type RunCommand, runChecked } from './command.js'
import { countSetEntries, destroySets, type IpSet, renderSets, setName } from './ipset.js'

export class OwnedSets {
  readonly #run: RunCommand
  /** What is known to be in the kernel, by kernel name. Empty after a failure. */
  readonly #applied = new Map<string, ReadonlySet<string>>()

  constructor(run: RunCommand) {
    this.#run = run
  }

  /**
   * Loads what differs, in one `ipset restore`. With `verify`, or when nothing is known, the kernel
   * is asked first; else a call without changes runs nothing. Throws SluiceError ERR_TOOL.
   */
  async sync(sets: readonly IpSet[], verify: boolean): Promise<void> {
    const isKnown = sets.every((set) => this.#applied.has(setName(set.name, set.family)))
    const before = verify || !isKnown ? await this.#kernelSets() : this.#applied
    const text = renderSets(sets, before)
    if (text !== '') {
      this.#applied.clear()
      await runChecked(this.#run, 'ipset', ['restore'], text)
    }
    for (const set of sets) {
      this.#applied.set(setName(set.name, set.family), new Set(set.entries))
    }
  }

  /** Destroys the sets of these kernel names; returns those that existed. Throws ERR_TOOL. */
  async remove(names: readonly string[]): Promise<readonly string[]> {
    for (const name of names) this.#applied.delete(name)
    return destroySets(this.#run, names)
  }

  /** The number of entries stands for the content: whoever changes a set of ours adds or removes. */
  async #kernelSets(): Promise<Map<string, ReadonlySet<string> | 'unknown'>> {
    const counts = await countSetEntries(this.#run)
    return new Map(
      [...counts].map(([name, count]) => {
        const entries = this.#applied.get(name)
        return [name, entries?.size === count ? entries : 'unknown']
      }),
    )
  }
}
