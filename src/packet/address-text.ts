/**
 * The canonical text of an address as character codes in memory that is used again: for hashes of
 * clients, which go by the text, so that every mode and every node has the same.
 */
import { ADDRESS_WORDS } from './address-words.js'

const ZERO = 0x30
const DOT = 0x2e
const COLON = 0x3a
/** From 'a' for 10 on. */
const LETTER = 0x61 - 10
/** Eight groups of four digits, and what is between them. */
const MAX_LENGTH = 39
const GROUPS = 8

export class AddressText {
  readonly codes = new Uint8Array(MAX_LENGTH)
  length = 0
  readonly #words = new Uint32Array(ADDRESS_WORDS)
  readonly #bytes = new Uint8Array(this.#words.buffer)
  /** The zero groups that `::` stands for. */
  #gapStart = 0
  #gapLength = 0

  /** Takes the address that stands in `words` from `at` on; `family` is 4 or 6. The same as formatAddressWords. */
  write(words: Uint32Array, at: number, family: number): void {
    for (let i = 0; i < ADDRESS_WORDS; i++) this.#words[i] = words[at + i] ?? 0
    this.length = 0
    if (family === 4) this.#writeDotted()
    else this.#writeGroups()
  }

  #writeDotted(): void {
    for (let i = 0; i < 4; i++) {
      const byte = this.#bytes[i] ?? 0
      if (i > 0) this.#put(DOT)
      if (byte >= 100) this.#put(ZERO + ((byte / 100) | 0))
      if (byte >= 10) this.#put(ZERO + (((byte / 10) | 0) % 10))
      this.#put(ZERO + (byte % 10))
    }
  }

  #writeGroups(): void {
    this.#findGap()
    const end = this.#gapStart + this.#gapLength
    for (let i = 0; i < GROUPS; i++) {
      const isGap = i >= this.#gapStart && i < end
      if (isGap && i > this.#gapStart) continue
      // The gap is a colon by itself, and what follows brings its own; at the end nothing does.
      if (i > 0 || isGap) this.#put(COLON)
      if (!isGap) this.#putHex(this.#group(i))
      else if (end === GROUPS) this.#put(COLON)
    }
  }

  /** The longest run of two zero groups or more; the first of equals (RFC 5952, 4.2.3). */
  #findGap(): void {
    this.#gapStart = 0
    this.#gapLength = 0
    for (let start = 0; start < GROUPS; start++) {
      let end = start
      while (end < GROUPS && this.#group(end) === 0) end++
      if (end - start >= 2 && end - start > this.#gapLength) {
        this.#gapStart = start
        this.#gapLength = end - start
      }
      start = Math.max(start, end)
    }
  }

  #group(index: number): number {
    return ((this.#bytes[2 * index] ?? 0) << 8) | (this.#bytes[2 * index + 1] ?? 0)
  }

  #putHex(group: number): void {
    for (let shift = 12; shift >= 0; shift -= 4) {
      const digit = (group >> shift) & 15
      if (group >> shift === 0 && shift > 0) continue
      this.#put((digit < 10 ? ZERO : LETTER) + digit)
    }
  }

  #put(code: number): void {
    this.codes[this.length++] = code
  }
}
