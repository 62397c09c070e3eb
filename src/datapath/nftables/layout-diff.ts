/**
 * From layouts to element operations: all elements of one, or what turns one into another. Each
 * list is for one atomic transaction, in its order: what goes comes before what is added, because
 * an element that changes, or moves to another Service port, does both.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import { diffElements, joinElements, keyAt, pick, type Elements } from './elements.js'
import type { Layout } from './layout.js'
import { packedLength, SET_NAMES, specOf, TABLE, type SetName } from './tables.js'

export interface ElementOperation {
  readonly op: 'add' | 'delete' | 'flush'
  readonly family: IpFamily
  readonly table: string
  readonly set: string
  /** Bytes of a key. */
  readonly keyLength: number
  /** Packed records; empty for flush. */
  readonly keys: Uint8Array
  /** Last keys, of sets of intervals. */
  readonly keyEnds?: Uint8Array
  /** Bytes of an element's data; 0 for sets and verdict maps. */
  readonly dataLength: number
  readonly data?: Uint8Array
  /** Of verdict maps: `goto` names[indexes[i]]. */
  readonly verdicts?: { readonly names: readonly string[]; readonly indexes: Uint32Array }
}

/** Replaces whatever the sets hold by the elements of the layout. */
export function replaceAll(layout: Layout): ElementOperation[] {
  const { family } = layout
  const flushes = SET_NAMES.map((name): ElementOperation => ({
    op: 'flush',
    family,
    table: TABLE,
    set: name,
    keyLength: packedLength(specOf(name).key, family),
    keys: new Uint8Array(),
    dataLength: 0,
  }))
  return [...flushes, ...allElements(layout)]
}

/** The elements of the layout, for sets that are empty. */
export function allElements(layout: Layout): ElementOperation[] {
  const changes = new Changes()
  for (const part of layout.parts.values()) {
    for (const [name, elements] of part.elements) changes.add(name, elements)
  }
  return changes.operations(layout)
}

/** What turns `before` into `after`, both of one family and skeleton. Empty when nothing does. */
export function diffLayouts(before: Layout, after: Layout): ElementOperation[] {
  const changes = new Changes()
  for (const { before: old, after: part } of before.parts.differences(after.parts)) {
    for (const name of new Set([
      ...(old?.elements.keys() ?? []),
      ...(part?.elements.keys() ?? []),
    ])) {
      changes.change(name, after.family, old?.elements.get(name), part?.elements.get(name))
    }
  }
  return changes.operations(after)
}

const NONE: Elements = { count: 0, keys: new Uint8Array() }

class Changes {
  readonly #removed = new Map<SetName, Elements[]>()
  readonly #added = new Map<SetName, Elements[]>()

  add(name: SetName, elements: Elements): void {
    push(this.#added, name, elements)
  }

  remove(name: SetName, elements: Elements): void {
    push(this.#removed, name, elements)
  }

  change(
    name: SetName,
    family: IpFamily,
    before: Elements | undefined,
    after: Elements | undefined,
  ): void {
    if (before === undefined) this.add(name, after ?? NONE)
    else if (after === undefined) this.remove(name, before)
    else {
      const { removed, added } = diffElements(name, family, before, after)
      this.remove(name, removed)
      this.add(name, added)
    }
  }

  operations(layout: Layout): ElementOperation[] {
    const operations: ElementOperation[] = []
    for (const name of SET_NAMES) {
      const all = joinElements(this.#removed.get(name) ?? [])
      const gone = name === 'hairpin-connections' ? withoutHeld(all, layout) : all
      if (gone.count > 0) operations.push(operationOf('delete', name, layout.family, gone))
    }
    for (const name of SET_NAMES) {
      const parts = this.#added.get(name) ?? []
      const all =
        name === 'hairpin-connections' ? unique(parts, layout.family) : joinElements(parts)
      if (all.count > 0) operations.push(operationOf('add', name, layout.family, all))
    }
    return operations
  }
}

function push(into: Map<SetName, Elements[]>, name: SetName, elements: Elements): void {
  if (elements.count === 0) return
  const parts = into.get(name)
  if (parts === undefined) into.set(name, [elements])
  else parts.push(elements)
}

const HAIRPIN = 'hairpin-connections'

/**
 * Several Service ports may have the same endpoint, and this set does not tell them apart: an
 * element goes with the last of them. Adding one that is there changes nothing.
 */
function withoutHeld(removed: Elements, layout: Layout): Elements {
  if (removed.count === 0) return removed
  const stride = packedLength(specOf(HAIRPIN).key, layout.family)
  const gone = new Map<string, number>()
  for (let index = 0; index < removed.count; index++) {
    gone.set(keyAt(removed, index, stride), index)
  }
  for (const { elements } of layout.parts.values()) {
    const held = elements.get(HAIRPIN)
    if (held === undefined) continue
    for (let index = 0; index < held.count; index++) gone.delete(keyAt(held, index, stride))
  }
  return pick(removed, [...gone.values()])
}

function unique(parts: readonly Elements[], family: IpFamily): Elements {
  const all = joinElements(parts)
  const stride = packedLength(specOf(HAIRPIN).key, family)
  const first = new Map<string, number>()
  for (let index = 0; index < all.count; index++) first.set(keyAt(all, index, stride), index)
  return pick(all, [...first.values()])
}

function operationOf(
  op: 'add' | 'delete',
  name: SetName,
  family: IpFamily,
  { keys, keyEnds, data, chains }: Elements,
): ElementOperation {
  const spec = specOf(name)
  const isAdd = op === 'add'
  return {
    op,
    family,
    table: TABLE,
    set: name,
    keyLength: packedLength(spec.key, family),
    keys,
    ...(keyEnds && { keyEnds }),
    dataLength: isAdd && spec.data !== undefined ? packedLength(spec.data, family) : 0,
    ...(isAdd && data && { data }),
    ...(isAdd && chains && spec.chains && { verdicts: { names: spec.chains, indexes: chains } }),
  }
}
