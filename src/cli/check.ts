/** `kube-sluice check`: which proxy modes this node's kernel can do, and what is missing. */
import { chooseMode } from '../datapath/choose-mode.js'
import {
  FALLBACK_MODES,
  fallbackLadder,
  type FallbackRung,
} from '../datapath/auto/fallback-ladder.js'
import { CAPTURE_PREFERENCE, missingFor } from '../datapath/userspace/capture-selection.js'
import { IPV6_NEEDS, missingOf, MODE_NEEDS, type RuleMode } from '../datapath/mode-needs.js'
import { commandRunner } from '../kernel/command.js'
import {
  type Capability,
  type KernelCapabilities,
  probeCapabilities,
} from '../kernel/probe-capability.js'

export interface CheckOptions {
  readonly json?: boolean
  readonly write: (text: string) => void
}

/** One rung of the ladder: a mode, or a capture of the userspace mode. */
export interface Rung {
  readonly name: string
  /** `kernel can`: all the mode needs is there, but this version does not have the mode. */
  readonly state: 'usable' | 'kernel can' | 'missing'
  readonly missing: readonly Capability[]
  /** Missing for IPv6 Services only. */
  readonly missingForIpv6: readonly Capability[]
}

/** What `--proxy-mode auto` would do here, with the default options. */
export interface AutoReport {
  readonly deciding: 'nfqueue' | 'userspace'
  readonly reason: string
  /** In order of preference; the first without an obstacle takes over past a threshold. */
  readonly fallbacks: readonly FallbackRung[]
}

export interface CheckReport {
  readonly auto: AutoReport
  readonly modes: readonly Rung[]
  readonly captures: readonly Rung[]
  readonly capabilities: readonly Capability[]
  readonly iptables: string
}

/** Modes of this version that write rules; the others are told for the future. */
const HERE: readonly RuleMode[] = ['nfqueue', 'ipvs', 'nftables', 'iptables']

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
  const others = Object.entries(MODE_NEEDS).map(([name, needs]): Rung => {
    const mode = name as RuleMode
    const missing = missingOf(kernel, needs)
    const state = missing.length > 0 ? 'missing' : HERE.includes(mode) ? 'usable' : 'kernel can'
    return { name, state, missing, missingForIpv6: missingOf(kernel, IPV6_NEEDS[mode]) }
  })
  return {
    auto: autoReport(kernel, usable?.name),
    modes: [userspace, ...others],
    captures,
    capabilities: kernel.capabilities,
    iptables: `iptables${kernel.iptablesVariant}`,
  }
}

function autoReport(kernel: KernelCapabilities, capture: string | undefined): AutoReport {
  const { mode: deciding, reason } = chooseMode(kernel)
  const hasNftables = missingOf(kernel, MODE_NEEDS.nftables).length === 0
  const facts =
    deciding === 'nfqueue'
      ? { standby: hasNftables ? ('nftables' as const) : ('iptables' as const), bindsToVip: false }
      : { standby: undefined, bindsToVip: capture !== 'redirect' }
  return { deciding, reason, fallbacks: fallbackLadder(kernel, FALLBACK_MODES, facts) }
}

function renderAuto({ deciding, reason, fallbacks }: AutoReport): string[] {
  const taken = fallbacks.find(({ obstacle }) => obstacle === undefined)?.mode
  return [
    `auto         ${deciding} (${reason}); past a threshold ${taken ?? 'no mode of rules'}`,
    ...fallbacks.flatMap(({ mode, obstacle }) =>
      obstacle === undefined ? [] : [`             not ${mode}: ${obstacle}`],
    ),
  ]
}

function render({ auto, modes, captures, capabilities, iptables }: CheckReport): string {
  const lines = modes.flatMap((mode) => [
    ...renderRung(mode, ''),
    ...(mode.name === 'userspace' ? captures.flatMap((rung) => renderRung(rung, '  ')) : []),
  ])
  const list = capabilities.map(({ name, usable, reason }) =>
    usable ? `  yes  ${name}` : `  no   ${name}: ${reason ?? 'no reason given'}`,
  )
  return [
    ...lines,
    ...renderAuto(auto),
    '',
    `What the kernel can do (tried; ${iptables}):`,
    ...list,
    '',
  ].join('\n')
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
