/**
 * Everything that a Snapshot needs in the kernel for one family. Pure; parts of Service ports that
 * did not change are taken from the last time, and with them the same VirtualServer objects.
 */
import { formatAddress } from '../../lib/ip-address.js'
import type { VirtualServer } from '../../kernel/ipvs.js'
import type { Endpoint } from '../../model/endpoint.js'
import { type ServicePort, servicePortName } from '../../model/service-port.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
import { type Vip, vipsOf } from '../../model/vip.js'
import { type LocalPolicyVip, type PartOptions, type PortPart, portPart } from './port-part.js'
import { IPVS_SET_NAMES, type IpvsSetName } from './sets.js'

/** How pods and this node reach a port with externalTrafficPolicy Local. */
export interface ShortCircuit {
  readonly servicePort: ServicePort
  readonly vips: readonly LocalPolicyVip[]
  /** Not empty. */
  readonly endpoints: readonly Endpoint[]
}

export interface DesiredState {
  readonly servers: ReadonlyMap<string, VirtualServer>
  /** Addresses to bind to the node. */
  readonly bound: ReadonlySet<string>
  /** Every set, by name; KUBE-IPVS-IPS is left to whoever binds. */
  readonly entries: ReadonlyMap<IpvsSetName, ReadonlySet<string>>
  readonly shortCircuits: readonly ShortCircuit[]
  readonly warnings: readonly string[]
}

interface CachedPart {
  readonly part: PortPart
  /** Claimed VIPs of then. */
  readonly vipCount: number
}

/** Parts of one family; forgets them when the options change. */
export class PartCache {
  #parts = new WeakMap<ServicePortState, CachedPart>()
  #key = ''

  part(state: ServicePortState, vips: readonly Vip[], options: PartOptions): PortPart {
    const cached = this.#parts.get(state)
    if (cached?.vipCount === vips.length) return cached.part
    const part = portPart(state, vips, options)
    this.#parts.set(state, { part, vipCount: vips.length })
    return part
  }

  useOptions(options: PartOptions): void {
    const key = JSON.stringify({ ...options, ownAddresses: [...options.ownAddresses].sort() })
    if (key === this.#key) return
    this.#key = key
    this.#parts = new WeakMap()
  }
}

/** Two Service ports that claim the same VIP: the first by id has it. */
export function desiredState(
  { servicePorts }: Snapshot,
  options: PartOptions,
  cache = new PartCache(),
): DesiredState {
  cache.useOptions(options)
  const merged = new Merged()
  for (const state of servicePorts.values()) {
    const { servicePort } = state
    if (servicePort.ipFamily !== options.family) continue
    const vips = vipsOf(servicePort).filter((vip) => merged.claim(servicePort, vip))
    merged.add(cache.part(state, vips, options), options.defaultScheduler)
  }
  return merged
}

class Merged implements DesiredState {
  readonly servers = new Map<string, VirtualServer>()
  readonly bound = new Set<string>()
  readonly entries = new Map(IPVS_SET_NAMES.map((name) => [name, new Set<string>()]))
  readonly shortCircuits: ShortCircuit[] = []
  readonly warnings: string[] = []
  readonly #owners = new Map<string, ServicePort>()

  claim(servicePort: ServicePort, { address, port }: Vip): boolean {
    const { protocol } = servicePort
    const key =
      address === undefined
        ? `${protocol} node port ${port}`
        : `${protocol} ${formatAddress(address, port)}`
    const owner = this.#owners.get(key)
    if (owner === undefined) this.#owners.set(key, servicePort)
    else this.#warn(servicePort, `${key} belongs to ${owner.id} already; left out there`)
    return owner === undefined
  }

  add(part: PortPart, defaultScheduler: string): void {
    const { servicePort, shortCircuit } = part
    for (const [key, server] of part.servers) {
      if (this.servers.has(key)) {
        this.#warn(servicePort, `${key} is a virtual server of another already; left out there`)
      } else this.servers.set(key, server)
    }
    for (const address of part.bound) this.bound.add(address)
    for (const [set, entry] of part.entries) this.entries.get(set)?.add(entry)
    if (shortCircuit !== undefined) this.shortCircuits.push({ servicePort, ...shortCircuit })
    if (part.unknownBalancer !== undefined) {
      this.#warn(
        servicePort,
        `annotation kube-sluice.io/balancer: IPVS has no "${part.unknownBalancer}"; ` +
          `its scheduler ${defaultScheduler} it is`,
      )
    }
  }

  #warn(servicePort: ServicePort, what: string): void {
    this.warnings.push(`Service port ${servicePortName(servicePort)}: ${what}`)
  }
}
