import t from 'tap'
import { hashText, hashWordsBits, mixHash } from '../../src/lib/hash.js'
import { isPrime, primeFrom } from '../../src/lib/prime.js'

t.test('the same on every machine: values that must never change', async (t) => {
  // Nodes of different versions have to agree on them.
  t.strictSame(
    [hashText(''), hashText('10.0.0.1:80'), hashText('10.0.0.1:80', 1), mixHash(1)],
    [2_886_220_781, 85_875_716, 2_668_561_703, 1_364_076_727],
  )
})

t.test('hashes fill their range evenly', async (t) => {
  const counts = new Array<number>(16).fill(0)
  for (let i = 0; i < 16_000; i++) counts[hashText(`10.0.${i >> 8}.${i & 255}`) >>> 28]!++
  t.ok(Math.min(...counts) > 850 && Math.max(...counts) < 1150, counts.join())
})

t.test('a key of words: where it stands does not matter, each of its words does', async (t) => {
  const words = Uint32Array.of(1, 2, 3, 0xffffffff, 1, 2, 3)
  const whole = hashWordsBits(words, 0, 3)
  t.equal(hashWordsBits(words, 4, 3), whole)
  t.not(hashWordsBits(words, 0, 2), whole)
  t.not(hashWordsBits(words, 1, 3), whole)
  t.equal(whole | 0, whole, 'signed')
})

t.test('primes', async (t) => {
  t.strictSame([0, 1, 2, 3, 4, 9, 16_381, 65_537, 65_536].map(isPrime), [
    false,
    false,
    true,
    true,
    false,
    false,
    true,
    true,
    false,
  ])
  t.equal(primeFrom(16_382), 16_411)
  t.equal(primeFrom(0), 2)
})
