/** Numbers at random that are the same for the same seed everywhere. */

/** As Math.random (mulberry32). */
export function seededRandom(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** The time to the next of events that come independently of each other, `mean` apart. */
export function exponential(random, mean) {
  return -Math.log(1 - random()) * mean
}
