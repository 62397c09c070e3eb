/**
 * What earlier processes have left in the kernel that ran in another mode, or with another variant of
 * iptables: killed, or modes of rules, whose rules stay when they end. Their rules would answer for
 * Services of back then. They go when ours are in force, so that there is no moment without rules;
 * where both have something for a VIP, each of them leads to an endpoint.
 *
 * What is looked for is told by names and marks that only this program has; nothing of others, and
 * nothing of kube-proxy (`kube-sluice cleanup --kube-proxy`), is touched.
 */
import { type RunCommand, runChecked } from '../kernel/command.js'
import { removeMarkRules } from '../kernel/ip-rule.js'
import { countSetEntries, destroySets, setName } from '../kernel/ipset.js'
import { iptablesTool } from '../kernel/iptables.js'
import type { IptablesChain } from '../kernel/iptables.js'
import { localAddresses } from '../kernel/local-address.js'
import { OwnedChains } from '../kernel/owned-chains.js'
import { rememberLooks } from '../kernel/remembered-looks.js'
import type { IpFamily } from '../lib/ip-address.js'
import { together } from '../lib/together.js'
import { LOAD_CHAIN } from './auto/connection-counter.js'
import { ANY_STEERING, removeChains, removeTable } from './cleanup.js'
import { type CleanupResult, CleanupSteps, readLegacyTables } from './cleanup-steps.js'
import { hasOwnRules, removeIptablesRules } from './iptables/remove-rules.js'
import { removeIpvs, removeIpvsChains } from './ipvs/cleanup.js'
import { ENDPOINTS_MAP } from './nfqueue/endpoint-map.js'
import { removeEndpointChains } from './nfqueue/iptables-endpoint-map.js'
import { STEERED_SET, steeringChains } from './nfqueue/steering-rules.js'
import { tableName } from './nftables/skeleton.js'
import { removeLeftChains } from './shared-chains.js'
import { removeLocalRoutes } from './userspace/capture-anyip.js'
import { FAMILIES } from './userspace/capture-options.js'
import { redirectChains, redirectSetNames } from './userspace/capture-redirect-rules.js'
import { releaseHold } from './userspace/stop-hold.js'
import { divertChains } from './userspace/capture-tproxy.js'

/**
 * What this process has in the kernel: `nftables` is the table of the flat layout, `iptables` the rules
 * of that mode, each also where it is a standby; `auto` counts connections.
 */
export type OwnPart =
  'iptables' | 'ipvs' | 'nftables' | 'nfqueue' | 'tproxy' | 'redirect' | 'anyip' | 'auto'

export interface OtherModes {
  readonly run: RunCommand
  /** As iptablesTool() names the tool that this process uses. */
  readonly toolOf: (family: IpFamily) => string
  readonly own: ReadonlySet<OwnPart>
}

/** After a sync. What fails does not keep the rest from going. */
export async function removeOtherModes(given: OtherModes): Promise<CleanupResult> {
  const steps = new CleanupSteps()
  await steps.attempt(async () => {
    await releaseHold(given.run, given.toolOf)
    return []
  })
  const modes = { ...given, run: rememberLooks(given.run) }
  await together(FAMILIES, async (family) => {
    for (const tool of await otherTools(modes, family)) {
      await steps.attempt(() => removeFromOther(modes.run, tool, family))
    }
  })
  const sets = await setNames(modes.run)
  // One after the other: they have a device in common.
  for (const family of modes.own.has('ipvs') ? [] : FAMILIES) {
    await steps.attempt(() => removeOtherIpvs(modes, family))
  }
  await together(FAMILIES, (family) => removeFamily(modes, { family, sets, steps }))
  return steps.result()
}

/** The other variant, where it is in use: looking makes the legacy tables. */
async function otherTools({ run, toolOf }: OtherModes, family: IpFamily): Promise<string[]> {
  const own = toolOf(family)
  const { status, stdout } = await run(own, ['-V'])
  if (status !== 0) return []
  if (!stdout.includes('legacy')) {
    return (await readLegacyTables(family)) ? [iptablesTool(family, '-legacy')] : []
  }
  return [iptablesTool(family, '-nft')]
}

