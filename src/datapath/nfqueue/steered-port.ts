/**
 * A Service port as the steering thread gets it: packed small enough that 250,000 endpoints cross
 * to it in one go, and unpacked when the first connection comes.
 */
import { familyOf, formatAddress } from '../../lib/ip-address.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ServicePortState } from '../../model/snapshot.js'
import { allowedSources, withoutPolicy } from '../../model/allowed-sources.js'
import type { Vip, VipKind } from '../../model/vip.js'
import { addressWords } from '../../packet/address-words.js'

/** One VIP of a Service port. */
export interface PackedVip {
  readonly kind: VipKind
  /** Undefined: a node port, at any address that the rules let through. */
  readonly address: string | undefined
  readonly port: number
  /** CIDR ranges of the sources that may come; undefined: all. */
  readonly allowedSources: readonly string[] | undefined
}

export interface PackedPort {
  readonly servicePort: ServicePort
  readonly hasAny: boolean
  /**
   * One line an endpoint: `IP SLOT FLAGS PORT WEIGHT`, see EndpointFlag; or just `IP`, which has the
   * slot after that of the line before and all else like it. Nearly all are.
   */
  readonly endpoints: string
  readonly vips: readonly PackedVip[]
}

export const EndpointFlag = { cluster: 1, local: 2, ready: 4 } as const

/** An endpoint with the number by which the kernel knows it. */
export interface SteeredEndpoint extends Endpoint {
  readonly slot: number
  readonly servicePortId: string
  readonly words: Uint32Array
}

/** Packs the endpoints that may get connections; `slotOf` numbers them, and what has no number stays out. */
export function packEndpoints(
  state: ServicePortState,
  slotOf: (endpoint: Endpoint) => number | undefined,
): string {
  const cluster = new Set(state.cluster)
  const local = new Set(state.local)
  let text = ''
  let expected = ''
  for (const endpoint of state.reachable) {
    const flags =
      (cluster.has(endpoint) ? EndpointFlag.cluster : 0) |
      (local.has(endpoint) ? EndpointFlag.local : 0) |
      (endpoint.isReady ? EndpointFlag.ready : 0)
    const { ip, port, weight } = endpoint
    const slot = slotOf(endpoint)
    if (slot === undefined) continue
    const rest = `${flags} ${port} ${weight}`
    text += `${slot} ${rest}` === expected ? `${ip}\n` : `${ip} ${slot} ${rest}\n`
    expected = `${slot + 1} ${rest}`
  }
  return text
}

/** The VIPs of a Service port with the sources that may come. `nodeIps`: canonical addresses of this node. */
export function packVips(
  state: ServicePortState,
  vips: readonly Vip[],
  nodeIps: readonly string[],
): readonly PackedVip[] {
  // Policies are the picker's: of what allowedSources says only the ranges matter here.
  const open = withoutPolicy(state)
  return vips.map(({ kind, address, port }) => {
    const sources = allowedSources(open, kind, { localSources: [], nodeIps })
    const texts = sources === 'all' ? undefined : sources.map(({ text }) => text)
    return { kind, address, port, allowedSources: texts }
  })
}

/** The state that an EndpointPicker takes. What nobody picks by (names, hints) is empty. */
export function unpackPort({ servicePort, hasAny, endpoints: text }: PackedPort): ServicePortState {
  const endpoints: SteeredEndpoint[] = []
  const cluster: SteeredEndpoint[] = []
  const local: SteeredEndpoint[] = []
  let [slot, flags, port, weight] = [0, 0, 0, 0]
  for (const line of text.split('\n')) {
    if (line === '') continue
    const [ip = '', ...rest] = line.split(' ')
    if (rest.length === 0) slot++
    else [slot = 0, flags = 0, port = 0, weight = 0] = rest.map(Number)
    const isReady = (flags & EndpointFlag.ready) !== 0
    const endpoint: SteeredEndpoint = {
      id: formatAddress(ip, port),
      ip,
      port,
      slot,
      servicePortId: servicePort.id,
      words: addressWords(ip),
      isLocal: (flags & EndpointFlag.local) !== 0,
      isReady,
      isServing: true,
      isTerminating: !isReady,
      weight,
      zoneHints: [],
      nodeHints: [],
      nodeName: undefined,
      zone: undefined,
      podName: undefined,
    }
    endpoints.push(endpoint)
    if ((flags & EndpointFlag.cluster) !== 0) cluster.push(endpoint)
    if ((flags & EndpointFlag.local) !== 0) local.push(endpoint)
  }
  return { servicePort, endpoints, cluster, local, reachable: endpoints, hasAny }
}

/** 4 or 6. */
export function familyNumber(ip: string): number {
  return familyOf(ip) === 'IPv4' ? 4 : 6
}
