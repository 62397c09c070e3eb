/**
 * Numbers for endpoints: what the kernel's map of endpoints and the connection marks know them by.
 * An endpoint of a Service port keeps its slot as long as it is there, also across a restart of the
 * program, because connections carry it.
 *
 * Slots are given out round and round, so that one comes back as late as possible, and never while
 * a connection still has it or the kernel's map may still have its element.
 */
import { createHash } from 'node:crypto'

import type { IpFamily } from '../../lib/ip-address.js'

/** NFT_USERDATA_MAXLEN leaves this much for a comment (libnftnl, NFTNL_SET_ELEM_COMMENT). */
const MAX_COMMENT_BYTES = 120

/** An element of the map: what a slot leads to, and for whom. */
export interface SlotElement {
  readonly slot: number
  readonly ip: string
  readonly port: number
  /** commentOf the Service port. */
  readonly comment: string
}

export interface SlotChanges {
  readonly added: readonly SlotElement[]
  readonly removed: readonly number[]
}

interface SlotEndpoint {
  readonly id: string
  readonly ip: string
  readonly port: number
}

/** What one Service port has: two lists in the same order. */
interface PortSlots {
  /** Sorted by id. */
  readonly endpoints: readonly SlotEndpoint[]
  readonly slots: number[]
}

const NO_SLOTS: PortSlots = { endpoints: [], slots: [] }
/** In PortSlots: there was none left. */
const NO_SLOT = 0

export class SlotTable {
  readonly #maxSlot: number
  readonly #isInUse: (slot: number) => boolean
  readonly #ports = new Map<string, PortSlots>()
  readonly #taken: Uint8Array
  /** What the kernel has from an earlier process and nobody has asked for yet: by `COMMENT ENDPOINT-ID`. */
  readonly #adoptable = new Map<string, SlotElement>()
  #size = 0
  /** Endpoints for which there was no slot left. */
  #without = 0
  #next = 1

  /** `isInUse`: whether connections still carry a slot. */
  constructor(maxSlot: number, isInUse: (slot: number) => boolean) {
    this.#maxSlot = maxSlot
    this.#isInUse = isInUse
    this.#taken = new Uint8Array(maxSlot + 1)
  }

  get size(): number {
    return this.#size
  }

  get capacity(): number {
    return this.#maxSlot
  }

