// Medians with their spread, and ratios between contenders that were measured in turn.

/**
 * @typedef {object} Summary
 * @property {number} median
 * @property {number} min
 * @property {number} max
 */

/**
 * @param {readonly number[]} values not empty
 * @returns {number}
 */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * Undefined when nothing was measured.
 *
 * @param {readonly (number | undefined)[]} values one a round, undefined where it was not measured
 * @returns {Summary | undefined}
 */
export function summarize(values) {
  const measured = values.filter((value) => value !== undefined)
  if (measured.length === 0) return undefined
  return { median: median(measured), min: Math.min(...measured), max: Math.max(...measured) }
}

/**
 * Median of the ratios of each round, not the ratio of the medians: what slowed a whole round down
 * (another program on the machine) cancels out.
 *
 * @param {readonly (number | undefined)[]} values
 * @param {readonly (number | undefined)[]} peer of the same rounds
 * @returns {number | undefined}
 */
export function medianRatio(values, peer) {
  const ratios = values.flatMap((value, round) => {
    const other = peer[round]
    return value === undefined || !other ? [] : [value / other]
  })
  return ratios.length === 0 ? undefined : median(ratios)
}
