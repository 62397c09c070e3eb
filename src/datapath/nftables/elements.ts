/**
 * Elements of sets and maps in packed form: one byte array of keys, one of data, no object for each.
 * The records are those of nf_tables: each field padded to 4 bytes (tables.ts).
 */
import { endianness } from 'node:os'

import { ADDRESS_BYTES, writeAddress } from '../../lib/address-bytes.js'
import type { IpFamily, IpRange } from '../../lib/ip-address.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { Protocol } from '../../model/service-port.js'
import { packedLength, specOf, type SetName } from './tables.js'

/** Of one set; records of all arrays are in the same order. */
export interface Elements {
  readonly count: number
  readonly keys: Uint8Array
  /** Last key of each interval, of a set with ranges. */
  readonly keyEnds?: Uint8Array
  /** Of a map of values. */
  readonly data?: Uint8Array
  /** Of a map of verdicts: index in the chains of the set. */
  readonly chains?: Uint32Array
}

const PROTOCOL_NUMBER: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 }
const IS_LITTLE_ENDIAN = endianness() === 'LE'
const FIELD_BYTES = 4

/** Packed address, protocol and port of a VIP, or protocol and port of a node port. */
export function packDestination(
  family: IpFamily,
  address: string | undefined,
  protocol: Protocol,
  port: number,
): Uint8Array {
  const addressBytes = address === undefined ? 0 : ADDRESS_BYTES[family]
  const key = new Uint8Array(addressBytes + 2 * FIELD_BYTES)
  if (address !== undefined) writeAddress(key, 0, address, family)
  key[addressBytes] = PROTOCOL_NUMBER[protocol]
  writePort(key, addressBytes + FIELD_BYTES, port)
  return key
}

/** Packed address and port of each endpoint. */
function packEndpoints(endpoints: readonly Endpoint[], family: IpFamily): Uint8Array {
  const addressBytes = ADDRESS_BYTES[family]
  const stride = addressBytes + FIELD_BYTES
  const packed = new Uint8Array(endpoints.length * stride)
  let offset = 0
  for (const { ip, port } of endpoints) {
    writeAddress(packed, offset, ip, family)
    writePort(packed, offset + addressBytes, port)
    offset += stride
  }
  return packed
}

/** The slots 0..n-1 of a destination, each with its endpoint. */
export function slotElements(
  destination: Uint8Array,
  endpoints: readonly Endpoint[],
  family: IpFamily,
): Elements {
  return new SlotElements(destination, endpoints, family)
}

/** Packed when it is asked for: at a change, for one Service port; there may be 250,000 endpoints. */
class SlotElements implements Elements {
  readonly #destination: Uint8Array
  readonly #endpoints: readonly Endpoint[]
  readonly #family: IpFamily

  constructor(destination: Uint8Array, endpoints: readonly Endpoint[], family: IpFamily) {
    this.#destination = destination
    this.#endpoints = endpoints
    this.#family = family
  }

  get count(): number {
    return this.#endpoints.length
  }

