/**
 * One family of the ipvs mode: brings the kernel to a desired state, and knows what is in it.
 *
 *   1. addresses that go          nothing reaches their virtual servers any more
 *   2. virtual servers that go
 *   3. sets, 4. rules             who may reach the new ones, what is masqueraded
 *   5. new and changed servers
 *   6. new addresses              from here on they are reached
 *
 * Where the iptables mode was before, the rules come last: until then its own serve, and with them
 * go to endpoints before virtual servers are asked.
 *
 * Each step is one run of its tool, or none. At first, after a failure and every now and then the
 * kernel is asked what it has: what a predecessor left is taken over, what somebody took away comes
 * back. Virtual servers of others are left alone, also where a Service wants the same VIP.
 */
import type { Clock } from '../../lib/clock.js'
import { type IpFamily, type IpRange, rangeContains } from '../../lib/ip-address.js'
import type { RunCommand } from '../../kernel/command.js'
import { readSetEntries, setName } from '../../kernel/ipset.js'
import {
  changeVirtualServers,
  readConnections,
  readVirtualServers,
  type VirtualServer,
} from '../../kernel/ipvs.js'
import { diffVirtualServers } from '../../kernel/ipvs-changes.js'
import { OwnedSets } from '../../kernel/owned-sets.js'
import type { RuleMetrics } from '../../observe/rule-metrics.js'
import { hasOwnRules } from '../iptables/remove-rules.js'
import type { DesiredState } from './desired-state.js'
import { Drains } from './drains.js'
import { isOurs, NODE_PORT_SETS, nodePortOf, splitByOwner } from './ownership.js'
import { type FamilyRules, ipvsChains } from './rules.js'
import { ipSetsOf, type IpvsSetName } from './sets.js'
import { RuleTable } from './rule-table.js'
import type { VipAddresses } from './vip-addresses.js'

export interface IpvsFamilyOptions {
  readonly run: RunCommand
  readonly clock: Pick<Clock, 'nowMs'>
  readonly family: IpFamily
  /** As iptablesTool() names it. */
  readonly iptables: string
  readonly addresses: VipAddresses
  readonly gracefulPeriodMs: number
  readonly excludeCidrs: readonly IpRange[]
  readonly metrics: RuleMetrics
}

/** What the kernel has of ours. */
interface Applied {
  readonly servers: ReadonlyMap<string, VirtualServer>
  readonly bound: ReadonlySet<string>
}

export class IpvsFamily {
  readonly #options: IpvsFamilyOptions
  readonly #sets: OwnedSets
  readonly #rules: RuleTable
  readonly #drains: Drains
  #applied: Applied | undefined
  /** Virtual servers that are somebody else's, by key. */
  #foreign: ReadonlyMap<string, VirtualServer> = new Map()

