/**
 * A change of the filter and nat tables as a value, and as text for `iptables-restore --noflush`: one
 * atomic replacement of the chains that it names; others are left as they are. (The same change in
 * several: restore-steps.ts.)
 */
import type { IptablesHook } from '../../kernel/iptables.js'
import type { RuleChain } from './port-rules.js'

export interface TablePlan {
  /** Emptied, then written. */
  readonly chains: readonly RuleChain[]
  /** Emptied, then deleted: nothing that stays may jump to one of them. */
  readonly stale: readonly string[]
  /** Rules for the top of built-in chains; each is put above the ones before it. */
  readonly jumps: readonly { readonly hook: IptablesHook; readonly rule: string }[]
}

export interface RestorePlan {
  readonly filter: TablePlan
  readonly nat: TablePlan
}

/** Whether there is nothing to do. */
export function isEmptyPlan({ filter, nat }: RestorePlan): boolean {
  return [filter, nat].every(
    ({ chains, stale, jumps }) => chains.length + stale.length + jumps.length === 0,
  )
}

/** Rules that it writes. */
export function ruleCount({ chains }: TablePlan): number {
  return chains.reduce((sum, { rules }) => sum + rules.length, 0)
}

/** The text; '' for an empty plan. */
export function restoreText(plan: RestorePlan): string {
  return tableText('filter', plan.filter) + tableText('nat', plan.nat)
}

function tableText(table: string, { chains, stale, jumps }: TablePlan): string {
  if (chains.length + stale.length + jumps.length === 0) return ''
  const lines = [`*${table}`]
  for (const { name } of chains) lines.push(`:${name} - [0:0]`)
  for (const name of stale) lines.push(`:${name} - [0:0]`)
  for (const { name, rules } of chains) for (const rule of rules) lines.push(`-A ${name} ${rule}`)
  for (const { hook, rule } of jumps) lines.push(`-I ${hook} 1 ${rule}`)
  for (const name of stale) lines.push(`-X ${name}`)
  lines.push('COMMIT', '')
  return lines.join('\n')
}

/** One transaction, in which each chain is followed by its rules. */
export function interleavedText(table: string, chains: readonly RuleChain[]): string {
  const lines = [`*${table}`]
  for (const { name, rules } of chains) {
    lines.push(`:${name} - [0:0]`)
    for (const rule of rules) lines.push(`-A ${name} ${rule}`)
  }
  lines.push('COMMIT', '')
  return lines.join('\n')
}
