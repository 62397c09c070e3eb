/** Horizontal bars as SVG, readable on a light and on a dark page. */

const WIDTH = 760
const LABEL = 190
const ROW = 18
const HEAD = 26

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
      parts.push(bar(y, length(outer), '#8fb8de'), bar(y, length(inner), '#1f5f99'))
      const figures = `${inner.toFixed(1)} / ${outer.toFixed(0)}`
      parts.push(text(LABEL + length(outer) + 6, y + 13, figures, ''))
      y += ROW
    }
    y += 8
  }
  parts.push(text(12, y + 16, note, 'font-size="11"'))
  const height = y + 28
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
