/**
 * The standby where nf_tables has no NAT: the chain graph of the iptables mode, which serves whatever
 * is not steered. What is steered is translated by steering's own chains, which stand above it.
 */
import type { RunConfig } from '../../config/run-config.js'
import type { Clock } from '../../lib/clock.js'
import type { IpFamily } from '../../lib/ip-address.js'
import { SortedMap } from '../../lib/sorted-map.js'
import type { RunCommand } from '../../kernel/command.js'
import { iptablesTool, type IptablesVariant } from '../../kernel/iptables.js'
import type { LocalAddress } from '../../kernel/local-address.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { RuleMetrics } from '../../observe/rule-metrics.js'
import type { SyncResult } from '../datapath.js'
import { FamilyRules } from '../iptables/family-rules.js'
import { rulesetOptions } from '../iptables/ruleset-options.js'
import type { Standby, StandbyPart } from './standby.js'
import { standbyParts, type StandbyParts } from './standby-parts.js'

export interface IptablesStandbyOptions {
  readonly config: RunConfig
  readonly clock: Pick<Clock, 'nowMs'>
  readonly run: RunCommand
  readonly metrics: RuleMetrics
  readonly iptablesVariant: IptablesVariant
  readonly families: readonly IpFamily[]
  /** Read anew at each sync. */
  readonly localAddresses: () => readonly LocalAddress[]
  /** net.netfilter.nf_conntrack_tcp_be_liberal */
  readonly passesInvalid: () => boolean
  readonly warn: (message: string) => void
}

interface FamilyState {
  readonly rules: FamilyRules
  parts: StandbyParts | undefined
  generation: number
}

export class IptablesStandby implements Standby {
  readonly doesNat = false
  readonly #options: IptablesStandbyOptions
  readonly #families = new Map<IpFamily, FamilyState>()

  constructor(options: IptablesStandbyOptions) {
    this.#options = options
    const { families, run, clock, iptablesVariant, warn, metrics } = options
    for (const family of families) {
      const rules = new FamilyRules({
        run,
        clock,
        warn,
        metrics,
        tool: iptablesTool(family, iptablesVariant),
        onJumpsAdded: () => {
          state.generation++
        },
      })
      const state: FamilyState = { rules, parts: undefined, generation: 0 }
      this.#families.set(family, state)
    }
  }

  async sync(snapshot: Snapshot, verify: boolean): Promise<SyncResult> {
    const { config, localAddresses, passesInvalid, warn } = this.#options
    const warnings: string[] = []
    for (const [family, state] of this.#families) {
      if (verify && state.rules.loaded !== undefined && !(await state.rules.hasCanaries())) {
        warn(`${family}: somebody has flushed iptables rules; they are written again`)
        state.rules.forget()
        // Steering's chains in the same tables have gone with them.
        state.generation++
      }
      const facts = {
        node: snapshot.node,
        localAddresses: localAddresses(),
        passesInvalid: passesInvalid(),
      }
      await state.rules.sync(snapshot, rulesetOptions(family, config, facts), verify)
      state.parts = standbyParts(snapshot, family, state.parts)
      warnings.push(...state.parts.conflicts)
    }
    return { warnings }
  }

  generation(family: IpFamily): number {
    return this.#families.get(family)?.generation ?? 0
  }

  partsOf(family: IpFamily): SortedMap<StandbyPart> {
    return this.#families.get(family)?.parts?.parts ?? SortedMap.empty()
  }
}
