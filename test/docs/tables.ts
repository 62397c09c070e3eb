/** Tables and examples of the documentation are whole. */
import { readFileSync } from 'node:fs'
import t from 'tap'

import { markdownFiles, ROOT } from '../fixtures/markdown.js'

/** Cells of a row; a `|` in a cell has a backslash before it. */
function cellsOf(line: string): number {
  return line.split(/(?<!\\)\|/).length - 2
}

t.test('every row of a table has as many cells as its head', async (t) => {
  const broken: string[] = []
  let rows = 0
  for (const { path, text } of markdownFiles()) {
    const prose = text.replaceAll(/^ *```[^]*?^ *```/gm, '')
    for (const [table] of prose.matchAll(/(?:^ *\|.*\n)+/gm)) {
      const lines = table.trim().split('\n')
      rows += lines.length
      const [head = ''] = lines
      for (const line of lines) {
        if (cellsOf(line) !== cellsOf(head)) broken.push(`${path}: ${line.slice(0, 80)}`)
      }
    }
  }
  t.same(broken, [])
  t.ok(rows > 500, `${rows} rows looked at`)
})

t.test('the balancer on the page is the one that the tests run', async (t) => {
  const page = readFileSync(`${ROOT}docs/writing-a-balancer.md`, 'utf8')
  const example = readFileSync(`${ROOT}deploy/examples/balancer-first.mjs`, 'utf8')
  t.equal(/```js\n([^]*?)```/.exec(page)?.[1], example)
})