  constructor(options: IpvsFamilyOptions) {
    this.#options = options
    this.#sets = new OwnedSets(options.run)
    this.#rules = new RuleTable(options.run, options.iptables, () => {
      options.metrics.iptablesRestoreFailed(options.family, 'full')
    })
    this.#drains = new Drains(options.gracefulPeriodMs)
  }

  /** Real servers that drain. */
  get draining(): number {
    return this.#drains.size
  }

  /**
   * Brings the kernel to the state; returns a line for each thing that could not be done. Throws
   * SluiceError ERR_TOOL; the next call looks at everything again.
   * @param ownAddresses of the node's interfaces
   */
  async bring(
    state: DesiredState,
    rules: FamilyRules,
    ownAddresses: ReadonlySet<string>,
    verify: boolean,
  ): Promise<readonly string[]> {
    const before = this.#applied
    const present = before === undefined || verify ? await this.#read(before, ownAddresses) : before
    this.#applied = undefined
    const nowMs = () => this.#options.clock.nowMs()
    const wanted = new Map([...state.servers].filter(([key]) => !this.#foreign.has(key)))
    const target = this.#drains.merge(wanted, present.servers, nowMs())
    const warnings = this.#foreignWarnings(state)
    const areRulesLast = before === undefined && (await this.#hasIptablesMode())
    const step = { state, rules, verify: verify || before === undefined, areRulesLast }
    let applied = await this.#apply(present, target, step, warnings)
    if (this.#drains.size > 0) {
      // Also right away: most of what goes has no connections.
      const left = this.#drains.sweep(target, wanted, await this.#connections(applied), nowMs())
      applied = await this.#apply(
        applied,
        left,
        { ...step, verify: false, areRulesLast: false },
        warnings,
      )
    }
    this.#applied = applied
    return warnings
  }

  async #apply(
    present: Applied,
    target: ReadonlyMap<string, VirtualServer>,
    step: {
      readonly state: DesiredState
      readonly rules: FamilyRules
      readonly verify: boolean
      readonly areRulesLast: boolean
    },
    warnings: string[],
  ): Promise<Applied> {
    const { run, addresses } = this.#options
    const { state, rules, verify, areRulesLast } = step
    const bound = boundAddresses(state, target, present, this.#foreignAddresses())
    const unbound = [...present.bound].filter(
      (address) => !bound.has(address) && !this.#isExcluded(address),
    )
    const { removals, changes } = diffVirtualServers(present.servers, target)
    if (unbound.length > 0) await addresses.change(unbound, [])
    const refused = [...(await changeVirtualServers(run, removals))]
    await this.#sets.sync(ipSetsOf(this.#options.family, state.entries, bound), verify)
    const chains = ipvsChains({ ...rules, ...state, family: this.#options.family })
    const loadRules = async () => warnings.push(...(await this.#rules.sync(chains, verify)))
    if (!areRulesLast) await loadRules()
    refused.push(...(await changeVirtualServers(run, changes)))
    const missing = [...bound].filter((address) => !present.bound.has(address))
    if (missing.length > 0) await addresses.change([], missing)
    if (areRulesLast) await loadRules()
    if (refused.length === 0) return { servers: target, bound }
    warnings.push(...new Set(refused.map((line) => `ipvsadm: ${line}`)))
    const servers = await this.#readTable()
    return { servers: splitByOwner(servers, (_, key) => target.has(key)).ours, bound }
  }

  #hasIptablesMode(): Promise<boolean> {
    return hasOwnRules(this.#options.run, this.#options.iptables)
  }

  #foreignAddresses(): ReadonlySet<string> {
    return new Set([...this.#foreign.values()].map(({ address }) => address))
  }

  #isExcluded(address: string): boolean {
    return this.#options.excludeCidrs.some((range) => rangeContains(range, address))
  }

  /** What of ours is in the kernel, and who else is there. */
  async #read(before: Applied | undefined, ownAddresses: ReadonlySet<string>): Promise<Applied> {
    const { addresses, excludeCidrs } = this.#options
    const servers = await this.#readTable()
    const bound = await addresses.list()
    if (before !== undefined) {
      const { ours, foreign } = splitByOwner(servers, (_, key) => before.servers.has(key))
      this.#foreign = foreign
      return { servers: ours, bound }
    }
    const { ips, nodePorts } = await this.#readRecords()
    const record = { bound: new Set([...bound, ...ips]), nodePorts, ownAddresses, excludeCidrs }
    const { ours, foreign } = splitByOwner(servers, (server) => isOurs(server, record))
    this.#foreign = foreign
    return { servers: ours, bound }
  }

  async #readTable(): Promise<ReadonlyMap<string, VirtualServer>> {
    const servers = await readVirtualServers(this.#options.run)
    const isIpv6 = this.#options.family === 'IPv6'
    return new Map([...servers].filter(([, { address }]) => address.includes(':') === isIpv6))
  }

  /** What the sets of an earlier process tell. */
  async #readRecords(): Promise<{ ips: readonly string[]; nodePorts: ReadonlySet<string> }> {
    const { run, family } = this.#options
    const names = [...NODE_PORT_SETS, 'KUBE-IPVS-IPS'] as const
    const entries = await readSetEntries(
      run,
      names.map((name) => setName(name, family)),
    )
    const of = (name: IpvsSetName) => entries.get(setName(name, family)) ?? []
    const nodePorts = NODE_PORT_SETS.flatMap((set) => of(set).map((one) => nodePortOf(set, one)))
    return { ips: of('KUBE-IPVS-IPS'), nodePorts: new Set(nodePorts) }
  }

  async #connections(applied: Applied) {
    const draining = [...this.#drains.servers]
      .map((key) => applied.servers.get(key))
      .filter((server) => server !== undefined)
    return readConnections(this.#options.run, draining)
  }

  #foreignWarnings(state: DesiredState): string[] {
    const taken = [...this.#foreign.keys()].filter((key) => state.servers.has(key))
    return [
      ...state.warnings,
      ...taken.map((key) => `virtual server ${key} is somebody else's; it is left alone`),
    ]
  }
}

/**
 * The wanted ones, and those of virtual servers that are still there because they drain. Not those
 * that somebody else has virtual servers at: bound they would count as ours at the next start, and
 * what is at their other ports would be refused.
 */
function boundAddresses(
  state: DesiredState,
  target: ReadonlyMap<string, VirtualServer>,
  present: Applied,
  foreign: ReadonlySet<string>,
): ReadonlySet<string> {
  const isFree = (address: string) => !foreign.has(address) || present.bound.has(address)
  const bound = new Set([...state.bound].filter(isFree))
  for (const [key, { address }] of target) {
    if (!state.servers.has(key) && present.bound.has(address)) bound.add(address)
  }
  return bound
}
