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
  /**
   * Brings it to the Snapshot; with `verify` it looks first whether all is still there. Throws
   * SluiceError.
   */
  sync(snapshot: Snapshot, verify: boolean): Promise<SyncResult>
  /**
   * Counts up when it has made its part of the kernel anew: the endpoints of slots are lost, and its
   * rules may have come to stand above steering's.
   */
  generation(family: IpFamily): number
  /** The VIPs of a Service port in the Snapshot of the last sync, without those that others have. */
  vipsOf(servicePort: ServicePort): readonly Vip[]
}

/** One object: callers go by identity. */
const NONE: readonly Vip[] = []

/** The flat nftables layout. */
export class NftablesStandby implements Standby {
  readonly doesNat = true
  readonly #proxier: NftablesProxier

  constructor(proxier: NftablesProxier) {
    this.#proxier = proxier
  }

  async sync(snapshot: Snapshot, verify: boolean): Promise<SyncResult> {
    if (verify) await this.#proxier.verify()
    return this.#proxier.sync(snapshot)
  }

  generation(family: IpFamily): number {
    return this.#proxier.tableGeneration(family)
  }

  vipsOf({ id, ipFamily }: ServicePort): readonly Vip[] {
    return this.#proxier.layoutOf(ipFamily)?.parts.get(id)?.vips ?? NONE
  }
}
