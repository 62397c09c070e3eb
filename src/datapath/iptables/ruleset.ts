/**
 * The iptables rules of a Snapshot for one family, and what it takes to get from one such set of rules
 * to the next. Pure; a ruleset made from a previous one shares the rules of unchanged Service ports,
 * which are found by identity.
 */
import { SortedMap } from '../../lib/sorted-map.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
import { baseChains, nodePortJumps } from './base-rules.js'
import {
  portRules,
  SHARED_CHAINS,
  type PortRules,
  type RuleChain,
  type SharedChain,
} from './port-rules.js'
import type { TablePlan, RestorePlan } from './restore-text.js'
import type { RuleOptions } from './rule-options.js'

/** More endpoints than this, over all Service ports, make a large cluster (kube-proxy's threshold). */
export const LARGE_CLUSTER_ENDPOINTS = 1000

export interface Ruleset {
  readonly options: RuleOptions
  readonly snapshot: Snapshot
  /** By ServicePort.id; those of the family only. */
  readonly parts: SortedMap<PortRules>
  /** Rules of all parts, kept up with each change: there may be a million. */
  readonly partRules: RuleCounts
}

/** Rules by table. */
export interface RuleCounts {
  readonly filter: number
  readonly nat: number
}

/** Options as the caller knows them: whether the cluster is large is seen from the Snapshot. */
export type RulesetOptions = Omit<RuleOptions, 'isLarge'>

/**
 * @param previous of the same family: what did not change is taken from it. Its options are compared
 *   by value, so they may be made anew for each call.
 */
export function rulesetOf(snapshot: Snapshot, wanted: RulesetOptions, previous?: Ruleset): Ruleset {
  const options = { ...wanted, isLarge: isLargeCluster(snapshot) }
  const base =
    previous !== undefined && JSON.stringify(previous.options) === JSON.stringify(options)
      ? previous
      : undefined
  const before = base?.snapshot.servicePorts ?? SortedMap.empty<ServicePortState>()
  const changes = new Map<string, PortRules | undefined>()
  const partRules = { filter: 0, nat: 0, ...base?.partRules }
  for (const { key, after } of before.differences(snapshot.servicePorts)) {
    if (after !== undefined && after.servicePort.ipFamily !== options.family) continue
    const rules = after === undefined ? undefined : portRules(after, options)
    changes.set(key, rules)
    for (const table of ['filter', 'nat'] as const) {
      partRules[table] += countRules(rules, table) - countRules(base?.parts.get(key), table)
    }
  }
  const parts = (base?.parts ?? SortedMap.empty<PortRules>()).with(changes)
  return { options: base?.options ?? options, snapshot, parts, partRules }
}

/** All rules in chains of ours. */
export function ruleTotals({ options, partRules }: Ruleset): RuleCounts {
  const base = baseChains(options)
  const ofBase = (name: 'filter' | 'nat'): number =>
    base.reduce((sum, { table, rules }) => sum + (table === name ? rules.length : 0), 0)
  return {
    filter: partRules.filter + ofBase('filter'),
    nat: partRules.nat + ofBase('nat') + nodePortJumps(options).length,
  }
}

function countRules(rules: PortRules | undefined, table: 'filter' | 'nat'): number {
  if (rules === undefined) return 0
  let count = 0
  for (const [id, shared] of Object.entries(rules.shared)) {
    if (id.startsWith(table)) count += shared.length
  }
  if (table === 'nat') for (const chain of rules.chains) count += chain.rules.length
  return count
}

/** Everything, as if nothing were there. */
export function fullPlan(ruleset: Ruleset): RestorePlan {
  const { options, parts } = ruleset
  const shared = SHARED_CHAINS.map((chain) => sharedChain(chain, ruleset))
  const own: RuleChain[] = []
  for (const { chains } of parts.values()) own.push(...chains)
  const base = baseChains(options)
  return planOf([...base, ...shared], own, [])
}

/**
 * The chains that differ; empty when nothing does. Chains of what went are removed with it. (kube-proxy
 * always writes the filter table and the chains that Service ports share; in a large cluster those are
 * most of the text, and a change of endpoints leaves them as they are.)
 */
export function partialPlan(before: Ruleset, after: Ruleset): RestorePlan {
  const own: RuleChain[] = []
  const stale: string[] = []
  const touched = new Set<SharedChain>()
  for (const { before: old, after: now } of before.parts.differences(after.parts)) {
    const known = new Map(old?.chains.map((chain) => [chain.name, chain.rules]))
    for (const chain of now?.chains ?? []) {
      const rules = known.get(chain.name)
      known.delete(chain.name)
      if (rules === undefined || !sameRules(rules, chain.rules)) own.push(chain)
    }
    stale.push(...known.keys())
    for (const name of SHARED_CHAINS) {
      if (!sameRules(old?.shared[name] ?? [], now?.shared[name] ?? [])) touched.add(name)
    }
  }
  const shared = SHARED_CHAINS.filter((name) => touched.has(name))
  return planOf(
    shared.map((name) => sharedChain(name, after)),
    own,
    stale,
  )
}

function isLargeCluster({ servicePorts }: Snapshot): boolean {
  let endpoints = 0
  for (const state of servicePorts.values()) {
    endpoints += state.endpoints.length
    if (endpoints > LARGE_CLUSTER_ENDPOINTS) return true
  }
  return false
}

interface TableChain extends RuleChain {
  readonly table: 'nat' | 'filter'
}

function sharedChain(id: SharedChain, { parts, options }: Ruleset): TableChain {
  const [table, name] = id.split('/') as ['nat' | 'filter', string]
  const rules: string[] = []
  for (const { shared } of parts.values()) {
    const own = shared[id]
    if (own !== undefined) rules.push(...own)
  }
  if (id === 'nat/KUBE-SERVICES') rules.push(...nodePortJumps(options))
  return { table, name, rules }
}

function planOf(
  common: readonly TableChain[],
  own: readonly RuleChain[],
  stale: readonly string[],
): RestorePlan {
  const table = (name: 'nat' | 'filter'): TablePlan => ({
    chains: [...common.filter((chain) => chain.table === name), ...(name === 'nat' ? own : [])],
    stale: name === 'nat' ? stale : [],
    jumps: [],
  })
  return { filter: table('filter'), nat: table('nat') }
}

function sameRules(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((rule, index) => rule === b[index])
}
