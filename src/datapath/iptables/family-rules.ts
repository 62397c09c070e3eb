/** The iptables mode's rules of one family, as they are in the kernel and as they are to be. */
import type { Clock } from '../../lib/clock.js'
import { KernelError, SluiceError } from '../../lib/errors.js'
import { commandFailure, eachLine, type RunCommand, runChecked } from '../../kernel/command.js'
import { type IptablesTable, LOCK_WAIT, restoreRules } from '../../kernel/iptables.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { RuleMetrics } from '../../observe/rule-metrics.js'
import {
  baseJumps,
  CANARY_CHAIN,
  CANARY_RULE,
  CANARY_TABLES,
  canaryText,
  KUBELET_CHAIN,
  loopbackGuard,
  type BaseJump,
} from './base-rules.js'
import { StaleChains } from './chain-graph.js'
import type { PacketCounts } from './packet-counts.js'
import { steppedText } from './restore-steps.js'
import { isEmptyPlan, restoreText, ruleCount, type RestorePlan } from './restore-text.js'
import {
  fullPlan,
  partialPlan,
  rulesetOf,
  ruleTotals,
  type Ruleset,
  type RulesetOptions,
} from './ruleset.js'

export interface FamilyRulesOptions {
  readonly run: RunCommand
  /** As iptablesTool() names it. */
  readonly tool: string
  readonly clock: Pick<Clock, 'nowMs'>
  readonly metrics: RuleMetrics
  /** Of the rules; absent: nobody reads them. */
  readonly counts?: Pick<PacketCounts, 'whileWriting'> | undefined
  /** Absent: the tools alone tell whether somebody has flushed a table. */
  readonly glance?: RuleGlance | undefined
  /** Jumps were put at the top of built-in chains: what stood there is below them now. */
  readonly onJumpsAdded?: () => void
  /** The rules in force serve; what nobody wants any more could not be looked for. */
  readonly warn: (message: string) => void
}

/** Looks at what is in the kernel without a tool. Both throw KernelError. */
export interface RuleGlance {
  /** Rules of a chain of nf_tables; 0 when it is not there. */
  countRules(table: IptablesTable, chain: string): number
  /** Differs once rules of a table of the legacy variant have been added or removed. */
  legacySize(table: IptablesTable): string
}

/** Everything is written again after this long, unless the cluster is large. */
const FULL_SYNC_MS = 3_600_000

/** Exit status of iptables: somebody else has had the lock for too long. */
const RESOURCE_PROBLEM = 4

export class FamilyRules {
  readonly #options: FamilyRulesOptions
  #loaded: Ruleset | undefined
  #fullAtMs = 0
  /** What the tool says that it is; asked once. */
  #variant: Promise<string> | undefined
  /**
   * Of the legacy tables, when they were last known to be whole: read before a look that found them so,
   * or else a flush in between would never be seen.
   */
  #sizes: string | undefined

  constructor(options: FamilyRulesOptions) {
    this.#options = options
  }

  /** What is in force; undefined before the first sync and after a failure. */
  get loaded(): Ruleset | undefined {
    return this.#loaded
  }

  /** The next sync writes everything. */
  forget(): void {
    this.#loaded = undefined
  }

