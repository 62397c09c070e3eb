/**
 * Random numbers for picks: as even as Math.random, which puts each of its numbers on the heap. Not for
 * secrets. sfc32 (Chris Doty-Humphrey's "small fast chaotic" generator, 32-bit words), two draws a number.
 */
const TWO_26 = 67_108_864
const TWO_53 = 9_007_199_254_740_992
/** Draws until the seed is in every bit. */
const WARM_UP = 16

/**
 * A generator of numbers in [0, 1), 53 bits each, which it writes into the first place of an array; the
 * same seed gives the same numbers.
 */
export function randomFrom(seed: Uint32Array): (into: Float64Array) => void {
  let a = (seed[0] ?? 0) | 0
  let b = (seed[1] ?? 0) | 0
  let c = (seed[2] ?? 0) | 0
  let counter = 1
  const draw = (): number => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum
  }
  for (let i = 0; i < WARM_UP; i++) draw()
  return (into) => {
    const high = draw() >>> 5
    const low = draw() >>> 6
    into[0] = (high * TWO_26 + low) / TWO_53
  }
}
