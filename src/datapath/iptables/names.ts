/**
 * The names of chains in the nat table, the same as kube-proxy's for the same objects, so that rules
 * can be compared and its own left-overs are found. Source: kube-proxy pkg/proxy/iptables/proxier.go
 * (portProtoHash, servicePortEndpointChainName).
 */
import { createHash } from 'node:crypto'

import { servicePortName, type ServicePort } from '../../model/service-port.js'

/** The chains of a Service port, by what they are for. */
export interface PortChainNames {
  /** To the endpoints of a Cluster policy. */
  readonly cluster: string
  /** To the endpoints of a Local policy. */
  readonly local: string
  /** What comes to an external IP, load-balancer IP or node port. */
  readonly external: string
  /** Source ranges of load-balancer IPs. */
  readonly firewall: string
}

/** Chains that exist for single Service ports and endpoints: who finds one that it does not want may remove it. */
export const PORT_CHAIN_PATTERN = /^KUBE-(?:SVC|SVL|EXT|FW|SEP)-[A-Z2-7]{16}$/

/** Characters of the hash in a name: XT_EXTENSION_MAXNAMELEN leaves room for no more than 28. */
const HASH_LENGTH = 16
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

export function portChainNames(port: ServicePort): PortChainNames {
  const hash = hashOf(portKey(port))
  return {
    cluster: `KUBE-SVC-${hash}`,
    local: `KUBE-SVL-${hash}`,
    external: `KUBE-EXT-${hash}`,
    firewall: `KUBE-FW-${hash}`,
  }
}

/** @param endpointId `10.0.0.1:80`, `[fd00::1]:80` */
export function endpointChainName(port: ServicePort, endpointId: string): string {
  return `KUBE-SEP-${hashOf(portKey(port) + endpointId)}`
}

function portKey(port: ServicePort): string {
  return servicePortName(port) + port.protocol.toLowerCase()
}

/** The first characters of the SHA-256 in base 32 (RFC 4648, section 6). */
function hashOf(text: string): string {
  const digest = createHash('sha256').update(text).digest()
  let bits = 0n
  for (const byte of digest.subarray(0, (HASH_LENGTH * 5) / 8)) bits = (bits << 8n) | BigInt(byte)
  let name = ''
  for (let i = HASH_LENGTH - 1; i >= 0; i--) {
    name += ALPHABET[Number((bits >> BigInt(i * 5)) & 31n)] ?? ''
  }
  return name
}
