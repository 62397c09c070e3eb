/** Medians with their spread, ratios round by round, and tables of them. */

/** @param {readonly number[]} values @returns {number} NaN when there are none */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  if (sorted.length === 0) return NaN
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** `median [min..max]`, or a dash. @param {readonly number[]} values @param {number} digits */
export function spread(values, digits) {
  const known = values.filter(Number.isFinite)
  if (known.length === 0) return '-'
  const text = (value) => value.toFixed(digits)
  return `${text(median(known))} [${text(Math.min(...known))}..${text(Math.max(...known))}]`
}

/** Median of the ratios of the rounds: both of a pair met the machine in the same mood. */
export function ratio(values, peers) {
  const ratios = values.map((value, round) => value / peers[round]).filter(Number.isFinite)
  return ratios.length === 0 ? '-' : median(ratios).toFixed(2)
}

/** Median of the differences of the rounds, with its sign. */
export function difference(values, peers, digits) {
  const differences = values.map((value, round) => value - peers[round])
  const middle = median(differences)
  return `${middle < 0 ? '' : '+'}${middle.toFixed(digits)}`
}

/** Rows as text, the first column to the left and the others to the right. */
export function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
        )
        .join('  '),
    )
    .join('\n')
}
