/**
 * The map of endpoints in the nftables table: slot to address and port. Steering's only state in
 * nf_tables; the table itself and everything else in it are the standby's.
 */
import { ADDRESS_BYTES, writeAddress } from '../../lib/address-bytes.js'
import { formatAddress, type IpFamily, printAddress } from '../../lib/ip-address.js'
import type { Netfilter } from '../../kernel/netfilter.js'
import type { ElementDump, ElementOperation } from '../../kernel/netfilter-addon-types.js'
import { KernelError } from '../../lib/errors.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import { slotOf } from '../../packet/mark-layout.js'
import { TABLE } from '../nftables/tables.js'
import type { SlotElement } from './slot-table.js'

export const ENDPOINTS_MAP = 'endpoints'
const KEY_LENGTH = 4

/** What an earlier process has left; `id` is the endpoint's. */
export type AdoptedElement = SlotElement & { readonly id: string }

/** Where the endpoints of slots are kept in the kernel: nftables, or iptables-endpoint-map.ts. */
export interface EndpointMap {
  /** Slots that it can hold: 1 to this one. */
  readonly capacity: number
  /** What is there from an earlier process. Throws KernelError or SluiceError, as all of them. */
  read(): Promise<readonly AdoptedElement[]>
  add(elements: readonly SlotElement[]): Promise<void>
  /** What it held is lost: these are all that it is to hold. */
  fill(elements: readonly SlotElement[]): Promise<void>
  remove(slots: readonly number[]): Promise<void>
  /** Looks whether all of it is still there, unless the standby has seen to that. */
  isIntact(): Promise<boolean>
}

export class NftablesEndpointMap implements EndpointMap {
  readonly capacity: number
  readonly #netfilter: Netfilter
  readonly #family: IpFamily
  readonly #layout: MarkLayout

  constructor(netfilter: Netfilter, family: IpFamily, layout: MarkLayout) {
    this.#netfilter = netfilter
    this.#family = family
    this.#layout = layout
    this.capacity = layout.maxSlot
  }

  read(): Promise<readonly AdoptedElement[]> {
    return Promise.resolve(this.#read())
  }

  #read(): readonly AdoptedElement[] {
    const dump = this.#dump()
    if (dump === undefined) return []
    const { count, keys, data, dataLength, comments, commentEnds } = dump
    const addressLength = ADDRESS_BYTES[this.#family]
    const keyView = new DataView(keys.buffer, keys.byteOffset)
    const dataView = new DataView(data.buffer, data.byteOffset)
    const text = Buffer.from(comments)
    const elements: AdoptedElement[] = []
    if (count > 0 && dataLength !== addressLength + 4) return elements
    for (let i = 0; i < count; i++) {
      const slot = slotOf(this.#layout, keyView.getUint32(i * KEY_LENGTH, IS_LITTLE_ENDIAN))
      const at = i * dataLength
      const ip = printAddress(data.subarray(at, at + addressLength))
      const port = dataView.getUint16(at + addressLength)
      const comment = text.toString('utf8', i === 0 ? 0 : commentEnds[i - 1], commentEnds[i])
      elements.push({ slot, ip, port, comment, id: formatAddress(ip, port) })
    }
    return elements
  }

  /** Undefined without a table. */
  #dump(): ElementDump | undefined {
    try {
      return this.#netfilter.dumpElements(this.#family, TABLE, ENDPOINTS_MAP)
    } catch (error) {
      if (error instanceof KernelError && error.errnoName === 'ENOENT') return undefined
      throw error
    }
  }

  add(elements: readonly SlotElement[]): Promise<void> {
    if (elements.length > 0) this.#netfilter.changeElements([this.#addition(elements)])
    return Promise.resolve()
  }

  /** In one transaction: a packet finds what there was or what there is to be. */
  fill(elements: readonly SlotElement[]): Promise<void> {
    const flush: ElementOperation = { ...this.#operation(0, new Uint8Array()), verb: 'flush' }
    this.#netfilter.changeElements([
      flush,
      ...(elements.length > 0 ? [this.#addition(elements)] : []),
    ])
    return Promise.resolve()
  }

  isIntact(): Promise<boolean> {
    return Promise.resolve(true)
  }

  remove(slots: readonly number[]): Promise<void> {
    if (slots.length === 0) return Promise.resolve()
    const { keys } = this.#keys(slots)
    this.#netfilter.changeElements([{ ...this.#operation(slots.length, keys), verb: 'delete' }])
    return Promise.resolve()
  }

  #addition(elements: readonly SlotElement[]): ElementOperation {
    const addressLength = ADDRESS_BYTES[this.#family]
    const dataLength = addressLength + 4
    const data = new Uint8Array(elements.length * dataLength)
    const view = new DataView(data.buffer)
    const commentEnds = new Uint32Array(elements.length)
    let text = ''
    for (const [i, { ip, port, comment }] of elements.entries()) {
      writeAddress(data, i * dataLength, ip, this.#family)
      view.setUint16(i * dataLength + addressLength, port)
      text += comment
      // Names of Kubernetes objects are ASCII: characters are bytes.
      commentEnds[i] = text.length
    }
    const { keys } = this.#keys(elements.map(({ slot }) => slot))
    return {
      ...this.#operation(elements.length, keys),
      dataLength,
      data,
      comments: Buffer.from(text, 'latin1'),
      commentEnds,
    }
  }

  #operation(count: number, keys: Uint8Array): ElementOperation {
    const family = this.#family
    return {
      verb: 'add',
      family,
      table: TABLE,
      set: ENDPOINTS_MAP,
      count,
      keyLength: KEY_LENGTH,
      keys,
      dataLength: 0,
    }
  }

  /** Marks are in host order in nf_tables. */
  #keys(slots: readonly number[]): { keys: Uint8Array } {
    const keys = new Uint8Array(slots.length * KEY_LENGTH)
    const marks = new Uint32Array(keys.buffer)
    for (const [i, slot] of slots.entries()) marks[i] = slot * 2 ** this.#layout.slotShift
    return { keys }
  }
}

const IS_LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
