/** Node ports at loopback addresses need a sysctl, which is written when the first one may be reached. */
import { writeFileSync } from 'node:fs'

import type { RunConfig } from '../config/run-config.js'
import type { Snapshot } from '../model/snapshot.js'

const ROUTE_LOOPBACK = '/proc/sys/net/ipv4/conf/all/route_localnet'

/** Lets loopback addresses be translated to others once an IPv4 node port exists (reference 1.5). */
export function loopbackRouter(
  config: Pick<RunConfig, 'localhostNodePorts'>,
  enable = () => {
    writeFileSync(ROUTE_LOOPBACK, '1')
  },
): (snapshot: Snapshot) => void {
  let isDone = !config.localhostNodePorts
  return (snapshot) => {
    if (isDone) return
    for (const { servicePort } of snapshot.servicePorts.values()) {
      if (servicePort.ipFamily !== 'IPv4' || servicePort.nodePort === undefined) continue
      enable()
      isDone = true
      return
    }
  }
}
