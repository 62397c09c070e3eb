/** Node ports at loopback addresses need a sysctl, which is written when the first one may be reached. */
import type { RunConfig } from '../config/run-config.js'
import { loopbackRouter } from '../kernel/sysctl.js'
import type { Snapshot } from '../model/snapshot.js'

/** Lets loopback addresses be translated to others once an IPv4 node port exists (reference 1.5). */
export function snapshotLoopbackRouter(
  { localhostNodePorts, nodeSetup }: Pick<RunConfig, 'localhostNodePorts' | 'nodeSetup'>,
  warn: (message: string) => void,
): (snapshot: Snapshot) => void {
  const routeLoopback = loopbackRouter(nodeSetup.sysctlRoot, warn)
  return (snapshot) => {
    if (localhostNodePorts && hasNodePorts(snapshot)) routeLoopback()
  }
}

function hasNodePorts(snapshot: Snapshot): boolean {
  for (const { servicePort } of snapshot.servicePorts.values()) {
    if (servicePort.ipFamily === 'IPv4' && servicePort.nodePort !== undefined) return true
  }
  return false
}
