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

const NAMES = {
  direct: 'no proxy',
  kernel: 'one DNAT rule of the kernel',
  'iptables-1000': "kube-proxy's rules, 1,000 Services",
  haproxy: 'HAProxy',
  nginx: 'nginx stream',
  socat: 'socat',
  userspace: 'userspace mode',
  'nfqueue-2': 'nfqueue mode',
  'nftables-2': 'nftables mode',
  'our-iptables-2': 'iptables mode',
}
const MARK = '### All of them on an idle machine'
const svg = spanChart({
  title: 'Median, least and most of the rounds, all in one run on an idle machine',
  groups: [
    { title: 'new connections a second', rows: rowsAfter(MARK, 'connections/s', NAMES) },
    {
      title: 'Gbit/s of four streams',
      rows: rowsAfter('A connect to a relay ends', 'Gbit/s', NAMES),
    },
  ],
})
writeFileSync(new URL('docs/performance.svg', root), svg)
