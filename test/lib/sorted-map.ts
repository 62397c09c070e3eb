import { deepStrictEqual, equal } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'

import { type Difference, SortedMap } from '../../src/lib/sorted-map.js'

const numbered = (count: number): [string, number][] =>
  Array.from({ length: count }, (_, i) => [`key-${String(i).padStart(6, '0')}`, i])

const mapOf = (entries: Iterable<[string, number | undefined]>): SortedMap<number> =>
  SortedMap.empty<number>().with(new Map(entries))

t.test('a copy differs, the original stays', async (t) => {
  const one = mapOf([
    ['b', 2],
    ['a', 1],
  ])
  const two = one.with(
    new Map([
      ['c', 3],
      ['a', undefined],
    ]),
  )
  t.strictSame(
    [...one],
    [
      ['a', 1],
      ['b', 2],
    ],
  )
  t.strictSame([...two.keys()], ['b', 'c'])
  t.strictSame([...two.values()], [2, 3])
  t.equal(two.size, 2)
  t.equal(two.get('a'), undefined)
  t.notOk(two.has('a'))
  t.ok(one.has('a'))
  t.equal(one.with(new Map()), one)
  t.equal(mapOf([]).get('a'), undefined)
  const seen: unknown[] = []
  two.forEach((value, key, map) => seen.push([key, value, map]))
  t.strictSame(seen, [
    ['b', 2, two],
    ['c', 3, two],
  ])
})

t.test('of many entries a change copies few', async (t) => {
  const many = mapOf(numbered(10_000))
  t.equal(many.size, 10_000)
  t.equal(many.get('key-007777'), 7777)
  const changed = many.with(new Map([['key-005000', -1]]))
  t.strictSame([...many.differences(changed)], [{ key: 'key-005000', before: 5000, after: -1 }])
  // Entries of another map with the same values are compared one for one: it shares nothing.
  t.strictSame([...many.differences(mapOf(numbered(10_000)))], [])
})

const value = fc.option(fc.integer({ min: 0, max: 3 }), { nil: undefined })
const changes = fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }).map(String), value), {
  maxLength: 300,
})

t.test('it is the same as a Map that is sorted', async () => {
  fc.assert(
    fc.property(fc.array(changes, { maxLength: 8 }), (steps) => {
      let map = SortedMap.empty<number>()
      const model = new Map<string, number>()
      for (const step of steps) {
        const before = new Map(model)
        const old = map
        map = map.with(new Map(step))
        for (const [key, value] of new Map(step)) {
          if (value === undefined) model.delete(key)
          else model.set(key, value)
        }
        const sorted = [...model].sort(([a], [b]) => (a < b ? -1 : 1))
        deepStrictEqual([...map], sorted)
        equal(map.size, model.size)
        for (const [key] of step) equal(map.get(key), model.get(key))
        deepStrictEqual([...old.differences(map)], differencesOf(before, model))
        deepStrictEqual([...map.differences(old)], differencesOf(model, before))
      }
    }),
    { numRuns: 60 },
  )
})

function differencesOf(
  a: ReadonlyMap<string, number>,
  b: ReadonlyMap<string, number>,
): Difference<number>[] {
  return [...new Set([...a.keys(), ...b.keys()])]
    .sort()
    .map((key) => ({ key, before: a.get(key), after: b.get(key) }))
    .filter(({ before, after }) => before !== after)
}
