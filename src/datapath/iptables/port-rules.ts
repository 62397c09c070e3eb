/**
 * The iptables rules of one Service port: pure, of nothing but its state and the options, so that an
 * unchanged Service port costs nothing at a sync. The graph of chains is kube-proxy's (reference 3.1):
 *
 *   KUBE-SERVICES, KUBE-NODEPORTS
 *     cluster IP             -> KUBE-SVC (or KUBE-SVL, internalTrafficPolicy Local)
 *     external IP, node port -> KUBE-EXT -> KUBE-SVC or KUBE-SVL
 *     load-balancer IP       -> KUBE-FW -> KUBE-EXT, with source ranges
 *   KUBE-SVC, KUBE-SVL       -> one KUBE-SEP, drawn at random or remembered for the client
 *   KUBE-SEP                    DNAT
 *
 * What has no endpoint to go to is answered in the filter table, where a packet still has its VIP.
 */
import { rangeContains } from '../../lib/ip-address.js'
import type { Endpoint } from '../../model/endpoint.js'
import {
  isExternallyAccessible,
  servicePortName,
  usesClusterEndpoints,
  usesLocalEndpoints,
  type ServicePort,
} from '../../model/service-port.js'
import type { ServicePortState } from '../../model/snapshot.js'
import { endpointChainNamer, portChainNames, type PortChainNames } from './names.js'
import type { RuleOptions } from './rule-options.js'

export interface RuleChain {
  readonly name: string
  /** Without `-A CHAIN`. */
  readonly rules: readonly string[]
}

/** Chains that all Service ports put rules into, `table/name`. */
export const SHARED_CHAINS = [
  'nat/KUBE-SERVICES',
  'nat/KUBE-NODEPORTS',
  'filter/KUBE-SERVICES',
  'filter/KUBE-EXTERNAL-SERVICES',
  'filter/KUBE-PROXY-FIREWALL',
  'filter/KUBE-NODEPORTS',
] as const

export type SharedChain = (typeof SHARED_CHAINS)[number]

export interface PortRules {
  /** Rules in chains that others use too, in order. */
  readonly shared: Readonly<Partial<Record<SharedChain, readonly string[]>>>
  /** Chains of the nat table that are this port's alone. */
  readonly chains: readonly RuleChain[]
}

export function portRules(state: ServicePortState, options: RuleOptions): PortRules {
  return new PortRuleWriter(state, options).write()
}

/** A destination of the port, as a match with its comment. */
interface Destination {
  readonly label: string
  readonly match: string
}

class PortRuleWriter {
  readonly #state: ServicePortState
  readonly #options: RuleOptions
  readonly #names: PortChainNames
  readonly #title: string
  readonly #protocol: string
  readonly #shared: Partial<Record<SharedChain, string[]>> = {}
  readonly #chains: RuleChain[] = []
  readonly #hasCluster: boolean
  readonly #hasLocal: boolean
  /** Names of the chains of endpoints by their ids: each is used several times. */
  readonly #endpointNames = new Map<string, string>()

  constructor(state: ServicePortState, options: RuleOptions) {
    const { servicePort } = state
    this.#state = state
    this.#options = options
    this.#names = portChainNames(servicePort)
    this.#title = servicePortName(servicePort)
    this.#protocol = protocolMatch(servicePort)
    this.#hasCluster = state.cluster.length > 0 && usesClusterEndpoints(servicePort)
    this.#hasLocal = state.local.length > 0 && usesLocalEndpoints(servicePort)
    const nameOf = endpointChainNamer(servicePort)
    for (const { id } of state.reachable) this.#endpointNames.set(id, nameOf(id))
  }

  write(): PortRules {
    this.#clusterIp()
    this.#externalIps()
    this.#loadBalancerIps()
    this.#nodePort()
    this.#healthCheckNodePort()
    this.#externalChain()
    this.#firewallChain()
    this.#policyChains()
    this.#endpointChains()
    return { shared: this.#shared, chains: this.#chains }
  }

  #clusterIp(): void {
    const { clusterIp, port, internalPolicyLocal } = this.#state.servicePort
    const match = this.#to(clusterIp, port)
    if (internalPolicyLocal ? this.#hasLocal : this.#hasCluster) {
      const target = internalPolicyLocal ? this.#names.local : this.#names.cluster
      this.#add('nat/KUBE-SERVICES', `${this.#comment('cluster IP')} ${match} -j ${target}`)
    } else {
      this.#add('filter/KUBE-SERVICES', `${this.#absence()} ${match} -j ${this.#refusal()}`)
    }
  }

