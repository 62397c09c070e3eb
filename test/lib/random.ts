import t from 'tap'
import { randomFrom } from '../../src/lib/random.js'

function draws(seed: readonly number[], count: number): number[] {
  const fill = randomFrom(Uint32Array.from(seed))
  const into = new Float64Array(1)
  return Array.from({ length: count }, () => {
    fill(into)
    return into[0] ?? -1
  })
}

t.test('the same seed gives the same numbers, another one gives others', async (t) => {
  t.strictSame(draws([1, 2, 3], 100), draws([1, 2, 3], 100))
  const [a, b] = [draws([1, 2, 3], 100), draws([1, 2, 4], 100)]
  t.equal(new Set([...a, ...b]).size, 200)
})

t.test(
  'numbers are in [0, 1) and spread evenly, in their first digits and further down',
  async (t) => {
    const numbers = draws([7, 8, 9], 32_000)
    t.ok(numbers.every((number) => number >= 0 && number < 1))
    for (const scale of [1, 2 ** 16, 2 ** 32, 2 ** 48]) {
      const counts = new Array<number>(16).fill(0)
      for (const number of numbers) counts[Math.floor(((number * scale) % 1) * 16)]!++
      // 2,000 each; six standard deviations are 260.
      t.ok(Math.min(...counts) > 1740 && Math.max(...counts) < 2260, `${scale}: ${counts.join()}`)
    }
  },
)
