import fc from 'fast-check'
import t from 'tap'
import { ListSplitter } from '../../../src/source/kubernetes/list-splitter.js'

/** Items and frame of a text that arrives in chunks of these sizes, the last one again and again. */
function split(text: string, sizes: readonly number[], maxBytes = 10_000) {
  const splitter = new ListSplitter(maxBytes)
  const bytes = Buffer.from(text)
  const items: unknown[] = []
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[Math.min(turn, sizes.length - 1)] ?? 1
    for (const item of splitter.push(bytes.subarray(at, at + size))) items.push(JSON.parse(item))
    at += size
  }
  return { items, frame: splitter.end() }
}

t.test('any list in any chunks gives its items and its metadata', async () => {
  const anything = fc.dictionary(fc.string(), fc.jsonValue())
  fc.assert(
    fc.property(
      fc.array(anything, { maxLength: 8 }),
      fc.dictionary(fc.string(), fc.string()),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      fc.boolean(),
      (items, metadata, sizes, isPretty) => {
        const list = { kind: 'List', metadata, items, apiVersion: 'v1' }
        const result = split(JSON.stringify(list, undefined, isPretty ? 2 : 0), sizes)
        t.strictSame(result.items, JSON.parse(JSON.stringify(items)))
        t.strictSame(result.frame, JSON.parse(JSON.stringify({ ...list, items: [] })))
      },
    ),
    { numRuns: 200 },
  )
})

t.test(
  'what looks like a list of items, in a text of the metadata, is left as it is',
  async (t) => {
    const list = { metadata: { note: '[ ,]' }, items: [{ a: 1 }, { b: 2 }] }
    const { items, frame } = split(JSON.stringify(list, undefined, 2), [5])
    t.strictSame(items, list.items)
    t.strictSame(frame, { ...list, items: [] })
  },
)

t.test('a list that is none', async (t) => {
  for (const text of ['', '{', '{"items":[{}', 'null]', '<html>', '{"items":[{}]']) {
    t.throws(() => split(text, [3]), { code: 'ERR_API' }, text)
  }
  t.strictSame(split('{"items":null}', [1]), { items: [], frame: { items: null } })
})

t.test('whatever arrives, it ends or throws ERR_API', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const splitter = new ListSplitter(100)
      try {
        splitter.push(Buffer.from(bytes))
        splitter.end()
      } catch (error) {
        t.match(error, { code: 'ERR_API' })
      }
    }),
  )
})

t.test('an item that is too long is an error', async (t) => {
  const text = JSON.stringify({ items: [{ a: 'x'.repeat(200) }] })
  t.throws(() => split(text, [7], 100), { message: /more than 100 bytes/ })
})
