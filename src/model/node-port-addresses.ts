/** Where node ports are served. Pure. */
import { familyOf, type IpFamily, type IpRange, rangeContains } from '../lib/ip-address.js'
import type { NodeState } from './snapshot.js'

/** An address of one of this node's interfaces, canonical. */
export interface LocalAddress {
  readonly address: string
  readonly isLoopback: boolean
}

export interface NodePortOptions {
  /** The node's own addresses, both families. */
  readonly localAddresses: readonly LocalAddress[]
  readonly nodePortAddresses: 'primary' | readonly IpRange[]
  readonly localhostNodePorts: boolean
}

/**
 * The node's addresses that serve node ports (reference 1.5). Loopback serves them for IPv4 only,
 * and only while localhostNodePorts is on.
 */
export function nodePortAddressesOf(
  family: IpFamily,
  node: NodeState,
  options: NodePortOptions,
): readonly string[] {
  const own = options.localAddresses.filter(({ address }) => familyOf(address) === family)
  const chosen = options.nodePortAddresses
  if (chosen === 'primary') {
    const primary = node.addresses.find((address) => familyOf(address) === family)
    return own.some(({ address, isLoopback }) => address === primary && !isLoopback) &&
      primary !== undefined
      ? [primary]
      : []
  }
  const ranges = chosen.filter((range) => range.family === family)
  const matchesAll = ranges.length === 0 || ranges.some((range) => range.prefixLength === 0)
  return own
    .filter(({ isLoopback }) => !isLoopback || (family === 'IPv4' && options.localhostNodePorts))
    .filter(({ address }) => matchesAll || ranges.some((range) => rangeContains(range, address)))
    .map(({ address }) => address)
}
