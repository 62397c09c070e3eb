/**
 * Removing whatever any mode of any process has left on this node, without knowing which mode it was
 * or how it was configured: for `kube-sluice cleanup`. Connections that were steered go on: their
 * translation is in their conntrack entries.
 */
import type { IpFamily } from '../lib/ip-address.js'
import type { RunCommand } from '../kernel/command.js'
import { removeMarkRules } from '../kernel/ip-rule.js'
import { destroySets, setName } from '../kernel/ipset.js'
import { iptablesTool } from '../kernel/iptables.js'
import { localAddresses } from '../kernel/local-address.js'
import { removeNftTable } from '../kernel/nft-table.js'
import { OwnedChains } from '../kernel/owned-chains.js'
import { LOAD_CHAIN } from './auto/connection-counter.js'
import {
  type CleanupResult,
  CleanupSteps,
  readLegacyTables,
  variantsToClean,
} from './cleanup-steps.js'
import { removeIptablesRules } from './iptables/remove-rules.js'
import { removeIpvs } from './ipvs/cleanup.js'
import { removeLocalRoutes } from './userspace/capture-anyip.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../packet/mark-layout.js'
import { removeEndpointChains } from './nfqueue/iptables-endpoint-map.js'
import { STEERED_SET, type SteeringRuleOptions, steeringChains } from './nfqueue/steering-rules.js'
import { TABLE } from './nftables/tables.js'
import { FAMILIES } from './userspace/capture-options.js'
import { redirectChains, redirectSetNames } from './userspace/capture-redirect-rules.js'
import { holdChains, holdSetNames } from './userspace/stop-hold.js'
import { divertChains } from './userspace/capture-tproxy.js'

/**
 * Removes chains, sets, tables, policy rules and routes of ours, in both families and in every
 * variant of iptables that holds any of ours. What fails does not keep the rest from going.
 * @param hasLegacyTables whether the legacy variant is in use for a family; asking its tools would
 *   make the kernel create its tables
 */
export async function cleanupNode(
  run: RunCommand,
  hasLegacyTables: (family: IpFamily) => Promise<boolean> = readLegacyTables,
): Promise<CleanupResult> {
  const steps = new CleanupSteps()
  const attempt = steps.attempt.bind(steps)
  for (const family of FAMILIES) {
    const variants = await variantsToClean(family, hasLegacyTables)
    // First, as sets and rules of this mode depend on each other.
    await attempt(() =>
      removeIpvs({
        run,
        family,
        tools: variants.map((variant) => iptablesTool(family, variant)),
        ownAddresses: localAddresses().map(({ address }) => address),
      }),
    )
    for (const variant of variants) {
      await attempt(() => removeChains(run, iptablesTool(family, variant)))
    }
    // After the chains: a set that a rule uses cannot be destroyed.
    await attempt(async () => {
      const names = await destroySets(run, [
        ...redirectSetNames(family),
        ...holdSetNames(family),
        setName(STEERED_SET, family),
      ])
      return names.map((name) => `ipset ${name}`)
    })
    await attempt(() => removeTable(run, family))
    await attempt(() => removeMarkRules(run, family))
    await attempt(async () => {
      const addresses = await removeLocalRoutes({ run }, family)
      return addresses.map((address) => `route local ${address} dev lo`)
    })
  }
  return steps.result()
}

/** The flat layout and the standby of the nfqueue mode. Throws SluiceError ERR_TOOL. */
export function removeTable(run: RunCommand, family: IpFamily): Promise<readonly string[]> {
  return removeNftTable(run, family, TABLE)
}

/** Any options do: the names are the same for all. */
export const ANY_STEERING: SteeringRuleOptions = {
  layout: markLayoutOf(DEFAULT_MARK_MASK),
  queues: { first: 0, count: 1 },
  hasNftables: false,
  guardsLoopback: true,
}

/** Of every mode but ipvs. Throws SluiceError ERR_TOOL. */
export async function removeChains(run: RunCommand, tool: string): Promise<readonly string[]> {
  const family = tool.startsWith('ip6') ? 'IPv6' : 'IPv4'
  const chains = [
    LOAD_CHAIN,
    ...divertChains(1),
    ...redirectChains([], family),
    ...holdChains(family),
    ...steeringChains(ANY_STEERING, family),
  ]
  const names = await new OwnedChains(run, tool).remove(chains)
  // After the chain that jumps to them.
  names.push(...(await removeEndpointChains(run, tool)))
  names.push(...(await removeIptablesRules(run, tool, 'ours')))
  return names.map((name) => `${tool} chain ${name}`)
}
