/** Which capture a node uses: what each needs of the kernel, and the order of preference. */
import type { CaptureName } from '../../config/run-config.js'
import { SluiceError } from '../../lib/errors.js'
import type { IpFamily } from '../../lib/ip-address.js'
import {
  type Capability,
  type CapabilityName,
  capabilityOf,
  type KernelCapabilities,
} from '../../kernel/probe-capability.js'
import type { Capture } from './capture.js'
import { AnyipCapture } from './capture-anyip.js'
import type { CaptureOptions } from './capture-options.js'
import { RedirectCapture } from './capture-redirect.js'
import { TproxyCapture } from './capture-tproxy.js'

export interface ChosenCapture {
  readonly name: CaptureName
  /** One clause for the log. */
  readonly reason: string
}

/** The best first: tproxy keeps the client's address, anyip needs no netfilter. */
export const CAPTURE_PREFERENCE = ['tproxy', 'anyip', 'redirect'] as const

const ANYIP_NEEDS = ['local routes IPv4', 'socket source filter'] as const

/** What decides whether a capture can be used. */
const NEEDS: Readonly<Record<CaptureName, readonly CapabilityName[]>> = {
  anyip: ANYIP_NEEDS,
  tproxy: [...ANYIP_NEEDS, 'transparent sockets', 'tproxy divert IPv4'],
  redirect: ['iptables nat', 'ipset match', 'conntrack tool', 'socket source filter'],
}

/** What it needs besides when there are IPv6 Services. */
const NEEDS_FOR_IPV6: Readonly<Record<CaptureName, readonly CapabilityName[]>> = {
  anyip: ['local routes IPv6'],
  tproxy: ['local routes IPv6', 'tproxy divert IPv6'],
  redirect: ['ip6tables nat'],
}

/** What a capture lacks on this node for a family; empty when it can be used. */
export function missingFor(
  name: CaptureName,
  kernel: KernelCapabilities,
  family: IpFamily,
): readonly Capability[] {
  const names = family === 'IPv4' ? NEEDS[name] : NEEDS_FOR_IPV6[name]
  return names.map((need) => capabilityOf(kernel, need)).filter(({ usable }) => !usable)
}

/**
 * The capture that was asked for, or the best that this node can do.
 * @throws SluiceError ERR_CAPABILITY naming what is missing and what helps
 */
export function chooseCapture(
  wanted: CaptureName | 'auto',
  kernel: KernelCapabilities,
): ChosenCapture {
  const candidates = wanted === 'auto' ? CAPTURE_PREFERENCE : [wanted]
  const lacking = candidates.map((name) => ({ name, missing: missingFor(name, kernel, 'IPv4') }))
  const chosen = lacking.findIndex(({ missing }) => missing.length === 0)
  const name = candidates[chosen]
  if (name === undefined) {
    const complaints = lacking.map(({ name, missing }) => `${name} lacks ${describe(missing)}`)
    throw new SluiceError(
      'ERR_CAPABILITY',
      `no way to capture the traffic of Services: ${complaints.join('; ')}; see kube-sluice check`,
      { context: { wanted, lacking } },
    )
  }
  if (wanted !== 'auto') return { name, reason: 'as configured' }
  const passedOver = lacking
    .slice(0, chosen)
    .map(({ name, missing }) => `${name} lacks ${describe(missing)}`)
  return { name, reason: ['the best that this node can do', ...passedOver].join('; ') }
}

/** A capture of that name; it touches nothing before its first sync. */
export function createCapture(name: CaptureName, options: CaptureOptions): Capture {
  switch (name) {
    case 'anyip':
      return new AnyipCapture(options)
    case 'tproxy':
      return new TproxyCapture(options)
    case 'redirect':
      return new RedirectCapture(options)
  }
}

function describe(missing: readonly Capability[]): string {
  return missing
    .map(
      ({ name, reason, fix }) => `${name} (${reason ?? 'unusable'}; ${fix ?? 'no known remedy'})`,
    )
    .join(', ')
}
