/** What every capture is made with, and what they have in common. */
import type { Clock } from '../../lib/clock.js'
import { messageOf } from '../../lib/errors.js'
import { familyOf, type IpFamily } from '../../lib/ip-address.js'
import type { RunCommand } from '../../kernel/command.js'
import type { IptablesVariant } from '../../kernel/iptables.js'
import type { LocalAddress } from '../../kernel/local-address.js'
import type { CapturePlan } from './capture.js'

export interface CaptureOptions {
  /** In the network namespace that is to be programmed. */
  readonly run: RunCommand
  /** The node's own addresses, asked at each sync. */
  readonly localAddresses: () => readonly LocalAddress[]
  readonly clock: Pick<Clock, 'nowMs'>
  /** As probeCapabilities found it. */
  readonly iptablesVariant: IptablesVariant
  /** 0..31: the bit of the packet mark that tproxy uses. */
  readonly tproxyMarkBit: number
  /** Gets one line for what was left out and does no harm now. */
  readonly warn: (message: string) => void
}

export const FAMILIES = ['IPv4', 'IPv6'] as const

/** A sync asks the kernel whether our state is still there at most this often. */
export const VERIFY_INTERVAL_MS = 30_000

/** When to look whether somebody has removed what we made. Due at first, and after a failure. */
export class Verification {
  readonly #clock: Pick<Clock, 'nowMs'>
  #doneAtMs: number | undefined

  constructor(clock: Pick<Clock, 'nowMs'>) {
    this.#clock = clock
  }

  isDue(): boolean {
    const doneAtMs = this.#doneAtMs
    return doneAtMs === undefined || this.#clock.nowMs() - doneAtMs >= VERIFY_INTERVAL_MS
  }

  done(): void {
    this.#doneAtMs = this.#clock.nowMs()
  }

  reset(): void {
    this.#doneAtMs = undefined
  }
}

/** Whether the plan has anything of a family, connections that are draining included. */
export function needsFamily(plan: CapturePlan, family: IpFamily): boolean {
  return (
    plan.vips.some((vip) => vip.ipFamily === family) ||
    plan.drainingAddresses.some((address) => familyOf(address) === family)
  )
}

/**
 * Does the work of both families, also when one fails, and then throws the first failure. A family
 * that the plan does not need may fail (IPv6 switched off): that is a warning, given once.
 */
export async function eachFamily(
  work: (family: IpFamily) => Promise<void>,
  isNeeded: (family: IpFamily) => boolean,
  warn: (message: string) => void,
): Promise<void> {
  const results = await Promise.allSettled(FAMILIES.map((family) => work(family)))
  const failures: unknown[] = []
  results.forEach((result, index) => {
    const family = FAMILIES[index] ?? 'IPv4'
    if (result.status === 'fulfilled') return
    if (isNeeded(family)) failures.push(result.reason)
    else warn(`${family} is left alone, no Service needs it: ${messageOf(result.reason)}`)
  })
  if (failures.length > 0) throw failures[0]
}
