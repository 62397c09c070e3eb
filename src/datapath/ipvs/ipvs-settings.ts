/** What the ipvs mode goes by besides Services and endpoints, from the configuration and the node. Pure. */
import type { RunConfig } from '../../config/run-config.js'
import { familyOf, type IpFamily, type IpRange } from '../../lib/ip-address.js'
import { type LocalAddress, nodePortAddressesOf } from '../../model/node-port-addresses.js'
import { podRanges } from '../../model/pod-ranges.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { PartOptions } from './port-part.js'
import type { FamilyRules } from './rules.js'
import { defaultScheduler } from './scheduler.js'

export interface IpvsSettings {
  readonly clusterCidrs: readonly IpRange[]
  readonly detectLocalMode: 'ClusterCIDR' | 'NodeCIDR'
  readonly masqueradeAll: boolean
  readonly nodePortAddresses: 'primary' | readonly IpRange[]
  /** One bit. */
  readonly masqueradeMark: number
  /** For Services without the annotation. Read at each sync: the default balancer may change. */
  readonly scheduler: string
}

export function ipvsSettings(config: RunConfig): IpvsSettings {
  const { clusterCidrs, detectLocalMode, masqueradeAll, nodePortAddresses } = config
  return {
    clusterCidrs,
    detectLocalMode,
    masqueradeAll,
    nodePortAddresses,
    masqueradeMark: 2 ** config.iptablesMasqueradeBit,
    get scheduler() {
      return defaultScheduler(config.ipvs.scheduler, config.balancers.name)
    },
  }
}

export function partOptionsOf(
  family: IpFamily,
  { node }: Pick<Snapshot, 'node'>,
  localAddresses: readonly LocalAddress[],
  { nodePortAddresses, scheduler }: IpvsSettings,
): PartOptions {
  const own = localAddresses.map(({ address }) => address)
  return {
    family,
    nodePortAddresses: nodePortAddressesOf(family, node, {
      localAddresses,
      nodePortAddresses,
      // IPVS sends nothing from a loopback address to elsewhere.
      localhostNodePorts: false,
    }),
    ownAddresses: new Set(own.filter((address) => familyOf(address) === family)),
    nodeIps: node.addresses.filter((address) => familyOf(address) === family),
    defaultScheduler: scheduler,
  }
}

export function familyRulesOf(
  family: IpFamily,
  { node }: Pick<Snapshot, 'node'>,
  settings: IpvsSettings,
): FamilyRules {
  const { masqueradeAll, masqueradeMark } = settings
  const range = podRanges(node, settings).find((one) => one.family === family)
  return { masqueradeAll, masqueradeMark, podRange: range?.text }
}
