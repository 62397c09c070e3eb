/**
 * What one Service port needs in the kernel: virtual servers, addresses, entries of sets. Pure, and
 * a function of the port alone, so that it is computed again only when the port changes.
 *
 *   endpoints for the VIP         virtual server with them
 *   none, and none anywhere       virtual server without: IPVS answers `port unreachable` (reject)
 *   none here, others elsewhere   no virtual server, an entry in KUBE-SLUICE-DROP (drop)
 *
 * The last row is the iptables mode's; kube-proxy's ipvs mode takes the cluster's endpoints there.
 */
import { formatAddress, type IpFamily } from '../../lib/ip-address.js'
import { virtualServerKey, type VirtualServer } from '../../kernel/ipvs.js'
import { loadBalancerSources } from '../../model/allowed-sources.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ServicePortState } from '../../model/snapshot.js'
import { selectEndpoints, type Vip } from '../../model/vip.js'
import { schedulerFor } from './scheduler.js'
import type { IpvsSetName } from './sets.js'

export interface PartOptions {
  readonly family: IpFamily
  /** Addresses of the node that serve node ports, of this family. */
  readonly nodePortAddresses: readonly string[]
  /** Addresses that the node has on its interfaces: VIPs among them are not bound once more. */
  readonly ownAddresses: ReadonlySet<string>
  /** Addresses of the Node object, for source ranges. */
  readonly nodeIps: readonly string[]
  readonly defaultScheduler: string
}

/** A VIP:port of a port with externalTrafficPolicy Local, for pods and the node itself. */
export interface LocalPolicyVip {
  readonly address: string
  readonly port: number
}

export interface PortPart {
  readonly servicePort: ServicePort
  readonly servers: ReadonlyMap<string, VirtualServer>
  /** VIPs to bind to the node. */
  readonly bound: readonly string[]
  readonly entries: readonly (readonly [IpvsSetName, string])[]
  /** Where pods and the node go with externalTrafficPolicy Local; undefined otherwise. */
  readonly shortCircuit:
    | { readonly vips: readonly LocalPolicyVip[]; readonly endpoints: readonly Endpoint[] }
    | undefined
  /** Set when the default scheduler stands in for this balancer. */
  readonly unknownBalancer: string | undefined
}

/** Weights of IPVS end here (ip_vs_ctl.c, conn_flags aside). */
const MAX_WEIGHT = 65_535

/** @param vips those of the port that no other port has claimed */
export function portPart(
  state: ServicePortState,
  vips: readonly Vip[],
  options: PartOptions,
): PortPart {
  const builder = new PartBuilder(state, options)
  for (const vip of vips) builder.add(vip)
  builder.addHairpins()
  builder.addHealthCheck()
  return builder.part()
}

class PartBuilder {
  readonly #state: ServicePortState
  readonly #options: PartOptions
  readonly #servers = new Map<string, VirtualServer>()
  readonly #bound: string[] = []
  readonly #entries: [IpvsSetName, string][] = []
  readonly #localVips: LocalPolicyVip[] = []
  #unknownBalancer: string | undefined

  constructor(state: ServicePortState, options: PartOptions) {
    this.#state = state
    this.#options = options
  }

  add(vip: Vip): void {
    const { nodePortAddresses, ownAddresses } = this.#options
    if (vip.address === undefined) this.#addNodePort(vip.port)
    else if (!ownAddresses.has(vip.address)) this.#bound.push(vip.address)
    const addresses = vip.address === undefined ? nodePortAddresses : [vip.address]
    for (const address of addresses) this.#addServer(vip, address)
    if (vip.address !== undefined) this.#addVipEntries(vip, vip.address)
  }

  addHealthCheck(): void {
    const { healthCheckNodePort } = this.#state.servicePort
    if (healthCheckNodePort !== undefined) {
      this.#entry('KUBE-HEALTH-CHECK-NODE-PORT', String(healthCheckNodePort))
    }
  }

  /** A pod of this node, or of nobody knows which, that is its own endpoint must not see itself as the client. */
  addHairpins(): void {
    for (const { ip, port, isLocal, nodeName } of this.#state.reachable) {
      if (isLocal || nodeName === undefined)
        this.#entry('KUBE-LOOP-BACK', `${ip},${this.#protocol}:${port},${ip}`)
    }
  }

