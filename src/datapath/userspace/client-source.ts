/** Tells where a client is: one of the cluster's pods, this node itself, or anywhere else. */
import { rangeContains, type IpRange } from '../../lib/ip-address.js'
import type { SourceKind } from '../../model/vip.js'

export class ClientSource {
  #own: ReadonlySet<string> = new Set()
  #pods: readonly IpRange[] = []

  /**
   * `own`: the node's addresses and every VIP that is a local address by now (a connection that the
   * node itself opens to a VIP may come from the VIP). `pods`: the ranges of the local detector.
   */
  update(own: ReadonlySet<string>, pods: readonly IpRange[]): void {
    this.#own = own
    this.#pods = pods
  }

  get hasLocalDetector(): boolean {
    return this.#pods.length > 0
  }

  /** Whether an address is one of this node: what is sent there never leaves it. */
  isOwn(ip: string): boolean {
    return this.#own.has(ip) || ip.startsWith('127.') || ip === '::1'
  }

  of(clientIp: string): SourceKind {
    // Pods first, as in kube-proxy's KUBE-EXT chains. It matters only for masquerading.
    for (const range of this.#pods) if (rangeContains(range, clientIp)) return 'pod'
    return this.isOwn(clientIp) ? 'node' : 'other'
  }
}
