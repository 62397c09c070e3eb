/** Which VIP is whose, where a standby does not keep that itself. Pure. */
import { formatAddress, type IpFamily } from '../../lib/ip-address.js'
import { SortedMap } from '../../lib/sorted-map.js'
import { servicePortName, type ServicePort } from '../../model/service-port.js'
import type { Snapshot } from '../../model/snapshot.js'
import { vipsOf, type Vip } from '../../model/vip.js'
import type { StandbyPart } from './standby.js'

export interface StandbyParts {
  readonly parts: SortedMap<StandbyPart>
  /** VIPs that two Service ports claim, one line each. */
  readonly conflicts: readonly string[]
}

/**
 * Goes through all Service ports of a family: of two that claim the same VIP the first by id has it,
 * whose rules come first too. Parts that did not change are those of `previous`.
 */
export function standbyParts(
  { servicePorts }: Snapshot,
  family: IpFamily,
  previous?: StandbyParts,
): StandbyParts {
  const before = previous?.parts ?? SortedMap.empty<StandbyPart>()
  const owners = new Map<string, ServicePort>()
  const conflicts: string[] = []
  const changes = new Map<string, StandbyPart | undefined>()
  for (const id of before.keys()) if (!servicePorts.has(id)) changes.set(id, undefined)
  for (const [id, state] of servicePorts) {
    const { servicePort } = state
    if (servicePort.ipFamily !== family) continue
    const vips = vipsOf(servicePort).filter((vip) => {
      const key = vipKey(servicePort, vip)
      const owner = owners.get(key)
      if (owner === undefined) owners.set(key, servicePort)
      else {
        conflicts.push(
          `Service port ${servicePortName(servicePort)}: ${key} belongs to ${owner.id} already; left out there`,
        )
      }
      return owner === undefined
    })
    const old = before.get(id)
    if (old?.state !== state || !sameVips(old.vips, vips)) changes.set(id, { state, vips })
  }
  return { parts: before.with(changes), conflicts }
}

/** `TCP 10.96.0.10:80`, `TCP node port 30080` */
function vipKey({ protocol }: ServicePort, { address, port }: Vip): string {
  const at = address === undefined ? `node port ${port}` : formatAddress(address, port)
  return `${protocol} ${at}`
}

function sameVips(a: readonly Vip[], b: readonly Vip[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ kind, address, port }, index) => {
      const other = b[index]
      return kind === other?.kind && address === other.address && port === other.port
    })
  )
}
