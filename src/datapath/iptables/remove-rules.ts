/**
 * Removes the rules of the iptables mode: those that this program wrote, or, asked for by name, those
 * that kube-proxy has left, which have the same names (reference 2.6). The chain that the kubelet uses
 * too stays, with what is in it.
 */
import { type RunCommand, runChecked } from '../../kernel/command.js'
import { listRules, renderChainRemoval, restoreRules } from '../../kernel/iptables.js'
import { CANARY_CHAIN, CANARY_RULE, CANARY_TABLES, LOOPBACK_COUNTER } from './base-rules.js'
import { PORT_CHAIN_PATTERN } from './names.js'

/** Chains of the mode that do not belong to a Service port, by table. */
export const IPTABLES_CHAINS: Readonly<Record<string, readonly string[]>> = {
  mangle: [CANARY_CHAIN],
  nat: ['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-MARK-MASQ', CANARY_CHAIN],
  filter: [
    'KUBE-SERVICES',
    'KUBE-EXTERNAL-SERVICES',
    'KUBE-FORWARD',
    'KUBE-NODEPORTS',
    'KUBE-PROXY-FIREWALL',
    LOOPBACK_COUNTER,
    CANARY_CHAIN,
  ],
}
/** Of kube-proxy's ipvs mode (pkg/proxy/ipvs/proxier.go, iptablesChains); ours has its own removal. */
const IPVS_CHAINS: Readonly<Record<string, readonly string[]>> = {
  nat: ['KUBE-LOAD-BALANCER', 'KUBE-NODE-PORT'],
  filter: [
    'KUBE-NODE-PORT',
    'KUBE-SOURCE-RANGES-FIREWALL',
    'KUBE-IPVS-FILTER',
    'KUBE-IPVS-OUT-FILTER',
  ],
}
const OUR_COMMENT = /"([^"]+)"/.exec(CANARY_RULE)?.[1] ?? ''

/**
 * @param whose `ours`: a table is left alone unless its canary chain says that this program wrote the
 *   rules; `kube-proxy's`: one where it says so is left alone, and the chains of its ipvs mode go too
 * @returns `TABLE/CHAIN` of what has gone
 * @throws SluiceError ERR_TOOL
 */
export async function removeIptablesRules(
  run: RunCommand,
  tool: string,
  whose: 'ours' | "kube-proxy's",
): Promise<string[]> {
  const removed: string[] = []
  let text = ''
  const tables = tablesOf(await runChecked(run, `${tool}-save`, []))
  for (const table of CANARY_TABLES) {
    const saved = tables.get(table) ?? ''
    const { chains, jumps } = ownIn(saved, [
      ...(IPTABLES_CHAINS[table] ?? []),
      ...(whose === 'ours' ? [] : (IPVS_CHAINS[table] ?? [])),
    ])
    const isOurs = saved.includes(OUR_COMMENT)
    if (chains.length === 0 || isOurs !== (whose === 'ours')) continue
    removed.push(...chains.map((chain) => `${table}/${chain}`))
    text += renderChainRemoval(table, chains, jumps)
  }
  if (text !== '') await restoreRules(run, tool, text)
  return removed
}

/** Whether this program, in its iptables mode, wrote rules that are there. Throws SluiceError ERR_TOOL. */
export async function hasOwnRules(run: RunCommand, tool: string): Promise<boolean> {
  const canary = await listRules(run, tool, { table: 'mangle', name: CANARY_CHAIN })
  return canary?.some((rule) => rule.includes(OUR_COMMENT)) === true
}

/** What was saved, by table. */
function tablesOf(saved: string): ReadonlyMap<string, string> {
  const sections = saved.split(/^\*/m).slice(1)
  return new Map(sections.map((section) => [section.slice(0, section.indexOf('\n')), section]))
}

/** Chains of the mode in a table as it was saved, and the rules of other chains that lead there. */
function ownIn(
  saved: string,
  fixed: readonly string[],
): { readonly chains: readonly string[]; readonly jumps: readonly string[] } {
  const lines = saved.split('\n')
  const chains = lines
    .filter((line) => line.startsWith(':'))
    .map((line) => line.slice(1, line.indexOf(' ')))
    .filter((name) => fixed.includes(name) || PORT_CHAIN_PATTERN.test(name))
  const own = new Set(chains)
  const jumps = lines.filter((line) => {
    const [, chain = ''] = /^-A (\S+)/.exec(line) ?? []
    const [, target = ''] = / -j (\S+)/.exec(line) ?? []
    return own.has(target) && !own.has(chain)
  })
  return { chains, jumps }
}
