/** What `iptables-save` prints, as far as one owner of chains wants to know it. Pure but for reading. */
import { isFlood, type RunCommand, runChecked } from './command.js'
import { comment, type IptablesChain, type IptablesJump, listRules } from './iptables.js'

export interface SavedRules {
  /** Number of rules by `TABLE/CHAIN`. */
  readonly chains: ReadonlyMap<string, number>
  /** Rules of built-in chains that lead elsewhere: `TABLE/-A OUTPUT ... -j CHAIN`, without quotes. */
  readonly jumps: ReadonlySet<string>
}

/**
 * All tables in one run: the legacy tools fetch whole tables anyway, and none of them is made by
 * looking. Where there is more text than a tool may write, what concerns these chains is listed chain
 * by chain. Throws SluiceError ERR_TOOL.
 */
export async function readSavedRules(
  run: RunCommand,
  tool: string,
  chains: readonly IptablesChain[],
): Promise<SavedRules> {
  try {
    return parseSavedRules(await runChecked(run, `${tool}-save`, []))
  } catch (error) {
    if (!isFlood(error)) throw error
    return listChains(run, tool, chains)
  }
}

const BUILT_IN = /^-A (?:PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) /

export function parseSavedRules(text: string): SavedRules {
  const chains = new Map<string, number>()
  const jumps = new Set<string>()
  let table = ''
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1)
    else if (line.startsWith(':')) chains.set(`${table}/${line.slice(1, line.indexOf(' '))}`, 0)
    else if (line.startsWith('-A ')) {
      const name = `${table}/${line.slice(3, line.indexOf(' ', 3))}`
      chains.set(name, (chains.get(name) ?? 0) + 1)
      if (BUILT_IN.test(line)) jumps.add(`${table}/${withoutQuotes(line)}`)
    }
  }
  return { chains, jumps }
}

async function listChains(
  run: RunCommand,
  tool: string,
  wanted: readonly IptablesChain[],
): Promise<SavedRules> {
  const chains = new Map<string, number>()
  const jumps = new Set<string>()
  for (const { table, name } of wanted) {
    const rules = await listRules(run, tool, { table, name })
    if (rules !== undefined) chains.set(`${table}/${name}`, rules.length)
  }
  const places = new Map(
    wanted.flatMap(({ table, hooks }) =>
      hooks.map((name) => [`${table}/${name}`, { table, name }] as const),
    ),
  )
  for (const { table, name } of places.values()) {
    for (const rule of (await listRules(run, tool, { table, name })) ?? []) {
      jumps.add(`${table}/${withoutQuotes(`-A ${name} ${rule}`)}`)
    }
  }
  return { chains, jumps }
}

/** The jumps of these chains that are not there. */
export function missingJumps(
  saved: SavedRules,
  chains: readonly IptablesChain[],
): readonly IptablesJump[] {
  return jumpsOf(chains).filter((jump) => !hasJump(saved, jump))
}

/** The jumps of these chains that are there. */
export function existingJumps(
  saved: SavedRules,
  chains: readonly IptablesChain[],
): readonly IptablesJump[] {
  return jumpsOf(chains).filter((jump) => hasJump(saved, jump))
}

function jumpsOf(chains: readonly IptablesChain[]): readonly IptablesJump[] {
  return chains.flatMap((chain) => chain.hooks.map((hook) => ({ chain, hook })))
}

function hasJump({ jumps }: SavedRules, { chain, hook }: IptablesJump): boolean {
  const rule = `-A ${hook} ${comment(chain.comment)} -j ${chain.name}`
  return jumps.has(`${chain.table}/${withoutQuotes(rule)}`)
}

/** Whether all are there. The number of rules stands for the rules: nobody edits them one for one. */
export function hasChains(saved: SavedRules, chains: readonly IptablesChain[]): boolean {
  return chains.every(
    ({ table, name, rules }) => saved.chains.get(`${table}/${name}`) === rules.length,
  )
}

/** A comment of one word is printed without them, and an apostrophe in one with a backslash. */
function withoutQuotes(text: string): string {
  return text.replace(/["\\]/g, '')
}
