/** The addresses of this node's own interfaces. */
import { networkInterfaces } from 'node:os'

import { familyOf, type IpFamily, parseIpAddress } from '../lib/ip-address.js'

export interface LocalAddress {
  readonly family: IpFamily
  /** Canonical. */
  readonly address: string
  /** Of a loopback interface. */
  readonly isLoopback: boolean
}

/**
 * Every address once, in the order of the interfaces. Link-local IPv6 addresses are left out: they
 * mean nothing without an interface, so no Service is reached at one.
 */
export function localAddresses(interfaces = networkInterfaces()): readonly LocalAddress[] {
  const found = new Map<string, LocalAddress>()
  for (const { address: text, internal, ...rest } of Object.values(interfaces).flatMap(
    (addresses) => addresses ?? [],
  )) {
    const address = parseIpAddress(text)
    const isLinkLocal = rest.family === 'IPv6' && rest.scopeid !== 0
    if (address === undefined || isLinkLocal || found.has(address)) continue
    found.set(address, { family: familyOf(address), address, isLoopback: internal })
  }
  return [...found.values()]
}

/** The first address of a family that other hosts may know this node by. */
export function primaryAddress(
  addresses: readonly LocalAddress[],
  family: IpFamily,
): string | undefined {
  return addresses.find((one) => one.family === family && !one.isLoopback)?.address
}
