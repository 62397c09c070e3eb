/**
 * The elements of one Service port: what each of its destinations is, who may reach it, and the
 * slots of its endpoints. Pure; the semantics are those of src/model/vip.ts, masquerade.ts and
 * allowed-sources.ts, cast into look-ups (the rules are in skeleton.ts).
 */
import { rangeContains, type IpRange } from '../../lib/ip-address.js'
import { loadBalancerSources } from '../../model/allowed-sources.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { ServicePortState } from '../../model/snapshot.js'
import type { Vip } from '../../model/vip.js'
import {
  hairpinElements,
  joinElements,
  packDestination,
  rangeElements,
  slotElements,
  type Elements,
} from './elements.js'
import { timeoutClassOf } from './affinity-timeouts.js'
import { MAX_SLOTS, slotClassOf } from './slot-classes.js'
import {
  classSet,
  drawIndex,
  GUARD_CHAINS,
  slotSet,
  timeoutSet,
  VIP_CHAINS,
  type Door,
  type GuardChain,
  type Scope,
  type SetName,
  type VipChain,
} from './tables.js'
import { weightedSlots } from './weighted-slots.js'

/** By set; sets without an element of this Service port are left out. */
export type PortElements = ReadonlyMap<SetName, Elements>

/**
 * @param vips destinations that this Service port has to itself
 * @param nodeIps addresses of this node, for the exception of loadBalancerSourceRanges
 */
export function portElements(
  state: ServicePortState,
  vips: readonly Vip[],
  nodeIps: readonly string[],
): PortElements {
  const builder = new PortElementsBuilder(state)
  for (const vip of vips) builder.add(vip, nodeIps)
  return builder.take()
}

class PortElementsBuilder {
  readonly #state: ServicePortState
  readonly #parts = new Map<SetName, Elements[]>()
  /** Endpoints -> the endpoint of each slot, the same for all destinations. */
  readonly #slots = new Map<readonly Endpoint[], readonly Endpoint[]>()

  constructor(state: ServicePortState) {
    this.#state = state
  }

  add(vip: Vip, nodeIps: readonly string[]): void {
    const { servicePort, hasAny } = this.#state
    const door: Door = vip.address === undefined ? 'nodeport' : 'vip'
    const { ipFamily, protocol } = servicePort
    const key = packDestination(ipFamily, vip.address, protocol, vip.port)
    this.#addGuard(door, vip, key, nodeIps)
    if (hasAny) this.#addService(door, vip, key)
    else this.#push(`${door}-rejects`, { count: 1, keys: key })
  }

  take(): PortElements {
    const { servicePort, reachable } = this.#state
    const local = reachable.filter(({ isLocal }) => isLocal)
    if (local.length > 0 && this.#slots.size > 0) {
      const { ipFamily, protocol } = servicePort
      this.#push('hairpin-connections', hairpinElements(local, ipFamily, protocol))
    }
    return new Map([...this.#parts].map(([name, parts]) => [name, joinElements(parts)]))
  }

  #addService(door: Door, { kind }: Vip, key: Uint8Array): void {
    const { servicePort, cluster, local } = this.#state
    const { internalPolicyLocal, externalPolicyLocal } = servicePort
    const isClusterIp = kind === 'cluster-ip'
    const chain: VipChain = isClusterIp
      ? 'vip-cluster-ip'
      : externalPolicyLocal
        ? 'vip-external-local'
        : 'vip-external'
    // Node ports have the chains of VIPs but the first, in the same order.
    const index = VIP_CHAINS.indexOf(chain) - (door === 'nodeport' ? 1 : 0)
    this.#verdict(door === 'vip' ? 'vips' : 'nodeports', key, index)
    const { affinityTimeoutSeconds: seconds, ipFamily } = servicePort
    if (seconds !== undefined && ipFamily === 'IPv4') {
      this.#verdict(timeoutSet(door), key, timeoutClassOf(seconds))
    }
    this.#addSlots(door, 'main', key, isClusterIp && internalPolicyLocal ? local : cluster)
    if (!isClusterIp && externalPolicyLocal) this.#addSlots(door, 'local', key, local)
  }

  #addSlots(door: Door, scope: Scope, key: Uint8Array, endpoints: readonly Endpoint[]): void {
    if (endpoints.length === 0) return
    const { servicePort } = this.#state
    let slots = this.#slots.get(endpoints)
    if (slots === undefined) {
      const wanted = weightedSlots(endpoints)
      slots = wanted.length > MAX_SLOTS ? wanted.slice(0, MAX_SLOTS) : wanted
      this.#slots.set(endpoints, slots)
    }
    const { affinityTimeoutSeconds, ipFamily } = servicePort
    const draw = affinityTimeoutSeconds === undefined ? 'random' : 'hash'
    this.#verdict(classSet(door, scope), key, drawIndex(slotClassOf(slots.length), draw))
    this.#push(slotSet(door, scope), slotElements(key, slots, ipFamily))
  }

  /** Who is dropped before DNAT; nobody without endpoints (reference 1.3, firewall detail). */
  #addGuard(door: Door, { kind }: Vip, key: Uint8Array, nodeIps: readonly string[]): void {
    const { servicePort, hasAny, local } = this.#state
    // Everyone is refused then, as in the iptables mode: kube-proxy's nftables mode drops here.
    if (!hasAny) return
    const isWithoutLocal = local.length === 0
    if (kind === 'cluster-ip') {
      if (isWithoutLocal && servicePort.internalPolicyLocal) this.#guard(door, key, 'guard-drop')
      return
    }
    const policy = isWithoutLocal && servicePort.externalPolicyLocal
    const sources =
      kind === 'load-balancer-ip' ? loadBalancerSources(servicePort, nodeIps) : undefined
    if (sources === undefined || sources === 'all') {
      if (policy) this.#guard(door, key, 'guard-local-policy')
      return
    }
    this.#push('source-ranges', rangeElements(key, withoutContained(sources)))
    this.#guard(door, key, policy ? 'guard-ranges-and-policy' : 'guard-source-ranges')
  }

  #guard(door: Door, key: Uint8Array, chain: GuardChain): void {
    this.#verdict(`${door}-guards`, key, GUARD_CHAINS.indexOf(chain))
  }

  #verdict(name: SetName, keys: Uint8Array, chain: number): void {
    this.#push(name, { count: 1, keys, chains: oneChain(chain) })
  }

  #push(name: SetName, elements: Elements): void {
    const parts = this.#parts.get(name)
    if (parts === undefined) this.#parts.set(name, [elements])
    else parts.push(elements)
  }
}

const ONE_CHAIN = new Map<number, Uint32Array>()

/** Lists of one number, each once: most maps of verdicts have one element a Service port. */
function oneChain(chain: number): Uint32Array {
  const known = ONE_CHAIN.get(chain) ?? Uint32Array.of(chain)
  ONE_CHAIN.set(chain, known)
  return known
}

/** Without ranges that lie in others: a set of intervals may not hold overlapping ones. */
function withoutContained(ranges: readonly IpRange[]): IpRange[] {
  const kept: IpRange[] = []
  const widestFirst = [...ranges].sort((a, b) => a.prefixLength - b.prefixLength)
  for (const range of widestFirst) {
    const [network = ''] = range.text.split('/')
    if (!kept.some((wide) => rangeContains(wide, network))) kept.push(range)
  }
  return kept
}
