import t from 'tap'

import { MAX_WEIGHTED_SLOTS, weightedSlots } from '../../../src/datapath/nftables/weighted-slots.js'
import { endpoint } from '../../fixtures/endpoint.js'

const weighted = (...weights: number[]) =>
  weights.map((weight, index) => endpoint(`10.0.0.${index + 1}`, 80, { weight }))
const counts = (...weights: number[]) => {
  const endpoints = weighted(...weights)
  const slots = weightedSlots(endpoints)
  return endpoints.map((one) => slots.filter((slot) => slot === one).length)
}

t.test('equal weights have one slot each, in the same list', async (t) => {
  const endpoints = weighted(7, 7, 7)
  t.equal(weightedSlots(endpoints), endpoints)
  t.strictSame(weightedSlots([]), [])
})

t.test('weights are reduced by their common divisor', async (t) => {
  t.strictSame(counts(12, 4, 8), [3, 1, 2])
  t.strictSame(counts(256, 1), [256, 1])
})

t.test('an endpoint of weight 0 has none', async (t) => {
  t.strictSame(counts(10, 0, 5), [2, 0, 1])
})

t.test('slots are bounded, and every endpoint keeps one', async (t) => {
  const weights = Array.from({ length: 250 }, (_, index) => (index === 0 ? 1 : 250 + (index % 7)))
  const slots = counts(...weights)
  const total = slots.reduce((sum, one) => sum + one, 0)
  t.equal(slots[0], 1)
  t.ok(total <= MAX_WEIGHTED_SLOTS + weights.length, `${total} slots`)
})