  get data(): Uint8Array {
    return packEndpoints(this.#endpoints, this.#family)
  }

  get keys(): Uint8Array {
    const { length } = this.#destination
    const stride = length + FIELD_BYTES
    const keys = new Uint8Array(this.count * stride)
    const view = new DataView(keys.buffer)
    for (let slot = 0; slot < this.count; slot++) {
      keys.set(this.#destination, slot * stride)
      view.setUint32(slot * stride + length, slot, IS_LITTLE_ENDIAN)
    }
    return keys
  }
}

/** One connection from each endpoint to itself. */
export function hairpinElements(
  endpoints: readonly Endpoint[],
  family: IpFamily,
  protocol: Protocol,
): Elements {
  const addressBytes = ADDRESS_BYTES[family]
  const stride = 2 * (addressBytes + FIELD_BYTES)
  const keys = new Uint8Array(endpoints.length * stride)
  let offset = 0
  for (const { ip, port } of endpoints) {
    writeAddress(keys, offset, ip, family)
    keys.copyWithin(offset + addressBytes, offset, offset + addressBytes)
    keys[offset + 2 * addressBytes] = PROTOCOL_NUMBER[protocol]
    writePort(keys, offset + 2 * addressBytes + FIELD_BYTES, port)
    offset += stride
  }
  return { count: endpoints.length, keys }
}

/** A destination with each range of sources; the ranges are disjoint. */
export function rangeElements(destination: Uint8Array, ranges: readonly IpRange[]): Elements {
  const stride = destination.length + (ranges[0]?.bytes.length ?? 0)
  const keys = new Uint8Array(ranges.length * stride)
  const keyEnds = new Uint8Array(ranges.length * stride)
  ranges.forEach(({ bytes, prefixLength }, index) => {
    const offset = index * stride
    for (const target of [keys, keyEnds]) {
      target.set(destination, offset)
      target.set(bytes, offset + destination.length)
    }
    for (let bit = prefixLength; bit < bytes.length * 8; bit++) {
      const at = offset + destination.length + (bit >> 3)
      keyEnds[at] = (keyEnds[at] ?? 0) | (0x80 >> (bit & 7))
    }
  })
  return { count: ranges.length, keys, keyEnds }
}

/** Addresses alone. */
export function addressElements(addresses: readonly string[], family: IpFamily): Elements {
  const stride = ADDRESS_BYTES[family]
  const keys = new Uint8Array(addresses.length * stride)
  addresses.forEach((address, index) => {
    writeAddress(keys, index * stride, address, family)
  })
  return { count: addresses.length, keys }
}

/** The elements of several parts of one set, in their order. */
export function joinElements(parts: readonly Elements[]): Elements {
  const [first] = parts
  if (first !== undefined && parts.length === 1) return first
  const count = parts.reduce((sum, part) => sum + part.count, 0)
  const chains = new Uint32Array(first?.chains === undefined ? 0 : count)
  let index = 0
  for (const part of parts) {
    if (part.chains !== undefined) chains.set(part.chains, index)
    index += part.count
  }
  return {
    count,
    keys: joinBytes(parts.map(({ keys }) => keys)),
    ...(first?.keyEnds && { keyEnds: joinBytes(parts.map(({ keyEnds }) => keyEnds ?? NOTHING)) }),
    ...(first?.data && { data: joinBytes(parts.map(({ data }) => data ?? NOTHING)) }),
    ...(first?.chains && { chains }),
  }
}

/**
 * What turns `before` into `after`, both of one set and with unique keys. An element whose data or
 * chain changed is both removed and added.
 */
export function diffElements(
  name: SetName,
  family: IpFamily,
  before: Elements,
  after: Elements,
): { readonly removed: Elements; readonly added: Elements } {
  const stride = packedLength(specOf(name).key, family)
  const [left, right] = [packed(before), packed(after)]
  const old = new Map<string, number>()
  for (let index = 0; index < left.count; index++) old.set(keyAt(left, index, stride), index)
  const added: number[] = []
  for (let index = 0; index < right.count; index++) {
    const key = keyAt(right, index, stride)
    const match = old.get(key)
    if (match !== undefined && sameValue(left, match, right, index)) old.delete(key)
    else added.push(index)
  }
  return { removed: pick(left, [...old.values()]), added: pick(right, added) }
}

/** Packed once, where each look would do it. */
function packed(elements: Elements): Elements {
  if (!(elements instanceof SlotElements)) return elements
  const { count, keys, data } = elements
  return { count, keys, data }
}

/** Those elements, by index. */
export function pick(elements: Elements, indexes: readonly number[]): Elements {
  const { count, keys, keyEnds, data, chains } = elements
  if (indexes.length === count) return elements
  return {
    count: indexes.length,
    keys: pickBytes(keys, count, indexes),
    ...(keyEnds && { keyEnds: pickBytes(keyEnds, count, indexes) }),
    ...(data && { data: pickBytes(data, count, indexes) }),
    ...(chains && { chains: Uint32Array.from(indexes, (index) => chains[index] ?? 0) }),
  }
}

/** The key of an element as text, one character a byte: for maps and sets. */
export function keyAt({ keys, keyEnds }: Elements, index: number, stride: number): string {
  const start = latin1(keys, index * stride, stride)
  return keyEnds === undefined ? start : start + latin1(keyEnds, index * stride, stride)
}

const NOTHING = new Uint8Array()

function latin1(bytes: Uint8Array, offset: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, length).toString('latin1')
}

function sameValue(a: Elements, i: number, b: Elements, j: number): boolean {
  if (a.chains?.[i] !== b.chains?.[j]) return false
  if (a.data === undefined || b.data === undefined) return a.data === b.data
  const stride = a.data.length / a.count
  for (let byte = 0; byte < stride; byte++) {
    if (a.data[i * stride + byte] !== b.data[j * stride + byte]) return false
  }
  return true
}

function pickBytes(bytes: Uint8Array, count: number, indexes: readonly number[]): Uint8Array {
  const stride = bytes.length / Math.max(1, count)
  const picked = new Uint8Array(indexes.length * stride)
  indexes.forEach((index, position) => {
    picked.set(bytes.subarray(index * stride, (index + 1) * stride), position * stride)
  })
  return picked
}

function joinBytes(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

function writePort(target: Uint8Array, offset: number, port: number): void {
  target[offset] = port >> 8
  target[offset + 1] = port & 0xff
}
