/**
 * Time-outs of session affinity. A rule holds its time-out as a constant, so there is one chain for
 * each of these and a Service port uses the first that is not shorter than its own.
 */

/** Seconds, ascending; the last is the longest that the API allows. */
export const AFFINITY_TIMEOUTS: readonly number[] = [
  1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1800, 3600, 5400, 7200,
  10_800, 14_400, 21_600, 28_800, 43_200, 86_400,
]

export const AFFINITY_CHAINS = AFFINITY_TIMEOUTS.map((seconds) => `affinity-${seconds}`)

/** Index in AFFINITY_TIMEOUTS. */
export function timeoutClassOf(seconds: number): number {
  const index = AFFINITY_TIMEOUTS.findIndex((timeout) => timeout >= seconds)
  return index < 0 ? AFFINITY_TIMEOUTS.length - 1 : index
}
