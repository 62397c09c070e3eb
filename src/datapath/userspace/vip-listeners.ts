/**
 * The sockets that VIPs are served on. With anyip and tproxy every VIP has a socket bound to it,
 * with a classic socket filter for its sources; with redirect all TCP VIPs of a family share one
 * listener (the VIP is read from the connection), and each UDP VIP has a socket on a node address.
 *
 * Order of a sync, so that a VIP is never local without a listener: `open` the plan, then the
 * capture, then `closeRemoved`.
 *
 * A VIP without endpoints has no socket: the kernel refuses at once. A VIP that drops has a socket
 * whose filter drops everything.
 */
import { formatAddress, familyOf, rangeContains, type IpFamily } from '../../lib/ip-address.js'
import { messageOf } from '../../lib/errors.js'
import type { VipListener } from './vip-listener.js'
import type { TcpRelay } from './tcp-relay.js'
import type { UdpRelay } from './udp-relay.js'
import type { LocalAddress } from '../../model/node-port-addresses.js'
import type { PlannedVip, VipPlan } from './vip-plan.js'

export interface VipListenersOptions {
  readonly bindsToVip: boolean
  readonly tcpRelay: TcpRelay
  readonly udpRelay: UdpRelay
}

export class VipListeners {
  readonly #options: VipListenersOptions
  readonly #listeners = new Map<string, VipListener>()
  readonly #redirects = new Map<IpFamily, Pick<VipListener, 'local' | 'close'>>()
  #plan: ReadonlyMap<string, PlannedVip> = new Map()
  /** Not in the plan: rules serve them now. */
  #released: ReadonlyMap<string, PlannedVip> = new Map()

  constructor(options: VipListenersOptions) {
    this.#options = options
  }

  /**
   * Opens what the plan needs and brings the filters of open sockets up to date. What cannot be
   * opened (an address in use) is a warning of that VIP, tried again at the next sync.
   * @param released VIPs that others serve: what is here of them already goes on
   */
  async open(
    plan: Pick<VipPlan, 'vips'>,
    localAddresses: readonly LocalAddress[],
    released: ReadonlyMap<string, PlannedVip> = new Map(),
  ): Promise<string[]> {
    this.#plan = plan.vips
    this.#released = released
    const warnings: string[] = []
    for (const vip of plan.vips.values()) {
      try {
        await this.#openVip(vip, localAddresses)
      } catch (error) {
        warnings.push(
          `Service port ${vip.servicePortId}: ${vip.key} is not served: ${messageOf(error)}; ` +
            'free the address, or change the Service',
        )
      }
    }
    return warnings
  }

  /** Where the traffic of a VIP is to be redirected to; undefined when no socket serves it. */
  listenOf(vip: PlannedVip): { readonly address: string; readonly port: number } | undefined {
    const redirect = vip.protocol === 'TCP' ? this.#redirects.get(vip.ipFamily) : undefined
    return redirect?.local ?? this.#listeners.get(vip.key)?.local
  }

  /**
   * Closes the sockets of VIPs that the plan no longer has or no longer serves. Those of UDP that are
   * released stay for as long as they have sessions.
   */
  async closeRemoved(): Promise<void> {
    const closing: Promise<void>[] = []
    const inUse = this.#released.size > 0 ? this.#options.udpRelay.vipsInUse() : new Set()
    for (const [key, listener] of this.#listeners) {
      const vip = this.#plan.get(key)
      if (vip !== undefined && this.#needsSocket(vip)) continue
      if (this.#released.has(key) && inUse.has(key)) continue
      this.#listeners.delete(key)
      this.#options.udpRelay.closeVip(key)
      closing.push(listener.close())
    }
    await Promise.all(closing)
  }

  /**
   * New packets to sockets bound to VIPs get no answer from here on, so that clients try again and
   * meet the next process, where a closed socket would refuse them. What was accepted goes on.
   */
  mute(): void {
    for (const [key, listener] of this.#listeners) {
      const vip = this.#plan.get(key)
      if (vip !== undefined) listener.setVip({ ...vip, action: 'drop' })
    }
  }

  /** Closes every socket; connections that were accepted go on. Idempotent. */
  async close(): Promise<void> {
    this.#plan = new Map()
    this.#released = new Map()
    await this.closeRemoved()
    await Promise.all([...this.#redirects.values()].map((listener) => listener.close()))
    this.#redirects.clear()
  }

  #needsSocket(vip: PlannedVip): boolean {
    if (vip.action === 'balance') return this.#options.bindsToVip || vip.protocol === 'UDP'
    return vip.action === 'drop' && this.#options.bindsToVip
  }

  async #openVip(vip: PlannedVip, localAddresses: readonly LocalAddress[]): Promise<void> {
    if (!this.#options.bindsToVip && vip.protocol === 'TCP' && vip.action === 'balance') {
      await this.#openRedirect(vip.ipFamily)
    }
    if (!this.#needsSocket(vip)) return
    const open = this.#listeners.get(vip.key)
    if (open !== undefined) {
      open.setVip(vip)
      return
    }
    const { bindsToVip, tcpRelay, udpRelay } = this.#options
    const listener =
      vip.protocol === 'TCP'
        ? tcpRelay.vipListener(vip, (clientIp) => this.#serves(vip.key, clientIp))
        : udpRelay.vipListener(
            vip,
            bindsToVip ? undefined : nodeAddressFor(vip.ipFamily, localAddresses),
            (clientIp) => this.#serves(vip.key, clientIp),
          )
    await listener.open()
    this.#listeners.set(vip.key, listener)
  }

  async #openRedirect(family: IpFamily): Promise<void> {
    if (this.#redirects.has(family)) return
    const { tcpRelay } = this.#options
    const listener = tcpRelay.redirectListener(family, ({ address, port }, clientIp) =>
      this.#serves(`TCP ${formatAddress(address, port)}`, clientIp),
    )
    await listener.open()
    this.#redirects.set(family, listener)
  }

  /**
   * The VIP as planned now, if it takes connections of this client. The kernel has filtered
   * already; this catches what slipped in while a filter was changed, or was too long for one.
   */
  #serves(key: string, clientIp: string): PlannedVip | undefined {
    const vip = this.#plan.get(key) ?? this.#released.get(key)
    if (vip?.action !== 'balance') return undefined
    if (vip.allowedSources === 'all') return vip
    return vip.allowedSources.some((range) => rangeContains(range, clientIp)) ? vip : undefined
  }
}

/** An address of the node to serve redirected UDP on; loopback when it has no other. */
function nodeAddressFor(family: IpFamily, localAddresses: readonly LocalAddress[]): string {
  const own = localAddresses.filter(({ address }) => familyOf(address) === family)
  const chosen = own.find(({ isLoopback }) => !isLoopback) ?? own[0]
  return chosen?.address ?? (family === 'IPv4' ? '127.0.0.1' : '::1')
}
