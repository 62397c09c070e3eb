import t from 'tap'

import { namedCounters, RelayExchange } from '../../src/kernel/relay-exchange.js'

/** Records of one word, verdicts of two; `batches`: how many records each look finds. */
function startExchange(batches: number[], onRecord: (exchange: RelayExchange, at: number) => void) {
  const log: string[] = []
  const exchange: RelayExchange = new RelayExchange({
    recordWords: 1,
    verdictWords: 2,
    receive: (records) => {
      const count = batches.shift() ?? 0
      for (let i = 0; i < count; i++) records[i] = i + 1
      log.push(`received ${count}`)
      return count
    },
    answer: (verdicts, count) => log.push(`answered ${verdicts.slice(0, count * 2).join()}`),
    tell: (at) => {
      onRecord(exchange, at)
    },
    batchSeen: () => log.push('seen'),
  })
  const give = (slot: number) => {
    exchange.begin(slot, 7)
    exchange.end()
  }
  return { exchange, log, give }
}

t.test('a verdict goes at once, unless a batch is told: then with the others', async (t) => {
  const bench = startExchange([2], (exchange, at) => {
    exchange.begin(exchange.records[at] ?? 0, 5)
    exchange.end()
  })
  bench.give(9)
  bench.exchange.receive()
  t.strictSame(bench.log, ['answered 9,7', 'received 2', 'answered 1,5,2,5', 'seen'])
})

t.test(
  'a full batch is looked behind, and a full list of verdicts goes before the end',
  async (t) => {
    let told = 0
    const bench = startExchange([256, 1], (exchange) => {
      told++
      for (const slot of told === 1 ? [1, 2] : [3]) exchange.begin(slot, 5)
    })
    bench.exchange.receive()
    t.equal(told, 257)
    t.strictSame(
      bench.log.map((line) => line.split(',').length),
      [1, 512, 2, 1, 2, 1],
      'of 258 verdicts 256 went when there was no more room',
    )
  },
)

t.test('once it is closed nothing goes any more, in the midst of a batch too', async (t) => {
  const bench = startExchange([2, 2], (exchange, at) => {
    exchange.begin(at, 5)
    exchange.close()
  })
  bench.exchange.receive()
  bench.give(1)
  bench.exchange.receive()
  t.strictSame(bench.log, ['received 2'])
})

t.test('after an error in one event the next verdict goes at once', async (t) => {
  const bench = startExchange([1], () => {
    throw new Error('of the holder')
  })
  t.throws(() => {
    bench.exchange.receive()
  }, /of the holder/)
  bench.give(3)
  t.strictSame(bench.log, ['received 1', 'answered 3,7'])
})

t.test('counts of bytes and counters', async (t) => {
  const { exchange } = startExchange([], () => undefined)
  exchange.records.set([5, 2], 3)
  t.equal(exchange.bytesAt(3), 2 * 2 ** 32 + 5)
  t.same(namedCounters(['a', 'b'], Float64Array.of(1, 2)), { a: 1, b: 2 })
})
