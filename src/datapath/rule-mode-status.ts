/** What a mode that only writes rules tells the status: the kernel counts no connections for it. */
import type { ProxyMode } from '../config/run-config.js'
import type { Snapshot } from '../model/snapshot.js'
import { vipsOf } from '../model/vip.js'
import { Traffic } from '../observe/traffic.js'
import type { ModeStatus } from './running-mode.js'

export function ruleModeStatus(
  mode: Extract<ProxyMode, 'iptables' | 'ipvs' | 'nftables'>,
): (snapshot: Snapshot) => ModeStatus {
  return (snapshot) => ({
    mode,
    capture: undefined,
    steering: undefined,
    traffic: new Traffic(),
    vips: vipsOfAll(snapshot),
    balancerOf: () => 'random',
    udpSessions: 0,
    affinityClients: 0,
  })
}

function* vipsOfAll(snapshot: Snapshot) {
  for (const [servicePortId, { servicePort }] of snapshot.servicePorts) {
    for (const { kind, address, port } of vipsOf(servicePort)) {
      yield { servicePortId, kind, address: address ?? 'node', port, action: 'rules' }
    }
  }
}
