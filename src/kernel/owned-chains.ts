/**
 * The iptables chains of one owner, for one family: brings them to wanted rules, remembers them, and
 * repairs them when somebody has flushed or removed them. Other chains are never touched, but for
 * the jump to ours at the top of a built-in one.
 */
import {
  type IptablesChain,
  renderChains,
  renderRaise,
  renderRemoval,
  restoreRules,
} from './iptables.js'
import type { RunCommand } from './command.js'
import { existingJumps, hasChains, missingJumps, readSavedRules } from './saved-rules.js'

export class OwnedChains {
  readonly #run: RunCommand
  readonly #tool: string
  /** The text in force; undefined before the first load and after a failure. */
  #applied: string | undefined

  /** `tool` as iptablesTool() names it. */
  constructor(run: RunCommand, tool: string) {
    this.#run = run
    this.#tool = tool
  }

  /**
   * Loads the chains when their rules changed, and, with `verify`, when the kernel has lost some;
   * else runs nothing. At most one look and one restore. Throws SluiceError ERR_TOOL.
   */
  async sync(chains: readonly IptablesChain[], verify: boolean): Promise<void> {
    const text = renderChains(chains, [])
    const isChanged = text !== this.#applied
    if (!isChanged && !verify) return
    if (this.#applied !== undefined && !verify) {
      await this.#load(text, text)
      return
    }
    const saved = await readSavedRules(this.#run, this.#tool, chains)
    const jumps = missingJumps(saved, chains)
    if (!isChanged && jumps.length === 0 && hasChains(saved, chains)) return
    await this.#load(renderChains(chains, jumps), text)
  }

  /**
   * Moves the jumps to these chains, which exist, to the top of their built-in chains: for when
   * somebody else has put theirs above. One look and one restore. Throws SluiceError ERR_TOOL.
   */
  async raise(chains: readonly IptablesChain[]): Promise<void> {
    const saved = await readSavedRules(this.#run, this.#tool, chains)
    const existing = existingJumps(saved, chains)
    await restoreRules(this.#run, this.#tool, renderRaise(chains, existing))
  }

  /**
   * Deletes those of the chains that exist, with the jumps to them; returns `TABLE/CHAIN` of each.
   * Throws SluiceError ERR_TOOL.
   */
  async remove(chains: readonly IptablesChain[]): Promise<string[]> {
    this.#applied = undefined
    const saved = await readSavedRules(this.#run, this.#tool, chains)
    const existing = chains.filter(({ table, name }) => saved.chains.has(`${table}/${name}`))
    if (existing.length === 0) return []
    const text = renderRemoval(existing, existingJumps(saved, existing))
    await restoreRules(this.#run, this.#tool, text)
    return existing.map(({ table, name }) => `${table}/${name}`)
  }

  /** Until the restore has succeeded nobody knows what is there. */
  async #load(restored: string, applied: string): Promise<void> {
    this.#applied = undefined
    await restoreRules(this.#run, this.#tool, restored)
    this.#applied = applied
  }
}
