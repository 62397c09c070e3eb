/**
 * A hash map from keys of a fixed number of 32-bit words (an address and port, a 5-tuple) to
 * non-negative integers, without an allocation per entry or look-up.
 *
 *   #keys    [ k0 k1 .. kn-1 | k0 k1 .. kn-1 | ... ]   open addressing, linear probing
 *   #values  [ v             | v             | ... ]   FREE where there is no entry
 *
 * At most half full: it doubles before. Deleting shifts what follows back, so there are no
 * tombstones and a look-up never gets longer with age.
 */
import { hashWordsBits } from '../lib/hash.js'

const FREE = -1
const MIN_CAPACITY = 16

export class WordMap {
  readonly #width: number
  #keys: Uint32Array
  #values: Int32Array
  #mask: number
  #size = 0

  /** `width` words a key; room for `expected` entries before it grows. */
  constructor(width: number, expected = 0) {
    const capacity = Math.max(MIN_CAPACITY, 2 ** Math.ceil(Math.log2(Math.max(1, expected * 2))))
    this.#width = width
    this.#keys = new Uint32Array(capacity * width)
    this.#values = new Int32Array(capacity).fill(FREE)
    this.#mask = capacity - 1
  }

  get size(): number {
    return this.#size
  }

  /** The value of the key that stands in `words` from `at` on, or -1. */
  get(words: Uint32Array, at: number): number {
    return this.#values[this.#find(words, at)] ?? FREE
  }

  /** Sets it, whether or not it was there. `value` is 0..2^31-1. */
  set(words: Uint32Array, at: number, value: number): void {
    let place = this.#find(words, at)
    if (this.#values[place] === FREE) {
      if ((this.#size + 1) * 2 > this.#mask + 1) {
        this.#grow()
        place = this.#find(words, at)
      }
      const width = this.#width
      for (let i = 0; i < width; i++) this.#keys[place * width + i] = words[at + i] ?? 0
      this.#size++
    }
    this.#values[place] = value
  }

  /** Takes the key out; fine when it is not there. */
  delete(words: Uint32Array, at: number): void {
    let hole = this.#find(words, at)
    if (this.#values[hole] === FREE) return
    this.#size--
    let place = hole
    for (;;) {
      place = (place + 1) & this.#mask
      if (this.#values[place] === FREE) break
      const home = this.#home(this.#keys, place * this.#width)
      // Moves back unless that would put it before its own home.
      if (((place - home) & this.#mask) < ((place - hole) & this.#mask)) continue
      this.#copy(place, hole)
      hole = place
    }
    this.#values[hole] = FREE
  }

  forEachValue(visit: (value: number) => void): void {
    for (const value of this.#values) if (value !== FREE) visit(value)
  }

  #find(words: Uint32Array, at: number): number {
    let place = this.#home(words, at)
    while (this.#values[place] !== FREE && !this.#equals(place, words, at)) {
      place = (place + 1) & this.#mask
    }
    return place
  }

  #equals(place: number, words: Uint32Array, at: number): boolean {
    const width = this.#width
    const start = place * width
    for (let i = 0; i < width; i++) if (this.#keys[start + i] !== words[at + i]) return false
    return true
  }

  #home(words: Uint32Array, at: number): number {
    return hashWordsBits(words, at, this.#width) & this.#mask
  }

  #copy(from: number, to: number): void {
    const width = this.#width
    this.#keys.copyWithin(to * width, from * width, (from + 1) * width)
    this.#values[to] = this.#values[from] ?? FREE
  }

  #grow(): void {
    const keys = this.#keys
    const values = this.#values
    const capacity = (this.#mask + 1) * 2
    this.#keys = new Uint32Array(capacity * this.#width)
    this.#values = new Int32Array(capacity).fill(FREE)
    this.#mask = capacity - 1
    this.#size = 0
    for (const [place, value] of values.entries()) {
      if (value !== FREE) this.set(keys, place * this.#width, value)
    }
  }
}
