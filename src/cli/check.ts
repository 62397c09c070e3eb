/** `kube-sluice check`: which proxy modes this node's kernel can do, and what is missing. */
import type { ProxyMode } from '../config/run-config.js'
import { CAPTURE_PREFERENCE, missingFor } from '../datapath/userspace/capture-selection.js'
import { commandRunner } from '../kernel/command.js'
import {
  type Capability,
  type CapabilityName,
  capabilityOf,
  type KernelCapabilities,
  probeCapabilities,
} from '../kernel/probe-capability.js'

export interface CheckOptions {
  readonly json?: boolean
  readonly write: (text: string) => void
}

type Mode = Exclude<ProxyMode, 'auto'>

/** One rung of the ladder: a mode, or a capture of the userspace mode. */
export interface Rung {
  readonly name: string
  /** `kernel can`: all the mode needs is there, but this version does not have the mode. */
  readonly state: 'usable' | 'kernel can' | 'missing'
  readonly missing: readonly Capability[]
  /** Missing for IPv6 Services only. */
  readonly missingForIpv6: readonly Capability[]
}

export interface CheckReport {
  readonly modes: readonly Rung[]
  readonly captures: readonly Rung[]
  readonly capabilities: readonly Capability[]
  readonly iptables: string
}

/** What the modes that write rules need of the kernel, alternatives in one list. */
const NEEDS: Readonly<Record<Exclude<Mode, 'userspace'>, readonly (readonly CapabilityName[])[]>> =
  {
    nfqueue: [
      ['nftables queue', 'iptables NFQUEUE'],
      ['nftables nat maps', 'iptables nat'],
      ['ipset match'],
      ['conntrack tool'],
    ],
    ipvs: [['IPVS'], ['dummy devices'], ['ipset match'], ['iptables nat']],
    nftables: [['nftables nat maps']],
    iptables: [['iptables nat']],
  }

/**
 * Probes the node and prints the ladder, as text or as one JSON document.
 * @returns exit status: 0 when the userspace mode is usable, else 1
 */
export async function check(options: CheckOptions, probe = probeNode): Promise<number> {
  const report = buildReport(await probe())
  options.write(options.json === true ? `${JSON.stringify(report, null, 2)}\n` : render(report))
  return report.modes.some(({ name, state }) => name === 'userspace' && state === 'usable') ? 0 : 1
}

function probeNode(): Promise<KernelCapabilities> {
  return probeCapabilities(commandRunner())
}

function buildReport(kernel: KernelCapabilities): CheckReport {
  const captures = CAPTURE_PREFERENCE.map((name): Rung => {
    const missing = missingFor(name, kernel, 'IPv4')
    const missingForIpv6 = missingFor(name, kernel, 'IPv6')
    return { name, state: missing.length === 0 ? 'usable' : 'missing', missing, missingForIpv6 }
  })
  const usable = captures.find(({ state }) => state === 'usable')
  const userspace: Rung = {
    name: 'userspace',
    state: usable === undefined ? 'missing' : 'usable',
    // Each capture says below what it lacks.
    missing: [],
    missingForIpv6: [],
  }
  const others = Object.entries(NEEDS).map(([name, needs]): Rung => {
    const missing = needs.flatMap((alternatives) => missingOf(kernel, alternatives))
    const state = missing.length === 0 ? 'kernel can' : 'missing'
    return { name, state, missing, missingForIpv6: [] }
  })
  return {
    modes: [userspace, ...others],
    captures,
    capabilities: kernel.capabilities,
    iptables: `iptables${kernel.iptablesVariant}`,
  }
}

/** Nothing when one of the alternatives is usable, else all of them. */
function missingOf(
  kernel: KernelCapabilities,
  alternatives: readonly CapabilityName[],
): readonly Capability[] {
  const found = alternatives.map((name) => capabilityOf(kernel, name))
  return found.some(({ usable }) => usable) ? [] : found
}

function render({ modes, captures, capabilities, iptables }: CheckReport): string {
  const lines = modes.flatMap((mode) => [
    ...renderRung(mode, ''),
    ...(mode.name === 'userspace' ? captures.flatMap((rung) => renderRung(rung, '  ')) : []),
  ])
  const list = capabilities.map(({ name, usable, reason }) =>
    usable ? `  yes  ${name}` : `  no   ${name}: ${reason ?? 'no reason given'}`,
  )
  return [...lines, '', `What the kernel can do (tried; ${iptables}):`, ...list, ''].join('\n')
}

function renderRung({ name, state, missing, missingForIpv6 }: Rung, indent: string): string[] {
  const words = {
    usable: 'usable',
    'kernel can': 'kernel can; not in this version',
    missing: 'not usable',
  }[state]
  const detail = (capability: Capability, note: string): string =>
    `${indent}             ${note}${capability.name}: ${capability.reason ?? 'no reason given'}` +
    (capability.fix === undefined ? '' : `; try: ${capability.fix}`)
  return [
    `${indent}${name.padEnd(11 - indent.length)}  ${words}`,
    ...missing.map((capability) => detail(capability, 'missing ')),
    ...missingForIpv6.map((capability) => detail(capability, 'missing for IPv6 ')),
  ]
}
