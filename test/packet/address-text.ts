import fc from 'fast-check'
import t from 'tap'

import { hashCodesBits, hashText } from '../../src/lib/hash.js'
import { formatAddressWords } from '../../src/packet/address-words.js'
import { AddressText } from '../../src/packet/address-text.js'

const text = new AddressText()

function written(words: Uint32Array, family: number): string {
  text.write(words, 1, family)
  return String.fromCharCode(...text.codes.subarray(0, text.length))
}

/** A word before it, so that `at` counts. */
function wordsOf(bytes: readonly number[]): Uint32Array {
  const words = new Uint32Array(5)
  new Uint8Array(words.buffer).set(bytes, 4)
  return words
}

const byte = fc.integer({ min: 0, max: 255 })
/** Half of them zero, for runs of zero groups of every length and at every place. */
const groups = fc.array(
  fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ max: 0xffff, min: 0 })),
  {
    minLength: 8,
    maxLength: 8,
  },
)

t.test('an address is written as it is printed', async () => {
  fc.assert(
    fc.property(fc.array(byte, { minLength: 4, maxLength: 4 }), (bytes) => {
      const words = wordsOf(bytes)
      return written(words, 4) === formatAddressWords(words, 1, 4)
    }),
  )
  fc.assert(
    fc.property(groups, (values) => {
      const words = wordsOf(values.flatMap((group) => [group >> 8, group & 255]))
      return written(words, 6) === formatAddressWords(words, 1, 6)
    }),
    { numRuns: 2000 },
  )
})

t.test('its hash is the hash of its text', async (t) => {
  const words = wordsOf([10, 0, 100, 255])
  t.equal(written(words, 4), '10.0.100.255')
  for (const seed of [0, 1, 0x9e3779b9]) {
    t.equal(hashCodesBits(text.codes, text.length, seed) >>> 0, hashText('10.0.100.255', seed))
  }
})
