/**
 * externalTrafficPolicy Local for pods and for this node: they reach the cluster's endpoints, while
 * a virtual server has those of this node. IPVS has one list of real servers for all clients, so
 * these connections are translated by rules, as in the iptables mode, before IPVS sees them:
 *
 *   KUBE-SERVICES -> KUBE-SLUICE-LOCAL -> KUBE-EXT-x -> KUBE-SVC-x     x: hash of the Service port
 *   (set, source)    by VIP and port      masquerade    draws an endpoint
 *
 * Source of the rules: kube-proxy pkg/proxy/iptables/proxier.go (KUBE-EXT-).
 */
import { formatAddress } from '../../lib/ip-address.js'
import { comment, type IptablesChain } from '../../kernel/iptables.js'
import type { Endpoint } from '../../model/endpoint.js'
import { type ServicePort, servicePortName } from '../../model/service-port.js'
import { endpointChainName, portChainNames } from '../iptables/names.js'
import type { ShortCircuit } from './desired-state.js'

export const LOCAL_CHAIN = 'KUBE-SLUICE-LOCAL'

/** The chain that leads to those of the ports. `sourceFilter`: rules for those who are not led there. */
export function dispatchChain(
  circuits: readonly ShortCircuit[],
  sourceFilter: readonly string[],
): IptablesChain {
  const dispatch = circuits.flatMap(({ servicePort, vips }) =>
    vips.map(
      ({ address, port }) =>
        `${comment(`${servicePortName(servicePort)} external destinations`)} ` +
        `${protocolMatch(servicePort)} -d ${address} --dport ${port} -j ${portChainNames(servicePort).external}`,
    ),
  )
  return chain(LOCAL_CHAIN, [...sourceFilter, ...dispatch])
}

/** The chains of the ports. `podRange`: what counts as a pod. */
export function portChains(
  circuits: readonly ShortCircuit[],
  podRange: string | undefined,
): readonly IptablesChain[] {
  return circuits.flatMap((circuit) => [
    chain(portChainNames(circuit.servicePort).external, extRules(circuit, podRange)),
    chain(portChainNames(circuit.servicePort).cluster, svcRules(circuit)),
  ])
}

function extRules({ servicePort }: ShortCircuit, podRange: string | undefined): string[] {
  const name = servicePortName(servicePort)
  const to = `-j ${portChainNames(servicePort).cluster}`
  const local = '-m addrtype --src-type LOCAL'
  return [
    ...(podRange === undefined
      ? []
      : [`${comment(`pod traffic for ${name} external destinations`)} -s ${podRange} ${to}`]),
    `${comment(`masquerade LOCAL traffic for ${name} external destinations`)} ${local} -j KUBE-MARK-MASQ`,
    `${comment(`route LOCAL traffic for ${name} external destinations`)} ${local} ${to}`,
  ]
}

/** First the endpoint that a client has had, then by chance and weight; the last one takes what is left. */
function svcRules({ servicePort, endpoints }: ShortCircuit): string[] {
  const open = endpoints.filter((endpoint) => endpoint.weight > 0)
  const seconds = servicePort.affinityTimeoutSeconds
  const sticky =
    seconds === undefined
      ? []
      : open.map((endpoint) => {
          const list = endpointChainName(servicePort, endpoint.id)
          const seen = `-m recent --name ${list} --rcheck --seconds ${seconds} --reap`
          return dnat(servicePort, endpoint, `${seen} -m recent --name ${list} --set `)
        })
  let rest = open.reduce((sum, endpoint) => sum + endpoint.weight, 0)
  const drawn = open.map((endpoint, index) => {
    const isLast = index === open.length - 1
    const share = (endpoint.weight / rest).toFixed(10)
    rest -= endpoint.weight
    const draw = isLast ? '' : `-m statistic --mode random --probability ${share} `
    const remember =
      seconds === undefined
        ? ''
        : `-m recent --name ${endpointChainName(servicePort, endpoint.id)} --set `
    return dnat(servicePort, endpoint, draw + remember)
  })
  return [...sticky, ...drawn]
}

function dnat(servicePort: ServicePort, { ip, port }: Endpoint, matches: string): string {
  const to = formatAddress(ip, port)
  const note = comment(`${servicePortName(servicePort)} -> ${to}`)
  return `${note} ${protocolMatch(servicePort)} ${matches}-j DNAT --to-destination ${to}`
}

function protocolMatch({ protocol }: ServicePort): string {
  return `-p ${protocol.toLowerCase()}`
}

function chain(name: string, rules: readonly string[]): IptablesChain {
  return { table: 'nat', name, hooks: [], comment: '', rules }
}
