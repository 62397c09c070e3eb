/**
 * The objects that carry a connection in each mode, with the command that shows them. Names come
 * from the functions that name them when rules are loaded.
 */
import { formatAddress } from '../lib/ip-address.js'
import { setName } from '../kernel/ipset.js'
import type { Carried } from '../observe/explain/explain.js'
import { endpointChainName, portChainNames } from './iptables/names.js'
import { STEERED_SET } from './nfqueue/steering-rules.js'
import { TABLE, slotSet } from './nftables/tables.js'

/** A line each; empty for a mode that is not known. */
export function kernelObjects(mode: string, carried: Carried): readonly string[] {
  switch (mode) {
    case 'userspace':
      return userspace(carried)
    case 'nfqueue':
      return nfqueue(carried)
    case 'iptables':
      return iptables(carried)
    case 'nftables':
      return nftables(carried)
    case 'ipvs':
      return ipvs(carried)
    default:
      return []
  }
}

function userspace({ question: { protocol, address, port } }: Carried): string[] {
  const flag = protocol === 'UDP' ? '-uanp' : '-tlnp'
  return [`a socket of this process for ${formatAddress(address, port)}: ss ${flag}`]
}

function nfqueue(carried: Carried): string[] {
  const { address, port, protocol } = carried.question
  const entry = `${address},${protocol.toLowerCase()}:${port}`
  return [
    `set: ipset test ${setName(STEERED_SET, carried.servicePort.ipFamily)} ${entry}`,
    'rule: iptables-save -t mangle, chain KUBE-SLUICE-STEER, then KUBE-SLUICE-QUEUE to the queue',
    'verdict: the connection mark holds the slot of the endpoint (conntrack -L -o extended)',
  ]
}

function iptables({ servicePort, vip, scope, endpoints }: Carried): string[] {
  const names = portChainNames(servicePort)
  const command = servicePort.ipFamily === 'IPv4' ? 'iptables' : 'ip6tables'
  const entrance = vip.kind === 'node-port' ? 'KUBE-NODEPORTS' : 'KUBE-SERVICES'
  const way = vip.kind === 'cluster-ip' ? [] : [names.external]
  const balance = scope === 'local' ? names.local : names.cluster
  return [
    `rules: ${command} -t nat -S, chains ${[entrance, ...way, balance].join(' -> ')}`,
    ...endpoints.map(({ id }) => `chain of ${id}: ${endpointChainName(servicePort, id)}`),
  ]
}

function nftables({ question, servicePort, vip, scope }: Carried): string[] {
  const family = servicePort.ipFamily === 'IPv4' ? 'ip' : 'ip6'
  const { address, port } = question
  const protocol = question.protocol.toLowerCase()
  const isNodePort = vip.kind === 'node-port'
  const key = isNodePort ? `${protocol} . ${port}` : `${address} . ${protocol} . ${port}`
  const slots = slotSet(isNodePort ? 'nodeport' : 'vip', scope === 'local' ? 'local' : 'main')
  return [
    `map element: nft get element ${family} ${TABLE} ${isNodePort ? 'nodeports' : 'vips'} '{ ${key} }'`,
    `slots: nft list map ${family} ${TABLE} ${slots}, keys ${key} . SLOT`,
  ]
}

const IPVS_FLAG = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service' } as const

function ipvs({ question, servicePort, vip }: Carried): string[] {
  const { protocol, address, port } = question
  const set = IPVS_SET[vip.kind]
  return [
    `virtual server: ipvsadm -Ln ${IPVS_FLAG[protocol]} ${formatAddress(address, port)}`,
    `set: ipset list ${setName(vip.kind === 'node-port' ? `${set}-${protocol}` : set, servicePort.ipFamily)}`,
  ]
}

const IPVS_SET = {
  'cluster-ip': 'KUBE-CLUSTER-IP',
  'external-ip': 'KUBE-EXTERNAL-IP',
  'load-balancer-ip': 'KUBE-LOAD-BALANCER',
  'node-port': 'KUBE-NODE-PORT',
} as const