async function removeFromOther(run: RunCommand, tool: string, family: IpFamily): Promise<string[]> {
  const saved = await runChecked(run, `${tool}-save`, [])
  if (!/KUBE-SLUICE-|"kube-sluice: /.test(saved)) return []
  const removed: string[] = []
  if (saved.includes(':KUBE-SLUICE-LOCAL ')) {
    removed.push(...(await removeIpvsChains(run, tool, family)))
  }
  removed.push(...(await removeChains(run, tool)))
  return removed
}

interface FamilySteps {
  readonly family: IpFamily
  /** Names of all that there are. */
  readonly sets: ReadonlySet<string>
  readonly steps: CleanupSteps
}

async function removeFamily(
  { run, toolOf, own }: OtherModes,
  { family, sets, steps }: FamilySteps,
): Promise<void> {
  const tool = toolOf(family)
  const named = (names: readonly string[]) => names.map((name) => `${tool} chain ${name}`)
  const doomed = otherSets(own, family).filter((name) => sets.has(name))
  await steps.attempt(async () =>
    named(await new OwnedChains(run, tool).remove(otherChains(own, family))),
  )
  if (!own.has('nfqueue') || !own.has('iptables')) {
    await steps.attempt(async () => named(await removeEndpointChains(run, tool)))
  }
  if (!own.has('iptables')) await steps.attempt(async () => named(await removeRules()))
  if (doomed.length > 0) {
    await steps.attempt(async () => (await destroySets(run, doomed)).map((name) => `ipset ${name}`))
  }
  const wasSteered = !own.has('nfqueue') && sets.has(setName(STEERED_SET, family))
  if (wasSteered && own.has('nftables')) await steps.attempt(() => emptyEndpoints(run, family))
  if (!own.has('nftables')) await steps.attempt(() => removeTable(run, family))
  if (!own.has('tproxy')) await steps.attempt(() => removeMarkRules(run, family))
  if (!own.has('anyip')) {
    await steps.attempt(async () =>
      (await removeLocalRoutes({ run }, family)).map((address) => `route local ${address} dev lo`),
    )
  }

  async function removeRules(): Promise<readonly string[]> {
    if (!own.has('ipvs')) return removeIptablesRules(run, tool, 'ours')
    return (await hasOwnRules(run, tool))
      ? removeLeftChains(run, { tool, family, left: 'iptables' })
      : []
  }
}

function removeOtherIpvs(
  { run, toolOf, own }: OtherModes,
  family: IpFamily,
): Promise<readonly string[]> {
  const ownAddresses = localAddresses().map(({ address }) => address)
  const cleanup = { run, family, tools: [toolOf(family)], ownAddresses }
  if (!own.has('iptables')) return removeIpvs(cleanup)
  return removeIpvs({
    ...cleanup,
    removeChains: async (name) =>
      (await removeLeftChains(run, { tool: name, family, left: 'ipvs' })).map(
        (chain) => `${name} chain ${chain}`,
      ),
  })
}

function otherChains(own: ReadonlySet<OwnPart>, family: IpFamily): readonly IptablesChain[] {
  return [
    ...(own.has('auto') ? [] : [LOAD_CHAIN]),
    ...(own.has('tproxy') ? [] : divertChains(1)),
    ...(own.has('redirect') ? [] : redirectChains([], family)),
    ...(own.has('nfqueue') ? [] : steeringChains(ANY_STEERING, family)),
  ]
}

function otherSets(own: ReadonlySet<OwnPart>, family: IpFamily): readonly string[] {
  return [
    ...(own.has('redirect') ? [] : redirectSetNames(family)),
    ...(own.has('nfqueue') ? [] : [setName(STEERED_SET, family)]),
  ]
}

/** The table is ours now, its map of steered endpoints the nfqueue mode's. */
async function emptyEndpoints(run: RunCommand, family: IpFamily): Promise<readonly string[]> {
  const words = [...tableName(family).split(' '), ENDPOINTS_MAP]
  await runChecked(run, 'nft', ['flush', 'map', ...words])
  return [`elements of nftables map ${words.join(' ')}`]
}

async function setNames(run: RunCommand): Promise<ReadonlySet<string>> {
  try {
    return new Set((await countSetEntries(run)).keys())
  } catch {
    // No ipset, or a kernel without it: no sets.
    return new Set()
  }
}