  /** Notes what an earlier process has left; assign gives it to the same endpoints again. */
  adopt(elements: Iterable<SlotElement & { readonly id: string }>): void {
    for (const element of elements) {
      const { slot, comment, id } = element
      if (slot < 1 || slot > this.#maxSlot || this.#taken[slot] === 1) continue
      this.#taken[slot] = 1
      const key = `${comment} ${id}`
      // One endpoint with two slots: nobody will claim the other one.
      this.#adoptable.set(this.#adoptable.has(key) ? `${key} ${slot}` : key, element)
      this.#next = Math.max(this.#next, slot === this.#maxSlot ? 1 : slot + 1)
    }
  }

  /** Ends adoption: returns what no endpoint has claimed, to be removed and freed. */
  releaseUnclaimed(): SlotElement[] {
    const elements = [...this.#adoptable.values()]
    this.#adoptable.clear()
    return elements
  }

  /** The kernel has no elements for these any more: they may be given out again. */
  free(slots: readonly number[]): void {
    for (const slot of slots) this.#taken[slot] = 0
  }

  /**
   * Brings the slots of a Service port to its endpoints, which are sorted by id and whose list is kept,
   * so that a slot costs a number and no more. An endpoint for which there is no slot left
   * gets none: slotOf says undefined. Slots that it has no more are to be removed and freed.
   */
  assign(servicePortId: string, endpoints: readonly SlotEndpoint[]): SlotChanges {
    const before = this.#ports.get(servicePortId) ?? NO_SLOTS
    // In its full length at once: a list that grows keeps room for more.
    const after: PortSlots = { endpoints, slots: new Array<number>(endpoints.length) }
    const added: SlotElement[] = []
    const removed: number[] = []
    const comment = commentOf(servicePortId)
    let position = 0
    for (const [index, { id, ip, port }] of endpoints.entries()) {
      for (; (before.endpoints[position]?.id ?? id) < id; position++)
        keep(removed, before, position)
      const known = before.endpoints[position]?.id === id ? before.slots[position++] : NO_SLOT
      const isNew = known === undefined || known === NO_SLOT
      const slot = isNew ? (this.#claim(`${comment} ${id}`) ?? this.#take()) : known
      after.slots[index] = slot ?? NO_SLOT
      if (isNew && slot !== undefined) added.push({ slot, ip, port, comment })
    }
    for (; position < before.slots.length; position++) keep(removed, before, position)
    this.#size += added.length - removed.length
    this.#without += without(after) - without(before)
    if (endpoints.length === 0) this.#ports.delete(servicePortId)
    else this.#ports.set(servicePortId, after)
    return { added, removed }
  }

  slotOf(servicePortId: string, endpointId: string): number | undefined {
    const port = this.#ports.get(servicePortId)
    if (port === undefined) return undefined
    let [low, high] = [0, port.endpoints.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((port.endpoints[middle]?.id ?? '') < endpointId) low = middle + 1
      else high = middle
    }
    const slot = port.endpoints[low]?.id === endpointId ? port.slots[low] : NO_SLOT
    return slot === NO_SLOT ? undefined : slot
  }

  /** Each endpoint of a Service port that has a slot. */
  visit(servicePortId: string, visit: (endpointId: string, slot: number) => void): void {
    const { endpoints, slots } = this.#ports.get(servicePortId) ?? NO_SLOTS
    for (const [index, { id }] of endpoints.entries()) {
      const slot = slots[index] ?? NO_SLOT
      if (slot !== NO_SLOT) visit(id, slot)
    }
  }

  /** Whether every endpoint has a slot. */
  get isComplete(): boolean {
    return this.#without === 0
  }

  /** Every slot of a family. */
  elements(family: IpFamily): SlotElement[] {
    const elements: SlotElement[] = []
    for (const [servicePortId, { endpoints, slots }] of this.#ports) {
      if (!servicePortId.endsWith(`/${family}`)) continue
      const comment = commentOf(servicePortId)
      for (const [index, { ip, port }] of endpoints.entries()) {
        const slot = slots[index] ?? NO_SLOT
        if (slot !== NO_SLOT) elements.push({ slot, ip, port, comment })
      }
    }
    return elements
  }

  /** Ids of the Service ports that have slots. */
  servicePortIds(): Iterable<string> {
    return this.#ports.keys()
  }

  #claim(key: string): number | undefined {
    const slot = this.#adoptable.get(key)?.slot
    if (slot !== undefined) this.#adoptable.delete(key)
    return slot
  }

  #take(): number | undefined {
    for (let tries = 0; tries < this.#maxSlot; tries++) {
      const slot = this.#next
      this.#next = slot === this.#maxSlot ? 1 : slot + 1
      if (this.#taken[slot] === 1 || this.#isInUse(slot)) continue
      this.#taken[slot] = 1
      return slot
    }
    return undefined
  }
}

function without({ slots }: PortSlots): number {
  let count = 0
  for (const slot of slots) if (slot === NO_SLOT) count++
  return count
}

function keep(removed: number[], { slots }: PortSlots, position: number): void {
  const slot = slots[position] ?? NO_SLOT
  if (slot !== NO_SLOT) removed.push(slot)
}

/**
 * The comment of a Service port's elements: its id, or what fits of it, a hash of the whole, and its
 * end: `/TCP/IPv4`.
 */
export function commentOf(servicePortId: string): string {
  if (Buffer.byteLength(servicePortId) <= MAX_COMMENT_BYTES) return servicePortId
  const hash = createHash('sha256').update(servicePortId).digest('hex').slice(0, 16)
  const end = `~${hash}${/\/\w+\/\w+$/.exec(servicePortId)?.[0] ?? ''}`
  return servicePortId.slice(0, MAX_COMMENT_BYTES - end.length) + end
}
