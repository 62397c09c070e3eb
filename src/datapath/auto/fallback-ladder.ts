/** Which mode of rules `auto` falls back to on this node, and why not another one. Pure. */
import type { KernelCapabilities } from '../../kernel/probe-capability.js'
import { missingOf, MODE_NEEDS } from '../mode-needs.js'
import type { HandOver } from '../running-mode.js'

export const FALLBACK_MODES = ['ipvs', 'nftables', 'iptables'] as const

export type FallbackMode = (typeof FALLBACK_MODES)[number]

/** What of the deciding mode matters. */
type DecidingFacts = Pick<HandOver, 'standby' | 'bindsToVip'>

export interface FallbackRung {
  readonly mode: FallbackMode
  /** Why it cannot be used; undefined: it can. */
  readonly obstacle: string | undefined
}

/** All modes of the preference, in order: the first without an obstacle is taken. */
export function fallbackLadder(
  kernel: KernelCapabilities,
  preference: readonly FallbackMode[],
  deciding: DecidingFacts,
): readonly FallbackRung[] {
  return preference.map((mode) => ({ mode, obstacle: obstacleTo(mode, kernel, deciding) }))
}

function obstacleTo(
  mode: FallbackMode,
  kernel: KernelCapabilities,
  { standby, bindsToVip }: DecidingFacts,
): string | undefined {
  const missing = missingOf(kernel, MODE_NEEDS[mode])
  if (missing.length > 0) {
    return `it misses ${[...new Set(missing.map(({ name }) => name))].join(', ')}`
  }
  if (mode !== 'ipvs') return undefined
  if (standby === 'iptables') return 'its chains have the names of those of the standby'
  // While its connections drain a virtual server refuses new ones, which would reach it before the relay.
  return bindsToVip ? 'its virtual servers would stand in the way of the return' : undefined
}
