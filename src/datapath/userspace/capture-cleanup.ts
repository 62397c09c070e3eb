/**
 * Removing whatever the captures of any process have left on this node, without knowing which
 * capture it was or how it was configured: for `kube-sluice cleanup`.
 */
import { readFile } from 'node:fs/promises'

import { messageOf } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import { isMissingTool, type RunCommand } from '../../kernel/command.js'
import { removeMarkRules } from '../../kernel/ip-rule.js'
import { destroySets } from '../../kernel/ipset.js'
import { iptablesTool, type IptablesVariant } from '../../kernel/iptables.js'
import { OwnedChains } from '../../kernel/owned-chains.js'
import { removeLocalRoutes } from './capture-anyip.js'
import { FAMILIES } from './capture-options.js'
import { redirectChains, redirectSetNames } from './capture-redirect-rules.js'
import { divertChains } from './capture-tproxy.js'

export interface CleanupResult {
  /** One line each. */
  readonly removed: readonly string[]
  /** What could not be looked at or removed, one line each. */
  readonly problems: readonly string[]
}

/**
 * Removes the captures' chains, sets, policy rules and routes, in both families and in every
 * variant of iptables that holds any of ours. What fails does not keep the rest from going.
 * @param hasLegacyTables whether the legacy variant is in use for a family; asking its tools would
 *   make the kernel create its tables
 */
export async function cleanupCaptures(
  run: RunCommand,
  hasLegacyTables: (family: IpFamily) => Promise<boolean> = readLegacyTables,
): Promise<CleanupResult> {
  const removed: string[] = []
  const problems: string[] = []
  const attempt = async (work: () => Promise<readonly string[]>): Promise<void> => {
    try {
      removed.push(...(await work()))
    } catch (error) {
      // What is not installed has left nothing behind.
      if (!isMissingTool(error)) problems.push(messageOf(error))
    }
  }
  for (const family of FAMILIES) {
    const variants: IptablesVariant[] = (await hasLegacyTables(family)) ? ['', '-legacy'] : ['']
    // `iptables` may be the legacy one, and an earlier run may have used the other.
    for (const variant of [...variants, '-nft'] as const) {
      await attempt(() => removeChains(run, iptablesTool(family, variant)))
    }
    // After the chains: a set that a rule uses cannot be destroyed.
    await attempt(async () => {
      const names = await destroySets(run, redirectSetNames(family))
      return names.map((name) => `ipset ${name}`)
    })
    await attempt(() => removeMarkRules(run, family))
    await attempt(async () => {
      const addresses = await removeLocalRoutes({ run }, family)
      return addresses.map((address) => `route local ${address} dev lo`)
    })
  }
  return { removed, problems: [...new Set(problems)] }
}

async function removeChains(run: RunCommand, tool: string): Promise<readonly string[]> {
  const chains = [
    ...divertChains(1),
    ...redirectChains([], tool.startsWith('ip6') ? 'IPv6' : 'IPv4'),
  ]
  const names = await new OwnedChains(run, tool).remove(chains)
  return names.map((name) => `${tool} chain ${name}`)
}

/** The kernel lists the legacy tables that exist in /proc/net/ip_tables_names, ip6_ for IPv6. */
async function readLegacyTables(family: IpFamily): Promise<boolean> {
  const file = `/proc/net/${family === 'IPv4' ? 'ip' : 'ip6'}_tables_names`
  try {
    return (await readFile(file, 'utf8')).trim() !== ''
  } catch {
    // No such module: no such tables.
    return false
  }
}