  /**
   * Brings the rules to the Snapshot. With `verify`, jumps that somebody has removed are put back.
   * @throws SluiceError ERR_TOOL; with some lines of the rules when the tool names one of them
   */
  async sync(snapshot: Snapshot, options: RulesetOptions, verify: boolean): Promise<void> {
    const nowMs = this.#options.clock.nowMs()
    const before = this.#loaded
    const after = rulesetOf(snapshot, options, before)
    const isStale = nowMs - this.#fullAtMs >= FULL_SYNC_MS && !after.options.isLarge
    const isFull = before === undefined || before.options !== after.options || isStale
    const isWhole = (await this.isFlushed()) === false
    // Until the restore has succeeded nobody knows what is there.
    this.#loaded = undefined
    if (isFull) {
      await this.#ensureCanaries()
      const plan = await this.#takeOver(fullPlan(after))
      const write = () => this.#restore(plan, after, 'full')
      await (this.#options.counts?.whileWriting(write) ?? write())
      this.#fullAtMs = nowMs
    } else {
      await this.#restore(partialPlan(before, after), after, 'partial')
    }
    if (isFull || verify) await this.#ensureJumps(after)
    this.#loaded = after
    this.#sizes = isFull || !isWhole ? undefined : await this.#legacySizes()
    const seconds = (this.#options.clock.nowMs() - nowMs) / 1000
    this.#options.metrics.rulesWritten(isFull ? 'full' : 'partial', options.family, seconds)
  }

  /**
   * Whether somebody has flushed a table, in microseconds: undefined when only hasCanaries() can say,
   * because rules of a legacy table were added or removed, be they ours or not.
   */
  async isFlushed(): Promise<boolean | undefined> {
    const { glance } = this.#options
    if (glance === undefined || this.#loaded === undefined) return undefined
    try {
      if (await this.#isNft()) {
        return CANARY_TABLES.some((table) => glance.countRules(table, CANARY_CHAIN) === 0)
      }
      const sizes = await this.#legacySizes()
      return sizes !== undefined && sizes === this.#sizes ? false : undefined
    } catch (error) {
      if (error instanceof KernelError) return undefined
      throw error
    }
  }

  /** Whether the canary chains are as they were left. Throws SluiceError ERR_TOOL when a tool hangs. */
  async hasCanaries(): Promise<boolean> {
    const sizes = await this.#legacySizes()
    for (const table of CANARY_TABLES) {
      if (!(await this.#hasRule(table, CANARY_CHAIN, CANARY_RULE))) return false
    }
    this.#sizes = sizes
    return true
  }

  /** Puts jumps back that somebody has removed from built-in chains. Throws SluiceError ERR_TOOL. */
  async verify(): Promise<void> {
    if (this.#loaded === undefined) return
    await this.#ensureJumps(this.#loaded)
  }

  /** Removes also what a predecessor wanted and we do not. Failing that, it serves nobody. */
  async #takeOver(plan: RestorePlan): Promise<RestorePlan> {
    const { run, tool, warn } = this.#options
    const wanted = new Set(plan.nat.chains.map(({ name }) => name))
    const saved = new StaleChains(wanted)
    try {
      await eachLine(run, `${tool}-save`, ['-t', 'nat'], (line) => {
        saved.add(line)
      })
    } catch (error) {
      warn(`chains that are no longer wanted stay: ${error instanceof Error ? error.message : ''}`)
      return plan
    }
    return { ...plan, nat: { ...plan.nat, stale: saved.list() } }
  }

  async #restore(plan: RestorePlan, after: Ruleset, kind: 'full' | 'partial'): Promise<void> {
    if (isEmptyPlan(plan)) return
    const { run, tool, metrics } = this.#options
    const { family } = after.options
    const text = (await this.#isNft()) ? steppedText(plan) : restoreText(plan)
    try {
      await restoreRules(run, tool, text)
    } catch (error) {
      metrics.iptablesRestoreFailed(family, kind)
      throw withLines(error, text)
    }
    const total = ruleTotals(after)
    for (const table of ['filter', 'nat'] as const) {
      metrics.iptablesRules(table, family, { total: total[table], last: ruleCount(plan[table]) })
    }
  }

  /** Whether the tool is of the nft variant, as it says itself: `iptables v1.8.9 (nf_tables)`. */
  async #isNft(): Promise<boolean> {
    const { run, tool } = this.#options
    this.#variant ??= runChecked(run, tool, ['--version'])
    return (await this.#variant).includes('nf_tables')
  }

  /** Undefined where nobody can say. */
  async #legacySizes(): Promise<string | undefined> {
    const { glance } = this.#options
    if (glance === undefined || (await this.#isNft())) return undefined
    try {
      return CANARY_TABLES.map((table) => glance.legacySize(table)).join('; ')
    } catch (error) {
      if (error instanceof KernelError) return undefined
      throw error
    }
  }

  async #ensureCanaries(): Promise<void> {
    const { run, tool } = this.#options
    await restoreRules(run, tool, canaryText())
  }

  /** Those that are missing, at the top of their chains, one restore for all. */
  async #ensureJumps({ options }: Ruleset): Promise<void> {
    const { run, tool, onJumpsAdded } = this.#options
    const guard = loopbackGuard(options)
    if (guard !== undefined) await this.#ensureGuard(guard)
    const missing: BaseJump[] = []
    for (const jump of baseJumps(options)) {
      if (!(await this.#hasRule(jump.table, jump.hook, jump.rule))) missing.push(jump)
    }
    if (missing.length === 0) return
    const of = (table: 'filter' | 'nat') => ({
      chains: [],
      stale: [],
      jumps: missing.filter((jump) => jump.table === table),
    })
    await restoreRules(run, tool, restoreText({ filter: of('filter'), nat: of('nat') }))
    onJumpsAdded?.()
  }

  /** Throws SluiceError ERR_TOOL when nobody can say: an absent rule must not be mistaken for a lock. */
  async #hasRule(table: IptablesTable, chain: string, rule: string): Promise<boolean> {
    const { run, tool } = this.#options
    const args = [...LOCK_WAIT, '-t', table, '-C', chain, ...wordsOf(rule)]
    const result = await run(tool, args)
    if (result.status === RESOURCE_PROBLEM) throw commandFailure(tool, args, result)
    // 1: no such rule; 2: no such target. What else is wrong comes out in the restore that follows.
    return result.status === 0
  }

  /** The chain is the kubelet's too: it is never emptied, and may not be there yet. */
  async #ensureGuard(rule: string): Promise<void> {
    const { run, tool } = this.#options
    const inFilter = [...LOCK_WAIT, '-t', 'filter']
    const words = [KUBELET_CHAIN, ...wordsOf(rule)]
    // Status 1: it is there already.
    await run(tool, [...inFilter, '-N', KUBELET_CHAIN])
    if ((await run(tool, [...inFilter, '-C', ...words])).status === 0) return
    await runChecked(run, tool, [...inFilter, '-A', ...words])
  }
}

/** A rule as the words of a command line: blanks divide, but not between quotes. */
function wordsOf(rule: string): string[] {
  return [...rule.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
}

/** With the lines around the one that the tool complains about, as kube-proxy logs them. */
function withLines(error: unknown, text: string): unknown {
  if (!(error instanceof SluiceError)) return error
  const { stderr } = error.context
  const line = typeof stderr === 'string' ? Number(/line:? (\d+)/i.exec(stderr)?.[1] ?? 0) : 0
  if (line === 0) return error
  const lines = text.split('\n').slice(Math.max(0, line - 2), line + 1)
  return new SluiceError(error.code, `${error.message}; the rules there: ${lines.join(' | ')}`, {
    cause: error,
    context: error.context,
  })
}
