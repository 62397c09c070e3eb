/**
 * What serves new connections that are not steered: because the program is not running, its queue is
 * full, or a VIP is not in the set. And what turns a verdict's mark into a translation.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import type { ServicePort } from '../../model/service-port.js'
import type { Snapshot } from '../../model/snapshot.js'
import type { Vip } from '../../model/vip.js'
import type { SyncResult } from '../datapath.js'
import type { NftablesProxier } from '../nftables/nftables-proxier.js'

export interface Standby {
  /** Whether it translates, rejects and masquerades by mark itself; else steering's own rules do. */
  readonly doesNat: boolean
  sync(snapshot: Snapshot): Promise<SyncResult>
  /** The VIPs of a Service port in the Snapshot of the last sync, without those that others have. */
  vipsOf(servicePort: ServicePort): readonly Vip[]
}

/** The flat nftables layout. */
export class NftablesStandby implements Standby {
  readonly doesNat = true
  readonly #proxier: NftablesProxier

  constructor(proxier: NftablesProxier) {
    this.#proxier = proxier
  }

  sync(snapshot: Snapshot): Promise<SyncResult> {
    return this.#proxier.sync(snapshot)
  }

  vipsOf({ id, ipFamily }: ServicePort): readonly Vip[] {
    return this.#layoutOf(ipFamily)?.parts.get(id)?.vips ?? []
  }

  #layoutOf(family: IpFamily) {
    return this.#proxier.layoutOf(family)
  }
}
