/**
 * A 32-bit hash of text for tables: quick, well mixed, the same in every process. Not for secrets.
 * FNV-1a over the UTF-16 code units, then MurmurHash3's finalizer, which spreads the last character
 * over all bits.
 */
const FNV_PRIME = 0x01000193
const FNV_BASIS = 0x811c9dc5

/** 0 .. 2^32-1. Other seeds give hashes that have nothing to do with each other. */
export function hashText(text: string, seed = 0): number {
  let hash = mixHash((FNV_BASIS ^ seed) >>> 0)
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME)
  return mixHash(hash)
}

/** Spreads the bits of an integer: every bit of the result depends on every bit of it. */
export function mixHash(value: number): number {
  return mixBits(value) >>> 0
}

/**
 * The same bits as a signed integer, as all that ends in `Bits` here: V8 puts a number from 2^31 on on
 * the heap where a function returns it, and a signed one never.
 */
export function mixBits(value: number): number {
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/** The bits of hashText, of a text of which there are the character codes. */
export function hashCodesBits(codes: Uint8Array, length: number, seed: number): number {
  let hash = mixBits(FNV_BASIS ^ seed)
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (codes[i] ?? 0), FNV_PRIME)
  return mixBits(hash)
}

/** The bits of a key of `width` 32-bit words: the mixing steps of MurmurHash3 (x86, 32 bit), a word at a time. */
export function hashWordsBits(words: Uint32Array, at: number, width: number): number {
  let hash = width
  for (let i = 0; i < width; i++) {
    let word = Math.imul(words[at + i] ?? 0, 0xcc9e2d51)
    word = (word << 15) | (word >>> 17)
    hash ^= Math.imul(word, 0x1b873593)
    hash = (hash << 13) | (hash >>> 19)
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0
  }
  return mixBits(hash)
}
