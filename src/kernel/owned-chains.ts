/**
 * The iptables chains of one owner, for one family: brings them to wanted rules, remembers them, and
 * repairs them when somebody has flushed or removed them. Other chains are never touched, but for
 * the jump to ours at the top of a built-in one.
 */
import {
  hasJump,
  type IptablesChain,
  type IptablesJump,
  listRules,
  renderChains,
  renderRaise,
  renderRemoval,
  restoreRules,
} from './iptables.js'
import type { RunCommand } from './command.js'

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
   * else runs nothing. One restore. Throws SluiceError ERR_TOOL.
   */
  async sync(chains: readonly IptablesChain[], verify: boolean): Promise<void> {
    const text = renderChains(chains, [])
    const isChanged = text !== this.#applied
    if (!isChanged && !verify) return
    const isJumpKnown = this.#applied !== undefined && !verify
    const jumps = isJumpKnown ? [] : await this.#jumps(chains, false)
    if (!isChanged && jumps.length === 0 && (await this.#isComplete(chains))) return
    this.#applied = undefined
    await restoreRules(this.#run, this.#tool, renderChains(chains, jumps))
    this.#applied = text
  }

  /**
   * Moves the jumps to these chains, which exist, to the top of their built-in chains: for when
   * somebody else has put theirs above. One restore. Throws SluiceError ERR_TOOL.
   */
  async raise(chains: readonly IptablesChain[]): Promise<void> {
    const existing = await this.#jumps(chains, true)
    await restoreRules(this.#run, this.#tool, renderRaise(chains, existing))
  }

  /**
   * Deletes those of the chains that exist, with the jumps to them; returns `TABLE/CHAIN` of each.
   * Throws SluiceError ERR_TOOL.
   */
  async remove(chains: readonly IptablesChain[]): Promise<string[]> {
    this.#applied = undefined
    const existing: IptablesChain[] = []
    for (const chain of chains) {
      if ((await listRules(this.#run, this.#tool, chain)) !== undefined) existing.push(chain)
    }
    if (existing.length === 0) return []
    const jumps = await this.#jumps(existing, true)
    await restoreRules(this.#run, this.#tool, renderRemoval(existing, jumps))
    return existing.map(({ table, name }) => `${table}/${name}`)
  }

  /** The jumps of these chains that exist, or those that do not. */
  async #jumps(chains: readonly IptablesChain[], existing: boolean): Promise<IptablesJump[]> {
    const jumps = chains.flatMap((chain) => chain.hooks.map((hook) => ({ chain, hook })))
    const found: IptablesJump[] = []
    for (const jump of jumps) {
      if ((await hasJump(this.#run, this.#tool, jump)) === existing) found.push(jump)
    }
    return found
  }

  /** The number of rules stands for the rules: nobody edits them one for one. */
  async #isComplete(chains: readonly IptablesChain[]): Promise<boolean> {
    for (const chain of chains) {
      const rules = await listRules(this.#run, this.#tool, chain)
      if (rules?.length !== chain.rules.length) return false
    }
    return true
  }
}
