import { getHeapSpaceStatistics } from 'node:v8'
import t from 'tap'

import { collectGarbage, HeapTrim } from '../../src/observe/heap-trim.js'
import { FakeClock } from '../fixtures/fake-clock.js'

const MIB = 2 ** 20

t.test('a heap that has grown by half is collected, at most once a minute', async (t) => {
  const clock = new FakeClock()
  let heap = 30 * MIB
  let collections = 0
  let releases = 0
  const trim = new HeapTrim({
    clock,
    heapBytes: () => heap,
    youngBytes: () => 0,
    collect: () => {
      collections++
      heap /= 2
    },
    release: () => {
      t.equal(++releases, collections, 'after the collection')
    },
  })
  trim.synced()
  await clock.advance(10_000)
  t.equal(collections, 0, 'a small one is left alone')
  heap = 200 * MIB
  trim.synced()
  trim.synced()
  t.equal(collections, 0, 'not within the sync')
  await clock.advance(1000)
  t.equal(collections, 1)
  heap = 140 * MIB
  trim.synced()
  await clock.advance(100_000)
  t.equal(collections, 1, 'from 100 to 140 MiB is not by half')
  heap = 300 * MIB
  trim.synced()
  await clock.advance(1000)
  t.equal(collections, 2)
  heap = 600 * MIB
  trim.synced()
  await clock.advance(30_000)
  t.equal(collections, 2)
  await clock.advance(30_000)
  t.equal(collections, 3)
  heap = 3000 * MIB
  trim.synced()
  trim.close()
  await clock.advance(100_000)
  t.equal(collections, 3)
  t.equal(releases, 3)
})

t.test('the young generation is collected until it is small, three times at most', async (t) => {
  const clock = new FakeClock()
  let young = 32 * MIB
  let collections = 0
  const trim = new HeapTrim({
    clock,
    heapBytes: () => 0,
    youngBytes: () => young,
    collect: (collection) => {
      t.equal(collection, 'young')
      if (++collections === 2) young = MIB
    },
  })
  trim.synced()
  await clock.advance(5000)
  trim.synced()
  t.equal(collections, 0, 'V8 looks at the last 5 s')
  await clock.advance(5000)
  t.equal(collections, 1, 'also when syncs follow each other')
  await clock.advance(100_000)
  t.equal(collections, 2, 'then it is small')
  young = 32 * MIB
  await clock.advance(100_000)
  t.equal(collections, 2, 'not without a sync')
  trim.synced()
  await clock.advance(100_000)
  t.equal(collections, 5, 'one that stays large')
  trim.synced()
  trim.close()
  await clock.advance(100_000)
  t.equal(collections, 5)
})

t.test('the real ones collect', async (t) => {
  const clock = new FakeClock()
  const kept = new WeakRef({ some: 'object' })
  const trim = new HeapTrim({ clock, heapBytes: () => 1000 * MIB })
  trim.synced()
  // A WeakRef holds what it was made of until the turn ends.
  await new Promise((resolve) => setImmediate(resolve))
  await clock.advance(1000)
  t.equal(kept.deref(), undefined)
  Array.from({ length: 10_000 }, () => ({}))
  const before = youngUsedBytes()
  collectGarbage('young')
  t.ok(youngUsedBytes() < before)
})

function youngUsedBytes(): number {
  const young = getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')
  return young?.space_used_size ?? 0
}
