/** Which VIP is whose: of two Service ports that claim the same one, the first by id has it. Pure. */
import { formatAddress } from '../lib/ip-address.js'
import { servicePortName, type ServicePort } from '../model/service-port.js'
import { vipsOf, type Vip } from '../model/vip.js'

/** Asked in the order of ids. */
export class VipClaims {
  /** VIPs that two Service ports claim, one line each. */
  readonly conflicts: string[] = []
  readonly #owners = new Map<string, ServicePort>()

  /** The VIPs of the Service port that nobody else has. */
  claim(servicePort: ServicePort): readonly Vip[] {
    const vips = vipsOf(servicePort)
    const own = vips.filter((vip) => {
      const key = vipKey(servicePort, vip)
      const owner = this.#owners.get(key)
      if (owner === undefined) {
        this.#owners.set(key, servicePort)
        return true
      }
      this.conflicts.push(
        `Service port ${servicePortName(servicePort)}: ${key} belongs to ${owner.id} already; left out there`,
      )
      return false
    })
    return own.length === vips.length ? vips : own
  }
}

/** `TCP 10.96.0.10:80`, `TCP node port 30080` */
function vipKey({ protocol }: ServicePort, { address, port }: Vip): string {
  const at = address === undefined ? `node port ${port}` : formatAddress(address, port)
  return `${protocol} ${at}`
}

export function sameVips(a: readonly Vip[], b: readonly Vip[]): boolean {
  if (a === b) return true
  return (
    a.length === b.length &&
    a.every(({ kind, address, port }, index) => {
      const other = b[index]
      return kind === other?.kind && address === other.address && port === other.port
    })
  )
}