  part(): PortPart {
    const { servicePort, cluster } = this.#state
    const isShort = this.#localVips.length > 0 && cluster.length > 0
    return {
      servicePort,
      servers: this.#servers,
      bound: this.#bound,
      entries: this.#entries,
      shortCircuit: isShort ? { vips: this.#localVips, endpoints: cluster } : undefined,
      unknownBalancer: this.#unknownBalancer,
    }
  }

  get #protocol(): string {
    return this.#state.servicePort.protocol.toLowerCase()
  }

  #entry(set: IpvsSetName, entry: string): void {
    this.#entries.push([set, entry])
  }

  #addServer({ kind, port }: Vip, address: string): void {
    const { servicePort, cluster } = this.#state
    const place = `${address},${this.#protocol}:${port}`
    if (kind !== 'cluster-ip' && servicePort.externalPolicyLocal && cluster.length > 0) {
      this.#localVips.push({ address, port })
      this.#entry('KUBE-SLUICE-LOCAL', place)
    }
    const selection = selectEndpoints(this.#state, kind, 'other')
    if (selection.verdict === 'drop') {
      this.#entry('KUBE-SLUICE-DROP', place)
      return
    }
    const server = this.#server(
      { address, port },
      selection.verdict === 'balance' ? selection.endpoints : [],
    )
    this.#servers.set(virtualServerKey(server), server)
  }

  #server(
    place: { readonly address: string; readonly port: number },
    endpoints: readonly Endpoint[],
  ): VirtualServer {
    const { servicePort } = this.#state
    const { unknown, ...scheduler } = schedulerFor(
      servicePort,
      endpoints.map(({ weight }) => weight),
      this.#options.defaultScheduler,
    )
    this.#unknownBalancer = unknown
    return {
      protocol: servicePort.protocol,
      ...place,
      ...scheduler,
      persistentSeconds: servicePort.affinityTimeoutSeconds,
      realServers: new Map(
        endpoints.map((endpoint) => [
          formatAddress(endpoint.ip, endpoint.port),
          Math.min(endpoint.weight, MAX_WEIGHT),
        ]),
      ),
    }
  }

  #addVipEntries({ kind, port }: Vip, address: string): void {
    const { servicePort } = this.#state
    const place = `${address},${this.#protocol}:${port}`
    switch (kind) {
      case 'cluster-ip':
        this.#entry('KUBE-CLUSTER-IP', place)
        break
      case 'external-ip':
        this.#entry(
          servicePort.externalPolicyLocal ? 'KUBE-EXTERNAL-IP-LOCAL' : 'KUBE-EXTERNAL-IP',
          place,
        )
        break
      case 'load-balancer-ip':
        this.#entry('KUBE-LOAD-BALANCER', place)
        if (servicePort.externalPolicyLocal) this.#entry('KUBE-LOAD-BALANCER-LOCAL', place)
        this.#addSourceRanges(place)
        break
      case 'node-port':
        break
    }
  }

  /** Without any endpoint everyone is refused, whatever the ranges: as in the iptables mode. */
  #addSourceRanges(place: string): void {
    const { servicePort, hasAny } = this.#state
    const ranges = loadBalancerSources(servicePort, this.#options.nodeIps)
    if (ranges === 'all' || !hasAny) return
    this.#entry('KUBE-LOAD-BALANCER-FW', place)
    for (const range of servicePort.loadBalancerSourceRanges) {
      this.#entry('KUBE-LOAD-BALANCER-SOURCE-CIDR', `${place},${range.text}`)
    }
    // They let the node in, whose packets to a VIP may have a VIP for their source.
    if (ranges.length === servicePort.loadBalancerSourceRanges.length) return
    for (const vip of servicePort.loadBalancerVips) {
      this.#entry('KUBE-LOAD-BALANCER-SOURCE-IP', `${place},${vip}`)
    }
  }

  #addNodePort(port: number): void {
    const { protocol, externalPolicyLocal } = this.#state.servicePort
    if (protocol === 'SCTP') {
      const set = externalPolicyLocal
        ? 'KUBE-NODE-PORT-LOCAL-SCTP-HASH'
        : 'KUBE-NODE-PORT-SCTP-HASH'
      for (const address of this.#options.nodePortAddresses) {
        this.#entry(set, `${address},sctp:${port}`)
      }
      return
    }
    const set = `KUBE-NODE-PORT-${externalPolicyLocal ? 'LOCAL-' : ''}${protocol}` as const
    this.#entry(set, String(port))
  }
}
