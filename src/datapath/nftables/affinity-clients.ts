/**
 * Which remembered clients of session affinity must be forgotten: those whose endpoint their VIP no
 * longer leads to. The kernel adds entries by itself, so they are read from it, and only when a
 * Service port with affinity has changed. Pure.
 */
import { keyAt, type Elements } from './elements.js'
import { AFFINITY_MAP } from './affinity-rules.js'
import type { ElementOperation } from './layout-diff.js'
import type { Layout, LayoutPart } from './layout.js'
import { TABLE } from './tables.js'

/** What the kernel has: packed client, VIP, protocol and port, and the packed endpoint of each. */
export interface AffinityEntries {
  readonly count: number
  readonly keyLength: number
  readonly keys: Uint8Array
  readonly dataLength: number
  readonly data: Uint8Array
}

/** Packed, as text: endpoints that a VIP (address, protocol, port) or node port may lead to. */
export type AllowedEndpoints = ReadonlyMap<string, ReadonlySet<string>>

const CLIENT_BYTES = 4
const ADDRESS_BYTES = 4
const PROTOCOL_AND_PORT_BYTES = 8
const VIP_BYTES = ADDRESS_BYTES + PROTOCOL_AND_PORT_BYTES
const DATA_BYTES = 8
const SLOT_SETS = [
  'vip-slots',
  'vip-local-slots',
  'nodeport-slots',
  'nodeport-local-slots',
] as const

/** Of every VIP with affinity that is not the same in both; empty when there is nothing to do. */
export function changedAffinity(before: Layout | undefined, after: Layout): AllowedEndpoints {
  const allowed = new Map<string, Set<string>>()
  if (after.family === 'IPv6') return allowed
  const visit = (old: LayoutPart | undefined, part: LayoutPart | undefined): void => {
    const doors = vipKeys(part)
    for (const key of [...vipKeys(old), ...doors]) allowed.set(key, new Set())
    // Under another policy a client that is known may be one that must go elsewhere.
    if (doors.length === 0 || part === undefined || hasOtherPolicy(old, part)) return
    for (const name of SLOT_SETS) {
      const slots = part.elements.get(name)
      if (slots !== undefined) addSlots(allowed, slots)
    }
  }
  if (before === undefined) {
    for (const part of after.parts.values()) visit(undefined, part)
  } else {
    for (const change of before.parts.differences(after.parts)) visit(change.before, change.after)
  }
  return allowed
}

/** The entries that lead where their VIP does not, as an operation; undefined when there are none. */
export function staleClients(
  entries: AffinityEntries,
  allowed: AllowedEndpoints,
): ElementOperation | undefined {
  const stale: number[] = []
  const { keys, data } = entries
  for (let index = 0; index < entries.count; index++) {
    const at = index * entries.keyLength + CLIENT_BYTES
    const vip = textOf(keys, at, VIP_BYTES)
    const endpoints = allowed.get(vip) ?? allowed.get(vip.slice(ADDRESS_BYTES))
    if (endpoints?.has(textOf(data, index * entries.dataLength, DATA_BYTES)) === false) {
      stale.push(index)
    }
  }
  if (stale.length === 0) return undefined
  const { keyLength } = entries
  const gone = new Uint8Array(stale.length * keyLength)
  stale.forEach((index, position) => {
    gone.set(keys.subarray(index * keyLength, (index + 1) * keyLength), position * keyLength)
  })
  return {
    op: 'delete',
    family: 'IPv4',
    table: TABLE,
    set: AFFINITY_MAP,
    keyLength,
    keys: gone,
    dataLength: 0,
  }
}

/** Keys of the doors of a part that has affinity. */
function vipKeys(part: LayoutPart | undefined): string[] {
  const vips = part?.elements.get('vip-timeouts')
  const nodePorts = part?.elements.get('nodeport-timeouts')
  return [...keysOf(vips, VIP_BYTES), ...keysOf(nodePorts, PROTOCOL_AND_PORT_BYTES)]
}

function keysOf(elements: Elements | undefined, stride: number): string[] {
  if (elements === undefined) return []
  return Array.from({ length: elements.count }, (_, index) => keyAt(elements, index, stride))
}

function addSlots(allowed: Map<string, Set<string>>, slots: Elements): void {
  const { keys, data, count } = slots
  const stride = keys.length / count
  for (let index = 0; index < count; index++) {
    const door = textOf(keys, index * stride, stride - 4)
    if (data !== undefined) {
      allowed.get(door)?.add(textOf(data, index * DATA_BYTES, DATA_BYTES))
    }
  }
}

function hasOtherPolicy(old: LayoutPart | undefined, part: LayoutPart): boolean {
  const [before, after] = [old?.state?.servicePort, part.state?.servicePort]
  if (before === undefined || after === undefined) return false
  return (
    before.externalPolicyLocal !== after.externalPolicyLocal ||
    before.internalPolicyLocal !== after.internalPolicyLocal
  )
}

function textOf(bytes: Uint8Array, offset: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + offset, length).toString('latin1')
}
