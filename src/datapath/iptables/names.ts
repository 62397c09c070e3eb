/**
 * The names of chains in the nat table, the same as kube-proxy's for the same objects, so that rules
 * can be compared and its own left-overs are found. Source: kube-proxy pkg/proxy/iptables/proxier.go
 * (portProtoHash, servicePortEndpointChainName).
 */
import { hash } from 'node:crypto'

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

/** Sixteen characters of the hash: XT_EXTENSION_MAXNAMELEN leaves room for no more than 28 in a name. */
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
  return endpointChainNamer(port)(endpointId)
}

/** The same for many endpoints of one port. */
export function endpointChainNamer(port: ServicePort): (endpointId: string) => string {
  const key = portKey(port)
  return (endpointId) => `KUBE-SEP-${hashOf(key + endpointId)}`
}

function portKey(port: ServicePort): string {
  return servicePortName(port) + port.protocol.toLowerCase()
}

/**
 * The first characters of the SHA-256 in base 32 (RFC 4648, section 6): 80 bits, five bytes make eight
 * of them. A large cluster has a hundred thousand names, so there is no object on the way.
 */
function hashOf(text: string): string {
  const digest = hash('sha256', text, 'binary')
  return fiveBytes(digest, 0) + fiveBytes(digest, 5)
}

/** @param bytes one a character */
function fiveBytes(bytes: string, at: number): string {
  const byte = (index: number): number => bytes.charCodeAt(at + index)
  const high = (byte(0) << 12) | (byte(1) << 4) | (byte(2) >> 4)
  const low = ((byte(2) & 15) << 16) | (byte(3) << 8) | byte(4)
  return pair(high >> 10) + pair(high & 1023) + pair(low >> 10) + pair(low & 1023)
}

/** Two characters for ten bits. */
const PAIRS: readonly string[] = Array.from(
  { length: ALPHABET.length ** 2 },
  (_, bits) => `${ALPHABET[bits >> 5] ?? ''}${ALPHABET[bits & 31] ?? ''}`,
)

function pair(bits: number): string {
  return PAIRS[bits] ?? ''
}
