/**
 * A large change as several transactions of one iptables-restore, for the nft variant.
 *
 * That one keeps the names of all chains that a transaction mentions in a sorted list, and walks it
 * from its head for every line (iptables 1.8.9, nft-cache.c, cache_chain_list_insert): 22,000 chains in
 * one transaction took 75 s, 110,000 never came to their end. So
 *
 *   1. chains of endpoints, which jump to nobody but KUBE-MARK-MASQ, ten thousand in a transaction, each
 *      with its rules, in descending order: every name goes to the head of the list
 *   2. chains of Service ports, a few hundred in a transaction, after those that they jump to
 *   3. what leads to them, the filter table, and what goes
 *
 * The kernel looks through the whole graph at the end of each transaction (0.1 s for 110,000 chains),
 * so there are not many. At any moment each chain is the old or the new one, and leads to chains that
 * are there: a connection meets its Service as it was or as it is to be, as it would on either side of
 * a single transaction.
 *
 * The legacy variant writes the whole table in each transaction: for that one a change is a single one.
 */
import type { RuleChain } from './port-rules.js'
import { interleavedText, restoreText, type RestorePlan, type TablePlan } from './restore-text.js'

/** Fewer chains of Service ports and endpoints than this go in one transaction. */
const MIN_CHAINS = 2_000
/** Rules of chains of Service ports in a transaction; each may mention one more chain. */
const PORT_RULES = 2_000
/** Rules of chains of endpoints in one: chains are found by a hash of 512 buckets. */
const ENDPOINT_RULES = 20_000
/** Order: a chain comes after those that it jumps to. */
const KINDS = [
  /^KUBE-MARK-MASQ$/,
  /^KUBE-SEP-/,
  /^KUBE-SV[CL]-/,
  /^KUBE-EXT-/,
  /^KUBE-FW-/,
] as const

/** One text; '' for an empty plan. */
export function steppedText(plan: RestorePlan): string {
  const kinds = new Map<RegExp, RuleChain[]>(KINDS.map((kind) => [kind, []]))
  const rest: RuleChain[] = []
  for (const chain of plan.nat.chains) {
    const kind = KINDS.find((pattern) => pattern.test(chain.name))
    if (kind === undefined) rest.push(chain)
    else kinds.get(kind)?.push(chain)
  }
  if (plan.nat.chains.length - rest.length < MIN_CHAINS) return restoreText(plan)
  const steps: string[] = []
  for (const [kind, chains] of kinds) {
    const size = kind === KINDS[1] ? ENDPOINT_RULES : PORT_RULES
    for (const part of partsOf(chains, size)) steps.push(interleavedText('nat', descending(part)))
  }
  const nat: TablePlan = { ...plan.nat, chains: rest }
  return steps.join('') + restoreText({ filter: plan.filter, nat })
}

/** Cut where a part has as many rules. */
function partsOf(chains: readonly RuleChain[], size: number): RuleChain[][] {
  const parts: RuleChain[][] = []
  let rules = Infinity
  for (const chain of chains) {
    if (rules >= size || parts.length === 0) {
      parts.push([])
      rules = 0
    }
    parts.at(-1)?.push(chain)
    rules += chain.rules.length
  }
  return parts
}

function descending(chains: readonly RuleChain[]): readonly RuleChain[] {
  return [...chains].sort((a, b) => (a.name < b.name ? 1 : -1))
}
