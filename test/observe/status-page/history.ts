import t from 'tap'
import { EventFeed, MAX_ENTRIES } from '../../../src/observe/status-page/event-feed.js'
import {
  History,
  POINTS,
  SERIES_POINTS,
  type Totals,
} from '../../../src/observe/status-page/history.js'
import { quantile } from '../../../src/observe/status-page/quantile.js'

const totals = (over: Partial<Totals> = {}): Totals => ({
  ...{ open: 0, total: 0, failed: 0, retries: 0, waiting: 0, queueDropped: 0 },
  ...{ bounds: [], latency: [] },
  ...over,
})

t.test('points have rates of their step, and only the latest are kept', async (t) => {
  const history = new History()
  history.add(totals({ total: 1000 }), 0)
  history.add(totals({ total: 1050, open: 7 }), 5000)
  t.match(history.since(0), [
    { seq: 0, rate: 0, p50: null },
    { seq: 1, rate: 10, open: 7 },
  ])
  t.equal(history.since(1).length, 1)
  for (let i = 2; i < 1000; i++) history.add(totals({ total: 1050 }), i * 5000)
  t.equal(history.since(0).length, POINTS)
  t.equal(history.since(0)[0]?.seq, 1000 - POINTS)
})

t.test('latency is of the step, not of all time', async (t) => {
  const history = new History()
  const bounds = [0.001, 0.01]
  history.add(totals({ bounds, latency: [1000, 0, 0] }), 0)
  history.add(totals({ bounds, latency: [1000, 10, 0] }), 5000)
  const [, point] = history.since(0)
  t.ok(point!.p50! > 1000 && point!.p50! <= 10_000)
})

t.test('a quantile lies between bounds', async (t) => {
  t.equal(quantile([1, 2], [0, 10, 0], 0.5), 1.5)
  t.equal(quantile([1, 2], [0, 0, 5], 0.5), 2)
  t.ok(Number.isNaN(quantile([1, 2], [0, 0, 0], 0.5)))
})

t.test('only Service ports with traffic have a series, within the bound', async (t) => {
  const history = new History(2)
  const counts = new Map([
    ['a', 0],
    ['b', 30],
    ['c', 60],
  ])
  const read = (id: string) => ({ totalConnections: counts.get(id) ?? 0 })
  history.addSeries(counts.keys(), read, 0)
  t.equal(history.seriesCount, 2)
  counts.set('b', 60)
  history.addSeries(counts.keys(), read, 30_000)
  t.strictSame(history.ratesOf('b'), [0, 1])
  t.strictSame(history.ratesOf('a'), [])
  counts.set('a', 30)
  history.addSeries(counts.keys(), read, 60_000)
  t.equal(history.seriesCount, 2, 'the one idle longest makes room')
  t.strictSame(history.ratesOf('c'), [])
  t.strictSame(history.ratesOf('a'), [0, 0, 1], 'it was idle before')
  counts.delete('c')
  for (let i = 3; i < 100; i++) history.addSeries(counts.keys(), read, i * 30_000)
  t.equal(history.ratesOf('b').length, SERIES_POINTS)
  history.addSeries(['c'], read, 3_000_000)
  t.strictSame(history.ratesOf('b'), [], 'gone with its Service')
})

t.test('the feed is bounded, and does not repeat itself', async (t) => {
  const feed = new EventFeed(() => new Date(5))
  feed.add('bad', 'x')
  feed.add('bad', 'x')
  t.strictSame(feed.since(0), [{ seq: 0, at: 5, level: 'bad', text: 'x' }])
  for (let i = 0; i < 500; i++) feed.add('info', `${i}`)
  t.equal(feed.since(0).length, MAX_ENTRIES)
  t.equal(feed.since(500).length, 1)
})
