/**
 * The VIPs by destination of a packet, and the Service ports behind them. Told of changes only; a
 * Service port is unpacked for the picker when its first connection comes, and again after a change.
 */
import { parseIpRange } from '../../lib/ip-address.js'
import type { ServicePort } from '../../model/service-port.js'
import type { ServicePortState } from '../../model/snapshot.js'
import type { VipKind } from '../../model/vip.js'
import {
  addressWords,
  isInRanges,
  type RangeWords,
  rangeWords,
} from '../../packet/address-words.js'
import { IpProtocol, PacketWord } from '../../packet/packet-word.js'
import { WordMap } from '../../packet/word-map.js'
import type { EndpointPicker } from '../../policy/endpoint-picker.js'
import {
  type PackedPort,
  type PackedVip,
  type SteeredEndpoint,
  unpackPort,
} from './steered-port.js'

/** address (4 words), protocol << 16 | port, family. A node port has no address. */
const KEY_WORDS = 6

export interface VipEntry {
  /** Never used again for another VIP. */
  readonly id: number
  readonly kind: VipKind
  readonly port: PortEntry
  readonly allowedSources: readonly RangeWords[] | undefined
}

export interface PortEntry {
  readonly id: string
  readonly servicePort: ServicePort
  packed: PackedPort | undefined
  state: ServicePortState | undefined
  vips: readonly { readonly entry: VipEntry; readonly key: Uint32Array }[]
}

const PROTOCOLS: Readonly<Record<ServicePort['protocol'], number>> = {
  TCP: IpProtocol.tcp,
  UDP: IpProtocol.udp,
  SCTP: IpProtocol.sctp,
}

export class VipTable {
  readonly #picker: EndpointPicker
  readonly #ids = new WordMap(KEY_WORDS)
  readonly #entries = new Map<number, VipEntry>()
  readonly #ports = new Map<string, PortEntry>()
  /** Whose a slot is, up to the highest one that is known. */
  readonly #slots: (SteeredEndpoint | undefined)[] = []
  readonly #key = new Uint32Array(KEY_WORDS)
  #nextId = 0

  constructor(picker: EndpointPicker) {
    this.#picker = picker
  }

  get size(): number {
    return this.#entries.size
  }

