// Draws docs/performance.svg from the tables of perf/README.md, so that picture and figures agree:
//   node perf/charts.mjs
import { readFileSync, writeFileSync } from 'node:fs'
import { spanChart } from './bar-chart.mjs'

const root = new URL('../', import.meta.url)
const text = readFileSync(new URL('perf/README.md', root), 'utf8')

/** Rows of the first table after `mark` in which the column has `median [least..most]`. */
function rowsAfter(mark, column, names) {
  const at = text.indexOf(mark)
  if (at < 0) throw new Error(`perf/README.md has no "${mark}" any more`)
  const table = /(?:^\|.*\n)+/m.exec(text.slice(at))?.[0] ?? ''
  const rows = table.split('\n').map((line) => line.split('|').map((cell) => cell.trim()))
  const place = rows[0].indexOf(column)
  return rows.flatMap((cells) => {
    const match = /^([\d.]+) \[([\d.]+)\.\.([\d.]+)\]$/.exec(cells[place] ?? '')
    if (match === null || !(cells[1] in names)) return []
    const [median, least, most] = match.slice(1).map(Number)
    return [{ label: names[cells[1]], median, least, most }]
  })
}

const NFQUEUE = {
  kernel: 'one DNAT rule of the kernel',
  queue: 'a queue that decides nothing',
  'iptables-1000': "kube-proxy's rules, 1,000 Services",
  'nfqueue-2': 'nfqueue, 2 endpoints',
  'nfqueue-250000': 'nfqueue, 250,000 endpoints',
}
const USERSPACE = {
  direct: 'no proxy',
  'kernel DNAT': 'one DNAT rule of the kernel',
  HAProxy: 'HAProxy',
  'nginx stream': 'nginx stream',
  'kube-sluice': 'userspace mode',
}
const svg = spanChart({
  title: 'Median, least and most of the rounds. Compare within a group only',
  groups: [
    {
      title: 'nfqueue: new connections a second',
      rows: rowsAfter('And all in one run', 'connections/s', NFQUEUE),
    },
    {
      title: 'nfqueue: Gbit/s of four streams',
      rows: rowsAfter('And all in one run', 'Gbit/s', NFQUEUE),
    },
    {
      title: 'userspace: new connections a second',
      rows: rowsAfter('### With the native thread', 'connections/s', USERSPACE),
    },
    {
      title: 'userspace: Gbit/s of four streams',
      rows: rowsAfter('### With the native thread', 'Gbit/s', USERSPACE),
    },
  ],
})
writeFileSync(new URL('docs/performance.svg', root), svg)
