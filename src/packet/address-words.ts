/**
 * Addresses as the records of packets have them: the bytes of the address in four 32-bit words, of
 * which IPv4 uses the first. Nothing here depends on the byte order of the machine.
 */
import { addressBytes, type IpRange, printAddress } from '../lib/ip-address.js'

export const ADDRESS_WORDS = 4

/** The words of an address. Throws RangeError when it is none. */
export function addressWords(ip: string): Uint32Array {
  return wordsOf(addressBytes(ip))
}

/** The canonical text of the address that stands in `words` from `at` on; `family` is 4 or 6. */
export function formatAddressWords(words: Uint32Array, at: number, family: number): string {
  const bytes = new Uint8Array(words.buffer, words.byteOffset + at * 4, family === 4 ? 4 : 16)
  return printAddress(bytes)
}

/** Whether two addresses are the same. */
export function equalAddresses(a: Uint32Array, at: number, b: Uint32Array, bAt: number): boolean {
  return (
    a[at] === b[bAt] &&
    a[at + 1] === b[bAt + 1] &&
    a[at + 2] === b[bAt + 2] &&
    a[at + 3] === b[bAt + 3]
  )
}

/** A range, prepared for comparing. */
export interface RangeWords {
  /** 4 or 6 */
  readonly family: number
  readonly mask: Uint32Array
  readonly network: Uint32Array
}

export function rangeWords(range: IpRange): RangeWords {
  const mask = new Uint8Array(range.bytes.length)
  for (let bit = 0; bit < range.prefixLength; bit++) {
    mask[bit >> 3] = (mask[bit >> 3] ?? 0) | (0x80 >> (bit & 7))
  }
  return {
    family: range.family === 'IPv4' ? 4 : 6,
    mask: wordsOf(mask),
    network: wordsOf(range.bytes),
  }
}

/** Whether the address of that family is in one of the ranges. */
export function isInRanges(
  ranges: readonly RangeWords[],
  family: number,
  words: Uint32Array,
  at: number,
): boolean {
  for (const range of ranges) {
    if (range.family !== family) continue
    const { mask, network } = range
    let isEqual = true
    for (let i = 0; i < ADDRESS_WORDS && isEqual; i++) {
      isEqual = ((words[at + i] ?? 0) & (mask[i] ?? 0)) >>> 0 === network[i]
    }
    if (isEqual) return true
  }
  return false
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  const words = new Uint32Array(ADDRESS_WORDS)
  new Uint8Array(words.buffer).set(bytes)
  return words
}
