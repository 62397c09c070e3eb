import t from 'tap'
import { count, duration, micros, rate } from '../../src/page/format.js'
import { linePath } from '../../src/page/line-path.js'
import { RowList, visibleLines } from '../../src/page/row-list.js'
import { Store } from '../../src/page/store.js'
import type { StaticRow } from '../../src/page/wire.js'

const row = (id: number, name: string, trouble: { down?: number; inUse?: number } = {}) =>
  [
    id,
    name,
    'TCP',
    `10.96.0.${id}:80`,
    'maglev',
    2,
    trouble.inUse ?? 2,
    trouble.down ?? 0,
    0,
  ] as StaticRow
const filled = (): Store => {
  const store = new Store()
  store.apply({
    rows: [row(1, 'test/web'), row(2, 'test/api', { down: 1 }), row(3, 'kube/dns', { inUse: 0 })],
    counts: [
      [1, 5, 1, 50, 0, 0],
      [2, 9, 0, 9, 3, 0],
    ],
  })
  return store
}
const names = (store: Store) => store.view.map(({ name }) => name)

t.test('rows are listed by name, and by whatever is chosen', async (t) => {
  const store = filled()
  t.same(names(store), ['kube/dns', 'test/api', 'test/web'])
  store.sortKey = 'open'
  store.isDescending = true
  store.stale()
  t.same(names(store), ['test/api', 'test/web', 'kube/dns'])
  store.apply({ counts: [[3, 99, 0, 0, 0, 0]] })
  t.equal(names(store)[0], 'kube/dns', 'counts move rows that are sorted by them')
})

t.test('the filter takes words in any order, and problems', async (t) => {
  const store = filled()
  const filtered = (filter: string, onlyProblems = false) => {
    Object.assign(store, { filter, onlyProblems })
    store.stale()
    return names(store)
  }
  t.same(filtered('MAGLEV test'), ['test/api', 'test/web'])
  t.same(filtered('10.96.0.3'), ['kube/dns'])
  t.same(filtered('', true), ['kube/dns', 'test/api'])
  t.equal(store.problems, 2)
})

t.test('rows that are gone are gone, and counts of them do no harm', async (t) => {
  const store = filled()
  store.apply({ gone: [2], counts: [[2, 1, 1, 1, 1, 1]] })
  t.same(names(store), ['kube/dns', 'test/web'])
  store.clear()
  t.same(names(store), [])
})

t.test('endpoints stand below their Service port when it is open', async (t) => {
  const list = new RowList()
  const { view } = filled()
  list.opened.set(2, { endpoints: [], leftOut: 0 })
  list.rebuild(view)
  t.equal(list.length, 5)
  t.same(
    [0, 1, 2, 3, 4, 5].map((i) => [list.at(i)?.row.id, list.at(i)?.endpoint]),
    [
      [3, undefined],
      [2, undefined],
      [2, 0],
      [2, 1],
      [1, undefined],
      [undefined, undefined],
    ],
  )
  t.equal(list.indexOf(1), 4)
  t.equal(list.indexOf(7), -1)
})

t.test('only lines that are seen are there, and a few around them', async (t) => {
  const lines = (top: number, length: number) => visibleLines(top, 340, { lineHeight: 34, length })
  t.same(lines(0, 10_000), { first: 0, end: 18 })
  t.same(lines(34_000, 10_000), { first: 992, end: 1018 })
  t.same(lines(34_000, 3), { first: 3, end: 3 })
  t.same(lines(-500, 0), { first: 0, end: 0 })
})

t.test('a line ends at the right, and has gaps where nothing was measured', async (t) => {
  const size = { width: 100, height: 23, slots: 5, max: 10 }
  t.equal(linePath([0, 10], size), 'M75.0 22.0L100.0 2.0')
  t.equal(linePath([5, null, 5], size), 'M50.0 12.0M100.0 12.0')
  t.equal(linePath([0, 0], { ...size, max: 0 }), 'M75.0 22.0L100.0 22.0')
  t.equal(linePath([], size), '')
})

t.test('numbers and times are short', async (t) => {
  t.same([0, 9876, 12_345, 999_949, 4_560_000].map(count), [
    '0',
    '9,876',
    '12.3k',
    '1000k',
    '4.56M',
  ])
  t.same([0, 0.42, 12, 1234].map(rate), ['0', '0.4', '12', '1,234'])
  t.same([null, 8, 150, 1234, 1.5e6].map(micros), ['–', '8.0 µs', '150 µs', '1.2 ms', '1.5 s'])
  t.same([-1, 59, 60, 3700, 200_000].map(duration), [
    '0 s',
    '59 s',
    '1 min',
    '1 h 01 min',
    '2 d 7 h',
  ])
})
