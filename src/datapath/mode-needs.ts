/** What the modes that write rules need of the kernel and its tools. */
import {
  type Capability,
  type CapabilityName,
  capabilityOf,
  type KernelCapabilities,
} from '../kernel/probe-capability.js'
import type { IpFamily } from '../lib/ip-address.js'

export type RuleMode = 'nfqueue' | 'ipvs' | 'nftables' | 'iptables'

/** Alternatives in one list: one of them is enough. */
export const MODE_NEEDS: Readonly<Record<RuleMode, readonly (readonly CapabilityName[])[]>> = {
  nfqueue: [
    ['iptables NFQUEUE'],
    ['iptables nat'],
    ['ipset match'],
    // What turns verdicts into translations, and the standby beneath.
    ['nftables nat maps', 'iptables nat'],
  ],
  // VIPs are bound to a dummy device, else they are local routes.
  ipvs: [['IPVS'], ['dummy devices', 'local routes IPv4'], ['ipset match'], ['iptables nat']],
  nftables: [['nftables nat maps']],
  iptables: [['iptables nat']],
}

/** What more IPv6 Services need. */
export const IPV6_NEEDS: Readonly<Record<RuleMode, readonly (readonly CapabilityName[])[]>> = {
  nfqueue: [['ip6tables nat']],
  ipvs: [['ip6tables nat']],
  nftables: [],
  iptables: [['ip6tables nat']],
}

/** All that a mode asks about. */
export function needsOf(mode: RuleMode): ReadonlySet<CapabilityName> {
  return new Set([...MODE_NEEDS[mode], ...IPV6_NEEDS[mode]].flat())
}

/** IP families that a mode can serve here. */
export function familiesOf(kernel: KernelCapabilities, mode: RuleMode): IpFamily[] {
  return missingOf(kernel, IPV6_NEEDS[mode]).length === 0 ? ['IPv4', 'IPv6'] : ['IPv4']
}

/** How the nfqueue mode translates where it works: as is wanted, else by nftables if the kernel can. */
export function steeringDnat(
  wanted: 'auto' | 'nftables' | 'iptables',
  kernel: KernelCapabilities,
): 'nftables' | 'iptables' {
  if (wanted !== 'auto') return wanted
  return missingOf(kernel, MODE_NEEDS.nftables).length === 0 ? 'nftables' : 'iptables'
}

/** Of each need that nothing meets, all alternatives. */
export function missingOf(
  kernel: KernelCapabilities,
  needs: readonly (readonly CapabilityName[])[],
): readonly Capability[] {
  return needs.flatMap((alternatives) => {
    const found = alternatives.map((name) => capabilityOf(kernel, name))
    return found.some(({ usable }) => usable) ? [] : found
  })
}
