/**
 * Size classes of Service ports: an endpoint is drawn as a slot number below a constant of the
 * rule, so there is one chain for each constant and a Service port uses that of its class.
 *
 * Slots are dense: n endpoints have the slots 0..n-1, one element each, whatever the class. Classes
 * up to EXACT_CLASSES draw below n itself. Above, the class is the next power of two, and a number
 * that hits no slot is drawn again (a look-up that misses lets the packet go on to the next rule):
 *
 *   DRAWS times   a number below the class N       misses with w = 1 - n/N
 *   then once     a number below N/2               always hits, as n > N/2
 *
 * How fair that is, with f = w^DRAWS as the share of the last draw: n > N/2 makes w < 1/2 and
 * f < 1/32. A slot from N/2 on gets (1-f)/n, at most 3.1 % below the fair 1/n; a slot below N/2 gets
 * (1-f)/n + f/(N/2), which is f (1-2w) above it, at most 0.21 % (at w = 5/12). A connection
 * needs N/n < 2 draws on average.
 *
 * A Service port that grows or shrinks within its class changes slots only, and one that
 * leaves it changes one verdict more.
 */

/** Classes whose chain draws below n itself. */
const EXACT_CLASSES = 4
/** Draws before the one that always hits. */
export const DRAWS = 5
/** The largest class; endpoints above that get no connections. */
export const MAX_SLOTS = 2 ** 18

/** Ascending: 1, 2, 3, 4, 8, 16 ... MAX_SLOTS. */
export const SLOT_CLASSES: readonly number[] = classes()

/** Index in SLOT_CLASSES of the class for n endpoints, n at least 1. */
export function slotClassOf(endpointCount: number): number {
  if (endpointCount <= EXACT_CLASSES) return endpointCount - 1
  const bits = 32 - Math.clz32(Math.min(endpointCount, MAX_SLOTS) - 1)
  return EXACT_CLASSES - 1 + bits - Math.log2(EXACT_CLASSES)
}

/** What the rules of a class's chain draw below, in their order. */
export function drawsOf(slotClass: number): readonly number[] {
  const size = SLOT_CLASSES[slotClass]
  if (size === undefined) throw new RangeError(`no slot class ${slotClass}`)
  if (size <= EXACT_CLASSES) return [size]
  return [...Array.from({ length: DRAWS }, () => size), size / 2]
}

function classes(): number[] {
  const sizes = Array.from({ length: EXACT_CLASSES }, (_, index) => index + 1)
  for (let size = EXACT_CLASSES * 2; size <= MAX_SLOTS; size *= 2) sizes.push(size)
  return sizes
}
