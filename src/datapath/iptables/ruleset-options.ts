/** The options of the rules of one family, from the configuration and what the node is like now. Pure. */
import type { RunConfig } from '../../config/run-config.js'
import { familyOf, type IpFamily } from '../../lib/ip-address.js'
import { nodePortAddressesOf, type LocalAddress } from '../../model/node-port-addresses.js'
import { podRanges } from '../../model/pod-ranges.js'
import type { NodeState } from '../../model/snapshot.js'
import type { RulesetOptions } from './ruleset.js'

/** What the rules take from the configuration. */
export type RulesConfig = Pick<
  RunConfig,
  | 'iptablesMasqueradeBit'
  | 'clusterCidrs'
  | 'detectLocalMode'
  | 'masqueradeAll'
  | 'nodePortAddresses'
  | 'localhostNodePorts'
>

export interface NodeFacts {
  readonly node: NodeState
  readonly localAddresses: readonly LocalAddress[]
  /** net.netfilter.nf_conntrack_tcp_be_liberal */
  readonly passesInvalid: boolean
}

export function rulesetOptions(
  family: IpFamily,
  config: RulesConfig,
  { node, localAddresses, passesInvalid }: NodeFacts,
): RulesetOptions {
  const pods = podRanges(node, config).find((range) => range.family === family)?.text
  return {
    family,
    masqueradeBit: config.iptablesMasqueradeBit,
    masqueradeAll: config.masqueradeAll,
    pods: pods === undefined ? undefined : { match: `-s ${pods}`, noMatch: `! -s ${pods}` },
    nodePortAddresses: servesAll(family, config)
      ? 'all'
      : nodePortAddressesOf(family, node, { ...config, localAddresses }),
    localhostNodePorts: config.localhostNodePorts,
    nodeIps: nodeIpsOf(family, node, localAddresses),
    randomFully: true,
    passesInvalid,
  }
}

/** A match for local addresses follows them as they come and go; a list is as old as the last sync. */
function servesAll(family: IpFamily, { nodePortAddresses }: RulesConfig): boolean {
  if (nodePortAddresses === 'primary') return false
  const own = nodePortAddresses.filter((range) => range.family === family)
  return own.length === 0 || own.some(({ prefixLength }) => prefixLength === 0)
}

/** Those of the Node object; without one, the first that other hosts may know this node by. */
function nodeIpsOf(
  family: IpFamily,
  node: NodeState,
  localAddresses: readonly LocalAddress[],
): readonly string[] {
  const known = node.addresses.filter((address) => familyOf(address) === family)
  if (known.length > 0) return known
  const first = localAddresses.find(
    ({ address, isLoopback }) => !isLoopback && familyOf(address) === family,
  )
  return first === undefined ? [] : [first.address]
}
