/** Horizontal bars as SVG, readable on a light and on a dark page. */

const WIDTH = 760
const LABEL = 190
const ROW = 18
const HEAD = 26
const LIGHT = '#8fb8de'
const DARK = '#1f5f99'

/**
 * Bars on a logarithmic scale from 1 on: an inner one (dark) upon an outer one (light).
 * @param {{ title: string, note: string, groups: readonly { title: string,
 *   rows: readonly { label: string, inner: number, outer: number }[] }[] }} chart
 */
export function barChart({ title, note, groups }) {
  const all = groups.flatMap(({ rows }) => rows.map(({ outer }) => outer))
  const most = Math.max(...all)
  const span = WIDTH - LABEL - 90
  const length = (value) => (span * Math.log10(Math.max(1, value))) / Math.log10(most)
  const parts = [text(12, 20, title, 'font-weight="bold"')]
  let y = 32
  for (const group of groups) {
    parts.push(text(12, y + 18, group.title, 'font-style="italic"'))
    y += HEAD
    for (const { label, inner, outer } of group.rows) {
      parts.push(text(LABEL - 8, y + 13, label, 'text-anchor="end"'))
      parts.push(bar(y, length(outer), LIGHT), bar(y, length(inner), DARK))
      const figures = `${inner.toFixed(1)} / ${outer.toFixed(0)}`
      parts.push(text(LABEL + length(outer) + 6, y + 13, figures, ''))
      y += ROW
    }
    y += 8
  }
  parts.push(text(12, y + 16, note, 'font-size="11"'))
  return page(parts, y + 28)
}

/** The parts upon white. */
function page(parts, height) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">
<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>
${parts.join('\n')}
</svg>
`
}

function text(x, y, content, attributes) {
  const space = attributes === '' ? '' : ` ${attributes}`
  return `<text x="${x.toFixed(0)}" y="${y}" fill="#222222"${space}>${content}</text>`
}

function bar(y, length, colour) {
  return `<rect x="${LABEL}" y="${y + 3}" width="${length.toFixed(1)}" height="${ROW - 6}" fill="${colour}"/>`
}

const SPAN_LABEL = 250

/**
 * A bar to the median and a line from least to most, each group on a linear scale of its own from 0 on.
 * @param {{ title: string, groups: readonly { title: string, rows: readonly { label: string,
 *   median: number, least: number, most: number }[] }[] }} chart
 */
export function spanChart({ title, groups }) {
  const parts = [text(12, 20, title, 'font-weight="bold"')]
  let y = 32
  for (const group of groups) {
    const most = Math.max(...group.rows.map((row) => row.most))
    const place = (value) => SPAN_LABEL + ((WIDTH - SPAN_LABEL - 90) * value) / most
    parts.push(text(12, y + 18, group.title, 'font-style="italic"'))
    y += HEAD
    for (const row of group.rows) {
      const middle = y + ROW / 2
      parts.push(
        text(SPAN_LABEL - 8, y + 13, row.label, 'text-anchor="end"'),
        `<rect x="${SPAN_LABEL}" y="${y + 3}" width="${(place(row.median) - SPAN_LABEL).toFixed(1)}" height="${ROW - 6}" fill="${LIGHT}"/>`,
        `<path d="M${place(row.least).toFixed(1)} ${middle}H${place(row.most).toFixed(1)}" stroke="${DARK}" stroke-width="2"/>`,
        text(place(row.most) + 6, y + 13, String(row.median), ''),
      )
      y += ROW
    }
    y += 8
  }
  return page(parts, y + 8)
}
