/**
 * What the ipvs mode would load into a kernel that has nothing of ours, as text for the tools that it
 * runs, in their order: `ipset restore`, `iptables-restore --noflush`, `ipvsadm -R`, `ip -batch -`,
 * first IPv4, then IPv6. Each part begins with a line that names its tool. Node ports are at the
 * addresses of this machine; where the kernel has no dummy devices VIPs become local routes.
 */
import { deviceAddressLines, dummyDeviceArgs } from '../../kernel/device-addresses.js'
import { renderSets } from '../../kernel/ipset.js'
import { iptablesTool, renderChains } from '../../kernel/iptables.js'
import { diffVirtualServers } from '../../kernel/ipvs-changes.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { RenderRules } from '../running-mode.js'
import { type DesiredState, desiredState } from './desired-state.js'
import { familyRulesOf, ipvsSettings, partOptionsOf } from './ipvs-settings.js'
import { type FamilyRules, ipvsChains } from './rules.js'
import { ipSetsOf } from './sets.js'
import { IPVS_DEVICE } from './vip-addresses.js'

export const renderIpvs: RenderRules = (snapshot, config, localAddresses) => {
  const settings = ipvsSettings(config)
  const families = (['IPv4', 'IPv6'] as const).map((family) => {
    const options = partOptionsOf(family, snapshot, localAddresses, settings)
    const state = desiredState(snapshot, options)
    const rules = familyRulesOf(family, snapshot, settings)
    return { text: familyText(family, state, rules), warnings: state.warnings }
  })
  const device = `# ip -batch -\n${dummyDeviceArgs(IPVS_DEVICE).join(' ')}\n`
  return {
    text: device + families.map(({ text }) => text).join(''),
    warnings: families.flatMap(({ warnings }) => warnings),
  }
}

function familyText(family: IpFamily, state: DesiredState, rules: FamilyRules): string {
  const chains = ipvsChains({ ...rules, ...state, family })
  const jumps = chains.flatMap((chain) => chain.hooks.map((hook) => ({ chain, hook })))
  const servers = diffVirtualServers(new Map(), state.servers).changes
  const addresses = deviceAddressLines(IPVS_DEVICE, { remove: [], add: [...state.bound] })
  return [
    `# ipset restore\n${renderSets(ipSetsOf(family, state.entries, state.bound), new Map())}`,
    `# ${iptablesTool(family, '')}-restore --noflush\n${renderChains(chains, jumps)}`,
    part('ipvsadm -R', servers),
    part(`ip ${family === 'IPv4' ? '-4' : '-6'} -force -batch -`, addresses),
  ].join('')
}

function part(tool: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : [`# ${tool}`, ...lines, ''].join('\n')
}
