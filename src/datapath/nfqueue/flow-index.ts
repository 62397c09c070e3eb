/**
 * Finds places of a table of fixed size by keys of a fixed number of 32-bit words, without an
 * allocation per entry or look-up. Each place has one key at most, so a chain of places does, and
 * taking one out touches nothing but its chain:
 *
 *   #buckets   hash of a key   -> the place that was put in last, or NONE
 *   #next      place           -> the next one of its chain
 *   #bucketOf  place           -> the chain that it is in, or NONE
 *   #keys      place           -> its key
 *
 * Two places may have the same key; then the one that was put in last is found.
 */
import { hashWordsBits } from '../../lib/hash.js'

const NONE = -1

export class FlowIndex {
  readonly #width: number
  readonly #mask: number
  readonly #buckets: Int32Array
  readonly #next: Int32Array
  readonly #bucketOf: Int32Array
  readonly #keys: Uint32Array
  #size = 0

  /** `width` words a key; places 0 to `capacity` - 1. */
  constructor(width: number, capacity: number) {
    const buckets = 2 ** Math.ceil(Math.log2(Math.max(2, capacity * 2)))
    this.#width = width
    this.#mask = buckets - 1
    this.#buckets = new Int32Array(buckets).fill(NONE)
    this.#next = new Int32Array(capacity).fill(NONE)
    this.#bucketOf = new Int32Array(capacity).fill(NONE)
    this.#keys = new Uint32Array(capacity * width)
  }

  get size(): number {
    return this.#size
  }

  /** The place with that key, or -1. */
  get(key: Uint32Array): number {
    let place = this.#buckets[this.#bucket(key)] ?? NONE
    while (place !== NONE && !this.#equals(place, key)) place = this.#next[place] ?? NONE
    return place
  }

  /** Gives the place a key, and takes from it the one that it had. */
  set(key: Uint32Array, place: number): void {
    this.delete(place)
    const bucket = this.#bucket(key)
    this.#next[place] = this.#buckets[bucket] ?? NONE
    this.#buckets[bucket] = place
    this.#bucketOf[place] = bucket
    const at = place * this.#width
    for (let i = 0; i < this.#width; i++) this.#keys[at + i] = key[i] ?? 0
    this.#size++
  }

  /** The place has no key any more; fine when it had none. */
  delete(place: number): void {
    const bucket = this.#bucketOf[place] ?? NONE
    if (bucket === NONE) return
    const after = this.#next[place] ?? NONE
    let before = this.#buckets[bucket] ?? NONE
    if (before === place) {
      this.#buckets[bucket] = after
    } else {
      while (this.#next[before] !== place) before = this.#next[before] ?? NONE
      this.#next[before] = after
    }
    this.#bucketOf[place] = NONE
    this.#size--
  }

  /** Writes the key of a place. */
  read(place: number, into: Uint32Array): void {
    const at = place * this.#width
    for (let i = 0; i < this.#width; i++) into[i] = this.#keys[at + i] ?? 0
  }

  #equals(place: number, key: Uint32Array): boolean {
    const at = place * this.#width
    for (let i = 0; i < this.#width; i++) if (this.#keys[at + i] !== key[i]) return false
    return true
  }

  #bucket(key: Uint32Array): number {
    return hashWordsBits(key, 0, this.#width) & this.#mask
  }
}
