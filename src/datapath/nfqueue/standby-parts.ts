/** Which VIP is whose, where a standby does not keep that itself. Pure. */
import type { IpFamily } from '../../lib/ip-address.js'
import { SortedMap } from '../../lib/sorted-map.js'
import type { Snapshot } from '../../model/snapshot.js'
import { sameVips, VipClaims } from '../vip-claims.js'
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
  const claims = new VipClaims()
  const changes = new Map<string, StandbyPart | undefined>()
  for (const id of before.keys()) if (!servicePorts.has(id)) changes.set(id, undefined)
  for (const [id, state] of servicePorts) {
    const { servicePort } = state
    if (servicePort.ipFamily !== family) continue
    const vips = claims.claim(servicePort)
    const old = before.get(id)
    if (old?.state !== state || !sameVips(old.vips, vips)) changes.set(id, { state, vips })
  }
  return { parts: before.with(changes), conflicts: claims.conflicts }
}
