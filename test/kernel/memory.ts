import t from 'tap'

import { releaseMemory } from '../../src/kernel/memory.js'
import { collectGarbage } from '../../src/observe/heap-trim.js'

const MIB = 2 ** 20
const PIECES = 16_384
const PIECE_BYTES = 4096

t.test('what was freed below something in use goes back to the system', async (t) => {
  // Each is a piece of malloc's; the last one keeps the others from going back by themselves.
  let pieces = Array.from({ length: PIECES }, () => Buffer.allocUnsafeSlow(PIECE_BYTES).fill(1))
  const last = pieces.at(-1)
  const before = process.memoryUsage.rss()
  pieces = []
  // A turn, so that nothing on the stack has them any more.
  await new Promise((resolve) => setImmediate(resolve))
  collectGarbage('full')
  t.equal(releaseMemory(), true)
  const gone = before - process.memoryUsage.rss()
  t.ok(gone > (PIECES * PIECE_BYTES) / 2, `${Math.round(gone / MIB)} MiB of 64`)
  t.equal(last?.length, PIECE_BYTES)
})
