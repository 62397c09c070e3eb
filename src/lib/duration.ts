/**
 * Durations as Kubernetes writes them: Go's time.ParseDuration, `500ms`, `1s`, `2m30s`, `1.5h`.
 * Inside, a duration is a number of milliseconds. None is negative here, so a sign is refused.
 */

const UNIT_MS: ReadonlyMap<string, number> = new Map([
  ['ns', 1e-6],
  ['us', 1e-3],
  ['\u00b5s', 1e-3], // micro sign
  ['\u03bcs', 1e-3], // Greek letter mu: Go takes both
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
])
/** Largest first; sub-millisecond rests are printed in microseconds. */
const PRINTED_UNITS = ['h', 'm', 's', 'ms', 'us'] as const

const PART = /(\d+(?:\.\d*)?|\.\d+)([a-z\u00b5\u03bc]+)/y
/** Longer text is no duration anyone means. */
const MAX_TEXT_LENGTH = 64
/** int64 nanoseconds, as in Go: some 292 years. */
const MAX_MS = 2 ** 63 / 1e6

/** Milliseconds, or undefined when the text is no duration (a bare number but `0` is none). Never throws. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0
  if (text.length === 0 || text.length > MAX_TEXT_LENGTH) return undefined
  let total = 0
  PART.lastIndex = 0
  while (PART.lastIndex < text.length) {
    const match = PART.exec(text)
    const unitMs = UNIT_MS.get(match?.[2] ?? '')
    if (match?.[1] === undefined || unitMs === undefined) return undefined
    total += Number(match[1]) * unitMs
  }
  return total > MAX_MS ? undefined : total
}

/** The shortest text that parseDuration reads as `ms` (rounded to microseconds): `24h`, `1m30s`, `0s`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms * 1000)
  const parts: string[] = []
  for (const unit of PRINTED_UNITS) {
    const unitUs = (UNIT_MS.get(unit) ?? 1) * 1000
    const count = Math.floor(rest / unitUs)
    if (count > 0) parts.push(`${count}${unit}`)
    rest -= count * unitUs
  }
  return parts.length === 0 ? '0s' : parts.join('')
}
