import fc from 'fast-check'
import t from 'tap'

import { FlowIndex } from '../../../src/datapath/nfqueue/flow-index.js'

const CAPACITY = 8

type Step = readonly ['set', number, number] | readonly ['delete', number]

const place = fc.integer({ min: 0, max: CAPACITY - 1 })
const step: fc.Arbitrary<Step> = fc.oneof(
  // Few keys, so that places share them.
  fc.tuple(fc.constant('set' as const), place, fc.integer({ min: 0, max: 5 })),
  fc.tuple(fc.constant('delete' as const), place),
)

/** The last bit too, which only an unsigned number has. */
const keyOf = (n: number): Uint32Array => Uint32Array.of(n << 29, 7)

t.test('it finds what was put in last, as a list that is looked through does', async () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const index = new FlowIndex(2, CAPACITY)
      let model: { place: number; key: number }[] = []
      for (const [action, at, key] of steps) {
        model = model.filter((one) => one.place !== at)
        if (action === 'set') {
          index.set(keyOf(key), at)
          model.unshift({ place: at, key })
        } else {
          index.delete(at)
        }
        if (index.size !== model.length) return false
        for (let n = 0; n <= 5; n++) {
          const wanted = model.find((one) => one.key === n)?.place ?? -1
          if (index.get(keyOf(n)) !== wanted) return false
        }
      }
      return true
    }),
    { numRuns: 500 },
  )
})

t.test('the key of a place can be read', async (t) => {
  const index = new FlowIndex(2, CAPACITY)
  index.set(keyOf(5), 3)
  const into = new Uint32Array(2)
  index.read(3, into)
  t.strictSame(into, keyOf(5))
})

t.test('many places without a collision lost', async (t) => {
  const capacity = 3000
  const index = new FlowIndex(1, capacity)
  for (let n = 0; n < capacity; n++) index.set(Uint32Array.of(n * 7), n)
  for (let n = 0; n < capacity; n += 2) index.delete(n)
  const wrong = Array.from({ length: capacity }, (_, n) => n).filter(
    (n) => index.get(Uint32Array.of(n * 7)) !== (n % 2 === 0 ? -1 : n),
  )
  t.strictSame(wrong, [])
  t.equal(index.size, capacity / 2)
})
