/**
 * TCP connections that ended lately, so that each is counted out once: after TIME_WAIT, a RST may
 * bring CLOSE. A key is forgotten when its addresses and ports are used again, or when many others
 * have ended since.
 */
import { FlowIndex } from './flow-index.js'

/** A second's worth at thousands of connections a second; a late RST comes within milliseconds. */
const CAPACITY = 4096

export class EndedConnections {
  readonly #keys: FlowIndex
  /** The place of the oldest. */
  #next = 0

  /** `width`: words a key. */
  constructor(width: number) {
    this.#keys = new FlowIndex(width, CAPACITY)
  }

  /** True when it was not there. */
  add(key: Uint32Array): boolean {
    if (this.#keys.get(key) >= 0) return false
    this.#keys.set(key, this.#next)
    this.#next = (this.#next + 1) % CAPACITY
    return true
  }

  /** A connection begins with these addresses and ports. */
  forget(key: Uint32Array): void {
    const place = this.#keys.get(key)
    if (place >= 0) this.#keys.delete(place)
  }
}
