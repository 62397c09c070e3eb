/**
 * TCP connections that ended lately, so that each is counted out once: after TIME_WAIT, a RST may
 * bring CLOSE. A key is forgotten when its addresses and ports are used again, or when many others
 * have ended since.
 */
import { WordMap } from '../../packet/word-map.js'

const PRESENT = 1
/** A second's worth at thousands of connections a second; a late RST comes within milliseconds. */
const CAPACITY = 4096

export class EndedConnections {
  readonly #width: number
  readonly #keys: WordMap
  /** Ring of the keys, the oldest at `#next`. */
  readonly #ring: Uint32Array
  #next = 0

  /** `width`: words a key. */
  constructor(width: number) {
    this.#width = width
    this.#keys = new WordMap(width, CAPACITY)
    this.#ring = new Uint32Array(CAPACITY * width)
  }

  /** True when it was not there. */
  add(key: Uint32Array): boolean {
    if (this.#keys.get(key, 0) === PRESENT) return false
    const at = this.#next * this.#width
    // A place that was never used holds zeros, which are no key.
    this.#keys.delete(this.#ring, at)
    this.#ring.set(key, at)
    this.#keys.set(key, 0, PRESENT)
    this.#next = (this.#next + 1) % CAPACITY
    return true
  }

  /** A connection begins with these addresses and ports. */
  forget(key: Uint32Array): void {
    this.#keys.delete(key, 0)
  }
}
