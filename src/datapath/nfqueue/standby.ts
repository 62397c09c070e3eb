/**
 * What serves new connections that are not steered: because the program is not running, its queue is
 * full, or a VIP is not in the set. And what turns a verdict's mark into a translation.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import { SortedMap } from '../../lib/sorted-map.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
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
  /** Service ports of the last sync, by id, and possibly parts of its own that have no state. */
  partsOf(family: IpFamily): SortedMap<StandbyPart>
}

/** A Service port as it is in force. The same object for as long as nothing of it changes. */
export interface StandbyPart {
  readonly state: ServicePortState | undefined
  /** Without those that another Service port has already. */
  readonly vips: readonly Vip[]
}

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

  partsOf(family: IpFamily): SortedMap<StandbyPart> {
    return this.#proxier.layoutOf(family)?.parts ?? SortedMap.empty()
  }
}
