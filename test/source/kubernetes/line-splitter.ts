import fc from 'fast-check'
import t from 'tap'
import { LineSplitter } from '../../../src/source/kubernetes/line-splitter.js'

t.test('any lines in any chunks', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'grapheme' })),
      fc.integer({ min: 1, max: 20 }),
      (texts, size) => {
        const lines = texts.map((text) => JSON.stringify(text))
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
        const splitter = new LineSplitter(10_000)
        const found: string[] = []
        for (let at = 0; at < bytes.length; at += size) {
          found.push(...splitter.push(bytes.subarray(at, at + size)))
        }
        t.strictSame(found, lines)
        t.equal(splitter.isInLine, false)
      },
    ),
  )
})

t.test('half a line is known to be one', async (t) => {
  const splitter = new LineSplitter(100)
  t.strictSame(splitter.push(Buffer.from('one\n\ntw')), ['one'])
  t.equal(splitter.isInLine, true)
  t.strictSame(splitter.push(Buffer.from('o\n')), ['two'])
  t.equal(splitter.isInLine, false)
})

t.test('a line that is too long is an error', async (t) => {
  const splitter = new LineSplitter(5)
  t.throws(() => splitter.push(Buffer.from('123456')), { code: 'ERR_API' })
})
