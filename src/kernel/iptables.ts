/**
 * Chains of iptables rules as values, and their text for `iptables-restore --noflush`: one atomic
 * replacement a table, other chains untouched.
 *
 * Both variants of the tools are supported: `iptables` is whatever the node's administrator chose;
 * `iptables-legacy` and `iptables-nft` are asked for by name only where that one does not work.
 */
import type { IpFamily } from '../lib/ip-address.js'
import { commandFailure, type RunCommand, runChecked } from './command.js'

export type IptablesVariant = '' | '-legacy' | '-nft'

export type IptablesTable = 'mangle' | 'nat' | 'filter'

export type IptablesHook = 'PREROUTING' | 'INPUT' | 'FORWARD' | 'OUTPUT' | 'POSTROUTING'

export interface IptablesChain {
  readonly table: IptablesTable
  /** At most 28 bytes (XT_EXTENSION_MAXNAMELEN). */
  readonly name: string
  /** Built-in chains that jump here, at their top. */
  readonly hooks: readonly IptablesHook[]
  /** What an operator reads beside the jump. */
  readonly comment: string
  /** Rule specifications without `-A CHAIN`. */
  readonly rules: readonly string[]
}

export interface IptablesJump {
  readonly chain: IptablesChain
  readonly hook: IptablesHook
}

/** Seconds to wait for the lock of the legacy tools; the nft ones ignore it. */
export const LOCK_WAIT = ['-w', '5'] as const

/** The tool of a family and variant, e.g. `ip6tables-legacy`. */
export function iptablesTool(family: IpFamily, variant: IptablesVariant): string {
  return `${family === 'IPv4' ? 'iptables' : 'ip6tables'}${variant}`
}

/** A comment match. Quotes and line ends would end it early: they become blanks. */
export function comment(text: string): string {
  const words = text.replace(/["\\\r\n]/g, ' ').slice(0, 255)
  return `-m comment --comment "${words}"`
}

/** One `iptables-restore --noflush` text: every chain with its rules, and the jumps that are missing. */
export function renderChains(
  chains: readonly IptablesChain[],
  missing: readonly IptablesJump[],
): string {
  return renderTables(chains, (inTable) => [
    ...inTable.map(({ name }) => `:${name} - [0:0]`),
    ...inTable.flatMap(({ name, rules }) => rules.map((rule) => `-A ${name} ${rule}`)),
    ...missing
      .filter(({ chain }) => inTable.includes(chain))
      .map(({ chain, hook }) => `-I ${hook} 1 ${jump(chain)}`),
  ])
}

/** The text that puts the jumps to these chains at the top, where some are further down. */
export function renderRaise(
  chains: readonly IptablesChain[],
  existing: readonly IptablesJump[],
): string {
  return renderTables(chains, (inTable) => [
    ...existing
      .filter(({ chain }) => inTable.includes(chain))
      .map(({ chain, hook }) => `-D ${hook} ${jump(chain)}`),
    ...inTable.flatMap((chain) => chain.hooks.map((hook) => `-I ${hook} 1 ${jump(chain)}`)),
  ])
}

/** The text that takes jumps away and deletes the chains, which must exist. */
export function renderRemoval(
  chains: readonly IptablesChain[],
  jumps: readonly IptablesJump[],
): string {
  return renderTables(chains, (inTable) => [
    ...jumps
      .filter(({ chain }) => inTable.includes(chain))
      .map(({ chain, hook }) => `-D ${hook} ${jump(chain)}`),
    ...inTable.map(({ name }) => `-F ${name}`),
    ...inTable.map(({ name }) => `-X ${name}`),
  ])
}

/**
 * The text that empties chains of a table, takes away rules that lead to them (as iptables-save prints
 * them, `-A CHAIN ...`), and deletes the chains; all are emptied before one goes, as they lead to each other.
 */
export function renderChainRemoval(
  table: string,
  chains: readonly string[],
  jumps: readonly string[] = [],
): string {
  return [
    `*${table}`,
    ...chains.map((name) => `:${name} - [0:0]`),
    ...jumps.map((rule) => rule.replace(/^-A/, '-D')),
    ...chains.map((name) => `-X ${name}`),
    'COMMIT\n',
  ].join('\n')
}

/** Loads such a text. Throws SluiceError ERR_TOOL. */
export async function restoreRules(run: RunCommand, tool: string, text: string): Promise<void> {
  await runChecked(run, `${tool}-restore`, ['--noflush', ...LOCK_WAIT], text)
}

/** The rules of a chain as `-S` prints them, without `-A CHAIN`; undefined when there is no such chain. */
export async function listRules(
  run: RunCommand,
  tool: string,
  { table, name }: Pick<IptablesChain, 'table' | 'name'>,
): Promise<readonly string[] | undefined> {
  const args = [...LOCK_WAIT, '-t', table, '-S', name]
  const result = await run(tool, args)
  if (result.status === 0) {
    const prefix = `-A ${name} `
    const lines = result.stdout.split('\n').filter((line) => line.startsWith(prefix))
    return lines.map((line) => line.slice(prefix.length))
  }
  // Status 1 is "no such chain" (and, from the nft variant, a table that is not there).
  if (result.status === 1) return undefined
  throw commandFailure(tool, args, result)
}

function jump(chain: IptablesChain): string {
  return `${comment(chain.comment)} -j ${chain.name}`
}

function renderTables(
  chains: readonly IptablesChain[],
  lines: (inTable: readonly IptablesChain[]) => readonly string[],
): string {
  const tables = [...new Set(chains.map(({ table }) => table))]
  return tables
    .flatMap((table) => {
      const inTable = chains.filter((chain) => chain.table === table)
      return [`*${table}`, ...lines(inTable), 'COMMIT']
    })
    .map((line) => `${line}\n`)
    .join('')
}
