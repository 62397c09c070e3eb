/** What the removals of `kube-sluice cleanup` have in common: their record, and where to look. */
import { readFile } from 'node:fs/promises'

import { isMissingTool } from '../kernel/command.js'
import type { IptablesVariant } from '../kernel/iptables.js'
import { messageOf } from '../lib/errors.js'
import type { IpFamily } from '../lib/ip-address.js'

export interface CleanupResult {
  /** One line each. */
  readonly removed: readonly string[]
  /** What could not be looked at or removed, one line each. */
  readonly problems: readonly string[]
}

/** Runs removals one after the other; what fails does not keep the rest from going. */
export class CleanupSteps {
  readonly #removed: string[] = []
  readonly #problems = new Set<string>()

  /** @returns whether it went well; a tool that is not installed has left nothing, which is well */
  async attempt(work: () => Promise<readonly string[]>): Promise<boolean> {
    try {
      this.#removed.push(...(await work()))
      return true
    } catch (error) {
      if (isMissingTool(error)) return true
      this.#problems.add(messageOf(error))
      return false
    }
  }

  result(): CleanupResult {
    return { removed: this.#removed, problems: [...this.#problems] }
  }
}

/**
 * Variants of iptables that may hold rules: `iptables` may be the legacy one, and an earlier process
 * may have used the other.
 * @param hasLegacyTables whether the legacy variant is in use for a family; asking its tools would
 *   make the kernel create its tables
 */
export async function variantsToClean(
  family: IpFamily,
  hasLegacyTables: (family: IpFamily) => Promise<boolean>,
): Promise<readonly IptablesVariant[]> {
  return (await hasLegacyTables(family)) ? ['', '-legacy', '-nft'] : ['', '-nft']
}

/** The kernel lists the legacy tables that exist in /proc/net/ip_tables_names, ip6_ for IPv6. */
export async function readLegacyTables(family: IpFamily): Promise<boolean> {
  const file = `/proc/net/${family === 'IPv4' ? 'ip' : 'ip6'}_tables_names`
  try {
    return (await readFile(file, 'utf8')).trim() !== ''
  } catch {
    // No such module: no such tables.
    return false
  }
}