  #externalIps(): void {
    const { externalIps, port } = this.#state.servicePort
    for (const address of externalIps) {
      this.#external({ label: 'external IP', match: this.#to(address, port) }, this.#names.external)
    }
  }

  #loadBalancerIps(): void {
    const { loadBalancerVips, port } = this.#state.servicePort
    const target = this.#hasFirewall() ? this.#names.firewall : this.#names.external
    for (const address of loadBalancerVips) {
      const match = this.#to(address, port)
      if (this.#hasFirewall()) {
        const note = `traffic not accepted by ${this.#names.firewall}`
        this.#add('filter/KUBE-PROXY-FIREWALL', `${this.#comment(note)} ${match} -j DROP`)
      }
      this.#external({ label: 'loadbalancer IP', match }, target)
    }
  }

  #external({ label, match }: Destination, target: string): void {
    if (this.#state.hasAny) {
      this.#add('nat/KUBE-SERVICES', `${this.#comment(label)} ${match} -j ${target}`)
    }
    this.#refuseExternal(match)
  }

  #nodePort(): void {
    const { nodePort } = this.#state.servicePort
    if (nodePort === undefined) return
    const match = `${this.#protocol} --dport ${nodePort}`
    if (this.#state.hasAny) {
      const note = `-m comment --comment ${this.#title}`
      this.#add('nat/KUBE-NODEPORTS', `${note} ${match} -j ${this.#names.external}`)
    }
    this.#refuseExternal(`-m addrtype --dst-type LOCAL ${match}`)
  }

  #refuseExternal(match: string): void {
    if (this.#hasExternal()) return
    this.#add('filter/KUBE-EXTERNAL-SERVICES', `${this.#absence()} ${match} -j ${this.#refusal()}`)
  }

  #healthCheckNodePort(): void {
    const { healthCheckNodePort } = this.#state.servicePort
    if (healthCheckNodePort === undefined) return
    const note = this.#comment('health check node port')
    this.#add(
      'filter/KUBE-NODEPORTS',
      `${note} -m tcp -p tcp --dport ${healthCheckNodePort} -j ACCEPT`,
    )
  }

  /** Who is masqueraded, and which of the two sets of endpoints external traffic goes to. */
  #externalChain(): void {
    const { servicePort, hasAny } = this.#state
    if (!hasAny || !isExternallyAccessible(servicePort)) return
    const rules: string[] = []
    if (servicePort.externalPolicyLocal) {
      const { pods } = this.#options
      // Pods and the node go to any endpoint, as if they had used the cluster IP.
      if (pods !== undefined && this.#hasCluster) {
        rules.push(
          `${this.#about('pod traffic for', 'external destinations')} ${pods.match} -j ${this.#names.cluster}`,
        )
      }
      const fromNode = '-m addrtype --src-type LOCAL'
      rules.push(
        `${this.#about('masquerade LOCAL traffic for', 'external destinations')} ${fromNode} -j KUBE-MARK-MASQ`,
      )
      if (this.#hasCluster) {
        rules.push(
          `${this.#about('route LOCAL traffic for', 'external destinations')} ${fromNode} -j ${this.#names.cluster}`,
        )
      }
    } else {
      rules.push(
        `${this.#about('masquerade traffic for', 'external destinations')} -j KUBE-MARK-MASQ`,
      )
    }
    if (this.#hasExternal()) {
      const { local, cluster } = this.#names
      rules.push(`-j ${servicePort.externalPolicyLocal ? local : cluster}`)
    }
    this.#chains.push({ name: this.#names.external, rules })
  }

  /** Lets the source ranges through; what falls out at the end is dropped in the filter table. */
  #firewallChain(): void {
    if (!this.#hasFirewall()) return
    const { loadBalancerSourceRanges: ranges, loadBalancerVips } = this.#state.servicePort
    const { external, firewall } = this.#names
    const note = this.#comment('loadbalancer IP')
    const sources = ranges.map(({ text }) => text)
    // A host's own packet to a VIP that is a local address has that VIP as its source (allowFromNode).
    if (ranges.some((range) => this.#options.nodeIps.some((ip) => rangeContains(range, ip)))) {
      sources.push(...loadBalancerVips)
    }
    const rules = sources.map((source) => `${note} -s ${source} -j ${external}`)
    const last = `other traffic to ${this.#title} will be dropped by KUBE-PROXY-FIREWALL`
    rules.push(`-m comment --comment "${last}"`)
    this.#chains.push({ name: firewall, rules })
  }

  #policyChains(): void {
    const { cluster, local, servicePort } = this.#state
    const masquerade = this.#internalMasquerade()
    if (this.#hasCluster) {
      const before = servicePort.internalPolicyLocal ? [] : masquerade
      this.#chains.push({ name: this.#names.cluster, rules: [...before, ...this.#draw(cluster)] })
    }
    if (this.#hasLocal) {
      const before = servicePort.internalPolicyLocal ? masquerade : []
      this.#chains.push({ name: this.#names.local, rules: [...before, ...this.#draw(local)] })
    }
  }

  #internalMasquerade(): readonly string[] {
    const { masqueradeAll, pods } = this.#options
    if (!masqueradeAll && pods === undefined) return []
    const { clusterIp, port } = this.#state.servicePort
    const source = masqueradeAll || pods === undefined ? '' : ` ${pods.noMatch}`
    return [
      `${this.#comment('cluster IP')} ${this.#to(clusterIp, port)}${source} -j KUBE-MARK-MASQ`,
    ]
  }

  /** Affinity first, for all endpoints; then each with its share of what is left. */
  #draw(endpoints: readonly Endpoint[]): readonly string[] {
    const { affinityTimeoutSeconds: seconds } = this.#state.servicePort
    const rules: string[] = []
    for (const { id } of seconds === undefined ? [] : endpoints) {
      const chain = this.#endpointChain(id)
      const match = `-m recent --name ${chain} --rcheck --seconds ${seconds ?? 0} --reap`
      rules.push(`${this.#endpointComment(id)}${match} -j ${chain}`)
    }
    let remaining = endpoints.reduce((sum, endpoint) => sum + endpoint.weight, 0)
    for (const [index, endpoint] of endpoints.entries()) {
      const { id, weight } = endpoint
      const isLast = index === endpoints.length - 1
      const share = isLast ? '' : `${probability(weight, remaining)} `
      rules.push(`${this.#endpointComment(id)}${share}-j ${this.#endpointChain(id)}`)
      remaining -= weight
    }
    return rules
  }

  /** What is the same for all endpoints is put together once: they are most of the text. */
  #endpointChains(): void {
    const { reachable, servicePort } = this.#state
    const note = this.#options.isLarge ? '' : `-m comment --comment ${this.#title} `
    const from = `${note}-s `
    const translate = `${this.#protocol} -j DNAT --to-destination `
    for (const { id, ip } of reachable) {
      const name = this.#endpointChain(id)
      const hasAffinity = servicePort.affinityTimeoutSeconds !== undefined
      const before = hasAffinity ? `${note}-m recent --name ${name} --set ` : note
      const rules = [`${from}${ip} -j KUBE-MARK-MASQ`, before + translate + id]
      this.#chains.push({ name, rules })
    }
  }

  #endpointChain(id: string): string {
    return this.#endpointNames.get(id) ?? ''
  }

  #endpointComment(id: string): string {
    return this.#options.isLarge ? '' : `${this.#comment(`-> ${id}`)} `
  }

  #hasExternal(): boolean {
    return this.#state.servicePort.externalPolicyLocal ? this.#hasLocal : this.#hasCluster
  }

  #hasFirewall(): boolean {
    const { loadBalancerVips, loadBalancerSourceRanges } = this.#state.servicePort
    return this.#state.hasAny && loadBalancerVips.length > 0 && loadBalancerSourceRanges.length > 0
  }

  #to(address: string, port: number): string {
    return `${this.#protocol} -d ${address} --dport ${port}`
  }

  #comment(text: string): string {
    return `-m comment --comment "${this.#title} ${text}"`
  }

  #about(before: string, after: string): string {
    return `-m comment --comment "${before} ${this.#title} ${after}"`
  }

  #absence(): string {
    return this.#comment(this.#state.hasAny ? 'has no local endpoints' : 'has no endpoints')
  }

  /** Endpoints elsewhere: silence, the client may try another node. None at all: it is told. */
  #refusal(): 'DROP' | 'REJECT' {
    return this.#state.hasAny ? 'DROP' : 'REJECT'
  }

  #add(chain: SharedChain, rule: string): void {
    const rules = this.#shared[chain]
    if (rules === undefined) this.#shared[chain] = [rule]
    else rules.push(rule)
  }
}

function protocolMatch({ protocol }: ServicePort): string {
  const name = protocol.toLowerCase()
  return `-m ${name} -p ${name}`
}

/** Go's %0.10f of the share. */
function probability(weight: number, remaining: number): string {
  return `-m statistic --mode random --probability ${(weight / remaining).toFixed(10)}`
}
