import fc from 'fast-check'
import t from 'tap'
import { formatDuration, parseDuration } from '../../src/lib/duration.js'

t.test('durations are read as Go reads them', async (t) => {
  const cases = [
    { text: '0', expected: 0 },
    { text: '0s', expected: 0 },
    { text: '500ms', expected: 500 },
    { text: '1s', expected: 1000 },
    { text: '2m30s', expected: 150_000 },
    { text: '24h', expected: 86_400_000 },
    { text: '1.5h', expected: 5_400_000 },
    { text: '.5s', expected: 500 },
    { text: '1.s', expected: 1000 },
    { text: '250us', expected: 0.25 },
    { text: '250µs', expected: 0.25 },
    { text: '250μs', expected: 0.25 },
    { text: '30s2m', expected: 150_000 },
  ]
  for (const { text, expected } of cases) t.equal(parseDuration(text), expected, text)
})

t.test('anything else is no duration', async (t) => {
  const texts = [
    ...['', '1', '30', 's', '1 s', ' 1s', '1s ', '-1s', '+1s', '1d', '1S', '1s2', '1..5s', '.s'],
    ...['1e3s', '0x1s', '1constructor', '1toString', '3000000h', `${'9'.repeat(70)}s`],
  ]
  for (const text of texts) t.equal(parseDuration(text), undefined, JSON.stringify(text))
})

t.test('durations are printed without units that are zero', async (t) => {
  const cases = [
    { ms: 0, expected: '0s' },
    { ms: 0.25, expected: '250us' },
    { ms: 1500, expected: '1s500ms' },
    { ms: 150_000, expected: '2m30s' },
    { ms: 86_400_000, expected: '24h' },
    { ms: 3_600_001, expected: '1h1ms' },
  ]
  for (const { ms, expected } of cases) t.equal(formatDuration(ms), expected)
})

t.test('what is printed is read back', async () => {
  fc.assert(
    fc.property(fc.nat(), (ms) => parseDuration(formatDuration(ms)) === ms),
    { numRuns: 300 },
  )
})

t.test('no text makes the parser throw or answer a negative number', async () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[-+.0-9mhsun]{0,12}$/)), (text) => {
      const ms = parseDuration(text)
      return ms === undefined || (ms >= 0 && Number.isFinite(ms))
    }),
    { numRuns: 500 },
  )
})
