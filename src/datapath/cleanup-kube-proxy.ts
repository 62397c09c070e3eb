/**
 * Removing what kube-proxy has left on this node, whichever mode it ran in, for `kube-sluice cleanup
 * --kube-proxy`: a node that has moved over is then free of rules that nobody updates any more.
 *
 * Nothing of ours is touched, so that it can be done while this program serves. Where our iptables or
 * ipvs mode has taken chains and sets of those names over, they are ours and stay. So do virtual
 * servers at addresses that are not on kube-ipvs0 or in its sets (kube-proxy's own clean-up empties
 * the whole table, and leaves the sets of IPv6), and the chain of the kubelet.
 * Source: reference 2.6; kube-proxy pkg/proxy/{iptables,ipvs,nftables}/cleanup.go.
 */
import { isMissingTool, type RunCommand } from '../kernel/command.js'
import { listDeviceAddresses, removeDevice } from '../kernel/device-addresses.js'
import { countSetEntries, destroySets, setName } from '../kernel/ipset.js'
import { iptablesTool } from '../kernel/iptables.js'
import { localAddresses } from '../kernel/local-address.js'
import { removeNftTable } from '../kernel/nft-table.js'
import { SluiceError } from '../lib/errors.js'
import type { IpFamily } from '../lib/ip-address.js'
import {
  type CleanupResult,
  CleanupSteps,
  readLegacyTables,
  variantsToClean,
} from './cleanup-steps.js'
import { removeIptablesRules } from './iptables/remove-rules.js'
import { removeVirtualServers } from './ipvs/cleanup.js'
import { IPVS_SET_NAMES } from './ipvs/sets.js'
import { IPVS_DEVICE } from './ipvs/vip-addresses.js'
import { FAMILIES } from './userspace/capture-options.js'

const NFTABLES_NAME = 'kube-proxy'
const OUR_PREFIX = 'KUBE-SLUICE-'

/**
 * Removes it, in both families and in every variant of iptables that holds any of it. What fails does
 * not keep the rest from going, but for what would tell the next run whose the rest is.
 */
export async function cleanupKubeProxy(
  run: RunCommand,
  hasLegacyTables: (family: IpFamily) => Promise<boolean> = readLegacyTables,
): Promise<CleanupResult> {
  const steps = new CleanupSteps()
  let isDeviceNeeded = false
  for (const family of FAMILIES) {
    await steps.attempt(() => removeNftTable(run, family, NFTABLES_NAME))
    if (await isIpvsOurs(run, family)) {
      isDeviceNeeded = true
      continue
    }
    const areServersGone = await steps.attempt(() => removeServers(run, family))
    for (const variant of await variantsToClean(family, hasLegacyTables)) {
      await steps.attempt(() => removeChains(run, iptablesTool(family, variant)))
    }
    // After the rules that use them. They and the device tell whose virtual servers are whose.
    if (areServersGone) await steps.attempt(() => removeSets(run, family))
    else isDeviceNeeded = true
  }
  // Last: it holds the addresses of both families.
  if (!isDeviceNeeded) {
    await steps.attempt(async () =>
      (await removeDevice(run, IPVS_DEVICE)) ? [`device ${IPVS_DEVICE}`] : [],
    )
  }
  return steps.result()
}

async function removeChains(run: RunCommand, tool: string): Promise<readonly string[]> {
  const names = await removeIptablesRules(run, tool, "kube-proxy's")
  return names.map((name) => `${tool} chain ${name}`)
}

async function removeSets(run: RunCommand, family: IpFamily): Promise<readonly string[]> {
  const names = IPVS_SET_NAMES.filter((name) => !name.startsWith(OUR_PREFIX))
  const gone = await destroySets(
    run,
    names.map((name) => setName(name, family)),
  )
  return gone.map((name) => `ipset ${name}`)
}

/** Whether our ipvs mode has taken the chains and sets of this family over. */
async function isIpvsOurs(run: RunCommand, family: IpFamily): Promise<boolean> {
  const sets = await setNames(run)
  return sets.includes(setName(`${OUR_PREFIX}DROP`, family))
}

async function setNames(run: RunCommand): Promise<readonly string[]> {
  try {
    return [...(await countSetEntries(run)).keys()]
  } catch {
    // No ipset, or a kernel without it: no sets. What else is wrong comes out in the removal.
    return []
  }
}

/** Only where the ipvs mode was: looking at the table would load the kernel's module. */
async function removeServers(run: RunCommand, family: IpFamily): Promise<readonly string[]> {
  const hasDevice = (await listDeviceAddresses(run, IPVS_DEVICE, family)) !== undefined
  const sets = await setNames(run)
  if (!hasDevice && !sets.includes(setName('KUBE-CLUSTER-IP', family))) return []
  const ownAddresses = localAddresses().map(({ address }) => address)
  try {
    return await removeVirtualServers({ run, family, ownAddresses })
  } catch (error) {
    if (!isMissingTool(error)) throw error
    const text = `virtual servers of kube-proxy may be left: install ipvsadm, and run this again`
    throw new SluiceError('ERR_TOOL', text, { cause: error })
  }
}
