import t from 'tap'

import {
  DRAWS,
  drawsOf,
  MAX_SLOTS,
  SLOT_CLASSES,
  slotClassOf,
} from '../../../src/datapath/nftables/slot-classes.js'

/** Probability of each slot 0..n-1 under the rules of the class; the rest is "no slot". */
function shares(n: number): { shares: Float64Array; missed: number } {
  const shares = new Float64Array(n)
  let left = 1
  for (const below of drawsOf(slotClassOf(n))) {
    const hit = Math.min(n, below)
    for (let slot = 0; slot < hit; slot++) shares[slot]! += left / below
    left *= 1 - hit / below
  }
  return { shares, missed: left }
}

t.test('each endpoint has its share within 5 %, and no connection is left over', async (t) => {
  const counts = [...Array.from({ length: 300 }, (_, index) => index + 1), 511, 513, 5000, 70_000]
  for (const n of counts) {
    const { shares: all, missed } = shares(n)
    const [low, high] = all.reduce(
      ([low, high], share) => [Math.min(low, share * n), Math.max(high, share * n)],
      [1, 1],
    )
    if (missed > 1e-12 || low < 1 - 1 / 2 ** DRAWS || high > 1.0022) {
      t.fail(`${n} endpoints: ${low} to ${high} of fair, ${missed} missed`)
    }
  }
  t.pass('all counts')
})

t.test('the class of a count is the smallest that holds it', async (t) => {
  for (const n of [1, 2, 3, 4, 5, 8, 9, 16, 17, 1000, 1024, 1025, MAX_SLOTS]) {
    t.equal(
      SLOT_CLASSES[slotClassOf(n)],
      SLOT_CLASSES.find((size) => size >= n),
    )
  }
  t.equal(slotClassOf(MAX_SLOTS + 1), SLOT_CLASSES.length - 1)
  t.throws(() => drawsOf(SLOT_CLASSES.length), RangeError)
})
