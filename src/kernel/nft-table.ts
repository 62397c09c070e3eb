/** Whole tables of nf_tables, through nft(8). */
import type { IpFamily } from '../lib/ip-address.js'
import { type RunCommand, runChecked } from './command.js'

/** The family as nft names it. */
export function nftFamily(family: IpFamily): 'ip' | 'ip6' {
  return family === 'IPv4' ? 'ip' : 'ip6'
}

/** The text that removes a table, there or not. */
export function tableRemovalText(family: IpFamily, name: string): string {
  const table = `${nftFamily(family)} ${name}`
  return `add table ${table}\ndelete table ${table}\n`
}

/**
 * Removes a table with all that is in it; returns what there was. A kernel without nf_tables has none.
 * Throws SluiceError ERR_TOOL.
 */
export async function removeNftTable(
  run: RunCommand,
  family: IpFamily,
  name: string,
): Promise<readonly string[]> {
  const kind = nftFamily(family)
  const { stdout } = await run('nft', ['list', 'tables', kind])
  if (!stdout.split('\n').includes(`table ${kind} ${name}`)) return []
  await runChecked(run, 'nft', ['-f', '-'], tableRemovalText(family, name))
  return [`nftables table ${kind} ${name}`]
}
