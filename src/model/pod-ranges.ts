/** Which sources count as pods: the local detector (reference 1.4, detect-local modes). */
import { parseIpRange, type IpFamily, type IpRange } from '../lib/ip-address.js'
import type { NodeState } from './snapshot.js'

export interface PodRangeOptions {
  readonly clusterCidrs: readonly IpRange[]
  readonly detectLocalMode: 'ClusterCIDR' | 'NodeCIDR'
}

/**
 * Ranges of the pods of this cluster (ClusterCIDR) or of this node (NodeCIDR), the first of each
 * family; a family without one has no local detector.
 */
export function podRanges(node: NodeState, options: PodRangeOptions): readonly IpRange[] {
  const ranges =
    options.detectLocalMode === 'ClusterCIDR'
      ? options.clusterCidrs
      : node.podCidrs.map(parseIpRange).filter((range) => range !== undefined)
  const first = (family: IpFamily) => ranges.find((range) => range.family === family)
  return [first('IPv4'), first('IPv6')].filter((range) => range !== undefined)
}
