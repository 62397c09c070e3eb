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
  let hash = value
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