  /** Adds or replaces a Service port with its VIPs. Their ids stay when they are the same. */
  set(packed: PackedPort): void {
    const { id } = packed.servicePort
    const before = this.#ports.get(id)
    const entry: PortEntry = {
      id,
      servicePort: packed.servicePort,
      packed,
      state: undefined,
      vips: [],
    }
    entry.vips = packed.vips.map((vip) => this.#addVip(vip, entry))
    if (before !== undefined) {
      this.#forgetVips(before)
      this.#forgetSlots(before)
    }
    this.#ports.set(id, entry)
    // In use: the picker must not choose what has gone, so it is told at once.
    if (before?.state !== undefined) this.#unpack(entry)
  }

  remove(id: string): void {
    const entry = this.#ports.get(id)
    if (entry === undefined) return
    this.#forgetVips(entry)
    this.#forgetSlots(entry)
    this.#ports.delete(id)
    this.#picker.remove(id)
  }

  /** The VIP that a packet goes to, at its address else as a node port. */
  find(records: Uint32Array, base: number): VipEntry | undefined {
    const key = this.#key
    for (let i = 0; i < 4; i++) key[i] = records[base + PacketWord.destination + i] ?? 0
    const port = records[base + PacketWord.destinationPort] ?? 0
    key[4] = ((records[base + PacketWord.protocol] ?? 0) << 16) | port
    key[5] = records[base + PacketWord.family] ?? 0
    let id = this.#ids.get(key, 0)
    if (id < 0) {
      key.fill(0, 0, 4)
      id = this.#ids.get(key, 0)
    }
    return this.#entries.get(id)
  }

  byId(id: number): VipEntry | undefined {
    return this.#entries.get(id)
  }

  /** The state of the VIP's Service port, known to the picker from now on. */
  unpacked({ port }: VipEntry): ServicePortState {
    return port.state ?? this.#unpack(port)
  }

  /** The endpoint in a slot, when it is one of this VIP's Service port. */
  endpointAt(vip: VipEntry, slot: number): SteeredEndpoint | undefined {
    this.unpacked(vip)
    const endpoint = this.#slots[slot]
    return endpoint?.servicePortId === vip.port.id ? endpoint : undefined
  }

  /** The endpoint in a slot; undefined when it has gone, or its Service port had no connection yet. */
  endpointOf(slot: number): SteeredEndpoint | undefined {
    return this.#slots[slot]
  }

  /** How long the endpoint's Service port keeps a client with it; undefined: it does not. */
  affinityTimeoutSeconds({ servicePortId }: SteeredEndpoint): number | undefined {
    return this.#ports.get(servicePortId)?.servicePort.affinityTimeoutSeconds
  }

  /** The picker knows the Service port from now on; false: there is none. */
  unpackPort(id: string): boolean {
    const port = this.#ports.get(id)
    if (port !== undefined && port.state === undefined) this.#unpack(port)
    return port !== undefined
  }

  /** Unpacks every Service port with session affinity, so that endpointOf knows its endpoints. */
  unpackSticky(): void {
    for (const port of this.#ports.values()) {
      if (port.servicePort.affinityTimeoutSeconds !== undefined && !port.state) this.#unpack(port)
    }
  }

  #unpack(entry: PortEntry): ServicePortState {
    const packed = entry.packed
    if (packed === undefined) throw new Error(`unpacked twice: ${entry.id}`)
    const state = unpackPort(packed)
    for (const endpoint of state.endpoints as readonly SteeredEndpoint[]) {
      // Without gaps, or V8 makes a hash table of the array.
      while (this.#slots.length <= endpoint.slot) this.#slots.push(undefined)
      this.#slots[endpoint.slot] = endpoint
    }
    entry.packed = undefined
    entry.state = state
    this.#picker.set(entry.id, state)
    return state
  }

  #addVip(
    { kind, address, port, allowedSources }: PackedVip,
    entry: PortEntry,
  ): PortEntry['vips'][number] {
    const { protocol, ipFamily } = entry.servicePort
    const key = new Uint32Array(KEY_WORDS)
    if (address !== undefined) key.set(addressWords(address))
    key[4] = (PROTOCOLS[protocol] << 16) | port
    key[5] = ipFamily === 'IPv4' ? 4 : 6
    const known = this.#ids.get(key, 0)
    const id = known >= 0 ? known : this.#nextId++
    const ranges = allowedSources?.map(parseIpRange).filter((range) => range !== undefined)
    const made: VipEntry = { id, kind, port: entry, allowedSources: ranges?.map(rangeWords) }
    this.#ids.set(key, 0, id)
    this.#entries.set(id, made)
    return { entry: made, key }
  }

  /** The slots of a port are nobody's, but for those that another one has got meanwhile. */
  #forgetSlots({ state }: PortEntry): void {
    for (const endpoint of (state?.endpoints ?? []) as readonly SteeredEndpoint[]) {
      if (this.#slots[endpoint.slot] === endpoint) this.#slots[endpoint.slot] = undefined
    }
  }

  /** The VIPs of a port leave, but for those that another one has taken over meanwhile. */
  #forgetVips(port: PortEntry): void {
    for (const { entry, key } of port.vips) {
      if (this.#entries.get(entry.id)?.port !== port) continue
      this.#entries.delete(entry.id)
      this.#ids.delete(key, 0)
    }
  }
}

/** Whether the client of the packet at `base` may come to the VIP. */
export function isAllowed(
  { allowedSources }: VipEntry,
  records: Uint32Array,
  base: number,
): boolean {
  if (allowedSources === undefined) return true
  const family = records[base + PacketWord.family] ?? 4
  return isInRanges(allowedSources, family, records, base + PacketWord.source)
}
