/**
 * The iptables chains that the iptables mode and the ipvs mode both have: where one of them serves and
 * the other one has been before, what is left of that one goes, and nothing that the first one uses.
 *
 *   left      the fixed chains of the other mode that this one has not taken over, and chains of
 *             single Service ports that no chain of this one leads to
 *   jumps     to those, and those that only the other mode has to a chain that both have
 */
import type { IpFamily } from '../lib/ip-address.js'
import { type RunCommand, runChecked } from '../kernel/command.js'
import { renderChainRemoval, restoreRules } from '../kernel/iptables.js'
import { chainsIn, jumpOf, reachableChains } from './iptables/chain-graph.js'
import { PORT_CHAIN_PATTERN } from './iptables/names.js'
import { IPTABLES_CHAINS } from './iptables/remove-rules.js'
import { ipvsChains } from './ipvs/rules.js'

export type ChainMode = 'iptables' | 'ipvs'

type ChainNames = Readonly<Record<string, readonly string[]>>

/** Jumps to KUBE-PROXY-FIREWALL, by the comment that a mode gives them. */
const FIREWALL_COMMENT: Readonly<Record<ChainMode, string>> = {
  iptables: 'kubernetes load balancer firewall',
  ipvs: 'kube-proxy firewall rules',
}

/** Removes what `left` has left while the other one serves; `TABLE/CHAIN` of each. Throws ERR_TOOL. */
export async function removeLeftChains(
  run: RunCommand,
  {
    tool,
    family,
    left,
  }: { readonly tool: string; readonly family: IpFamily; readonly left: ChainMode },
): Promise<readonly string[]> {
  const saved = await runChecked(run, `${tool}-save`, [])
  const { text, removed } = leftChains(saved, family, left)
  if (text !== '') await restoreRules(run, tool, text)
  return removed
}

/** The text that removes them from what was saved. Pure. */
export function leftChains(
  saved: string,
  family: IpFamily,
  left: ChainMode,
): { readonly text: string; readonly removed: readonly string[] } {
  const ipvs = namesOf(ipvsChains({ ...ANY_RULES, family }))
  const [theirs, ours] = left === 'ipvs' ? [ipvs, IPTABLES_CHAINS] : [IPTABLES_CHAINS, ipvs]
  const removed: string[] = []
  let text = ''
  for (const section of saved.split(/^\*/m).slice(1)) {
    const [table = '', ...lines] = section.split('\n')
    const kept = ours[table] ?? []
    const used = reachableChains(lines, kept)
    const chains = chainsIn(lines).filter(
      (name) =>
        !used.has(name) &&
        (theirs[table]?.includes(name) === true || PORT_CHAIN_PATTERN.test(name)),
    )
    const gone = new Set(chains)
    const jumps = lines.filter((line) => {
      const { chain, target } = jumpOf(line)
      if (target === undefined || gone.has(chain)) return false
      return gone.has(target) || (kept.includes(target) && line.includes(FIREWALL_COMMENT[left]))
    })
    if (chains.length + jumps.length === 0) continue
    removed.push(...chains.map((name) => `${table}/${name}`))
    text += renderChainRemoval(table, chains, jumps)
  }
  return { text, removed }
}

/** The names are the same whatever the options. */
const ANY_RULES = {
  masqueradeMark: 1,
  masqueradeAll: false,
  podRange: undefined,
  shortCircuits: [],
} as const

function namesOf(chains: readonly { readonly table: string; readonly name: string }[]): ChainNames {
  const names: Record<string, string[]> = {}
  for (const { table, name } of chains) (names[table] ??= []).push(name)
  return names
}
