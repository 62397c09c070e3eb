/**
 * The iptables rules of one family in the kernel: one run of iptables-save when it is not known what
 * is there, one restore when something differs, and one more for chains that nobody wants any more.
 */
import { messageOf } from '../../lib/errors.js'
import type { RunCommand } from '../../kernel/command.js'
import {
  type IptablesChain,
  renderChainRemoval,
  renderChains,
  restoreRules,
} from '../../kernel/iptables.js'
import { hasChains, missingJumps, readSavedRules } from '../../kernel/saved-rules.js'
import { PORT_CHAIN_PATTERN } from '../iptables/names.js'

export class RuleTable {
  readonly #run: RunCommand
  readonly #tool: string
  readonly #onFailure: () => void
  /** The text in force; undefined before the first load and after a failure. */
  #applied: string | undefined
  /** Names of the chains of single Service ports that exist. */
  #portChains: ReadonlySet<string> = new Set()

  /** `tool` as iptablesTool() names it; `onFailure`: a restore failed. */
  constructor(run: RunCommand, tool: string, onFailure: () => void) {
    this.#run = run
    this.#tool = tool
    this.#onFailure = onFailure
  }

  /**
   * Loads the chains when they changed, and, with `verify`, when the kernel has lost some. Returns
   * what could not be done and does no harm. Throws SluiceError ERR_TOOL.
   */
  async sync(chains: readonly IptablesChain[], verify: boolean): Promise<readonly string[]> {
    const text = renderChains(chains, [])
    const isChanged = text !== this.#applied
    if (!isChanged && !verify) return []
    const names = chains.map(({ name }) => name).filter((name) => PORT_CHAIN_PATTERN.test(name))
    if (verify || this.#applied === undefined) await this.#repair(chains, isChanged)
    else await this.#load(text)
    this.#applied = text
    const stale = [...this.#portChains].filter((name) => !names.includes(name))
    this.#portChains = new Set(names)
    return this.#remove(stale)
  }

  async #repair(chains: readonly IptablesChain[], isChanged: boolean): Promise<void> {
    const saved = await readSavedRules(this.#run, this.#tool, chains)
    const names = [...saved.chains.keys()].map((key) => key.split('/')[1] ?? '')
    this.#portChains = new Set(names.filter((name) => PORT_CHAIN_PATTERN.test(name)))
    const jumps = missingJumps(saved, chains)
    if (!isChanged && jumps.length === 0 && hasChains(saved, chains)) return
    await this.#load(renderChains(chains, jumps))
  }

  async #load(text: string): Promise<void> {
    this.#applied = undefined
    await this.#restore(text)
  }

  async #restore(text: string): Promise<void> {
    try {
      await restoreRules(this.#run, this.#tool, text)
    } catch (error) {
      this.#onFailure()
      throw error
    }
  }

  async #remove(stale: readonly string[]): Promise<readonly string[]> {
    if (stale.length === 0) return []
    try {
      await this.#restore(renderChainRemoval('nat', stale))
      return []
    } catch (error) {
      return [`chains that are not needed any more stay: ${messageOf(error)}`]
    }
  }
}
