/** Node ports at loopback addresses need a sysctl, which is written when the first one may be reached. */
import type { RunConfig } from '../config/run-config.js'
import { loopbackRouter, type ParameterLog } from '../kernel/sysctl.js'
import { SortedMap } from '../lib/sorted-map.js'
import type { Snapshot } from '../model/snapshot.js'

/** Lets loopback addresses be translated to others once an IPv4 node port exists (reference 1.5). */
export function snapshotLoopbackRouter(
  { localhostNodePorts, nodeSetup }: Pick<RunConfig, 'localhostNodePorts' | 'nodeSetup'>,
  log: ParameterLog,
): (snapshot: Snapshot) => void {
  const routeLoopback = loopbackRouter(nodeSetup.sysctlRoot, log)
  let before: Snapshot['servicePorts'] = SortedMap.empty()
  return ({ servicePorts }) => {
    if (!localhostNodePorts) return
    // Only what is new: a large cluster is not gone through for each change.
    if (hasNewNodePort(before, servicePorts)) routeLoopback()
    before = servicePorts
  }
}

function hasNewNodePort(
  before: Snapshot['servicePorts'],
  after: Snapshot['servicePorts'],
): boolean {
  for (const { after: state } of before.differences(after)) {
    const port = state?.servicePort
    if (port?.ipFamily === 'IPv4' && port.nodePort !== undefined) return true
  }
  return false
}
