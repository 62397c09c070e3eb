/** Removes from the kernel what one mode of rules has left, and nothing of the others. */
import { iptablesTool } from '../kernel/iptables.js'
import type { RunCommand } from '../kernel/command.js'
import { localAddresses } from '../kernel/local-address.js'
import type { KernelCapabilities } from '../kernel/probe-capability.js'
import { removeTable } from './cleanup.js'
import { removeIptablesRules } from './iptables/remove-rules.js'
import { removeIpvs } from './ipvs/cleanup.js'
import { FAMILIES } from './userspace/capture-options.js'

/** Returns a line for each thing that was removed. Throws SluiceError ERR_TOOL. */
export async function removeModeRules(
  run: RunCommand,
  { iptablesVariant }: Pick<KernelCapabilities, 'iptablesVariant'>,
  mode: 'ipvs' | 'nftables' | 'iptables',
): Promise<readonly string[]> {
  const removed: string[] = []
  for (const family of FAMILIES) {
    const tool = iptablesTool(family, iptablesVariant)
    if (mode === 'nftables') removed.push(...(await removeTable(run, family)))
    if (mode === 'iptables') {
      const names = await removeIptablesRules(run, tool, 'ours')
      removed.push(...names.map((name) => `${tool} chain ${name}`))
    }
    if (mode === 'ipvs') {
      const ownAddresses = localAddresses().map(({ address }) => address)
      removed.push(...(await removeIpvs({ run, family, tools: [tool], ownAddresses })))
    }
  }
  return removed
}
