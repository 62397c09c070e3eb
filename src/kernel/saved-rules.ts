/** What `iptables-save` prints, as far as one owner of chains wants to know it. Pure but for reading. */
import { type RunCommand, runChecked } from './command.js'
import { comment, type IptablesChain, type IptablesJump } from './iptables.js'

export interface SavedRules {
  /** Number of rules by `TABLE/CHAIN`. */
  readonly chains: ReadonlyMap<string, number>
  /** Rules of built-in chains that lead elsewhere: `TABLE/-A OUTPUT ... -j CHAIN`, without quotes. */
  readonly jumps: ReadonlySet<string>
}

/** All tables in one run: the legacy tools fetch whole tables anyway. Throws SluiceError ERR_TOOL. */
export async function readSavedRules(run: RunCommand, tool: string): Promise<SavedRules> {
  return parseSavedRules(await runChecked(run, `${tool}-save`, []))
}

export function parseSavedRules(text: string): SavedRules {
  const chains = new Map<string, number>()
  const jumps = new Set<string>()
  let table = ''
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1)
    else if (line.startsWith(':')) chains.set(`${table}/${line.slice(1).split(' ', 1)[0]}`, 0)
    else if (line.startsWith('-A ')) {
      const name = `${table}/${line.split(' ', 2)[1]}`
      chains.set(name, (chains.get(name) ?? 0) + 1)
      if (line.includes(' -j ')) jumps.add(`${table}/${withoutQuotes(line)}`)
    }
  }
  return { chains, jumps }
}

/** The jumps of these chains that are not there. */
export function missingJumps(
  saved: SavedRules,
  chains: readonly IptablesChain[],
): readonly IptablesJump[] {
  return chains
    .flatMap((chain) => chain.hooks.map((hook) => ({ chain, hook })))
    .filter(({ chain, hook }) => {
      const rule = `-A ${hook} ${comment(chain.comment)} -j ${chain.name}`
      return !saved.jumps.has(`${chain.table}/${withoutQuotes(rule)}`)
    })
}

/** Whether all are there. The number of rules stands for the rules: nobody edits them one for one. */
export function hasChains(saved: SavedRules, chains: readonly IptablesChain[]): boolean {
  return chains.every(
    ({ table, name, rules }) => saved.chains.get(`${table}/${name}`) === rules.length,
  )
}

/** A comment of one word is printed without them. */
function withoutQuotes(text: string): string {
  return text.replaceAll('"', '')
}
