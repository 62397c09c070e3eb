/**
 * Lines of a table: the first column left-aligned, the others right-aligned.
 *
 * @param {readonly (readonly string[])[]} rows the first is the heading; an empty row is a blank line
 * @returns {string}
 */
export function textTable(rows) {
  const widths = rows[0].map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (/** @type {readonly string[]} */ row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]),
      )
      .join('  ')
      .trimEnd()
  return rows.map(line).join('\n')
}
