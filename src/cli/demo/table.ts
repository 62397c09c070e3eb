/**
 * The live table: a Frame as lines that fit the terminal. Pure. Lines are made without colour,
 * cut to the width, and painted last, so that escape sequences never count as columns.
 */
import { formatAt, formatMs, type Frame, type PodRow, type ServiceRows, shareOf } from './frame.js'
import { painted, type Paint } from '../paint.js'

export interface TableOptions {
  readonly columns: number
  readonly rows: number
  readonly hasColour: boolean
}

interface Line {
  readonly text: string
  readonly paint: Paint
}

const PROGRESS_CELLS = 20
/** Columns left of the bar: see podLine. */
const BEFORE_BAR = 52
const MAX_BAR_CELLS = 20
const MAX_EVENTS = 5

/** Lines of at most `columns` columns; at most `rows - 1` of them, so that the terminal never scrolls. */
export function renderTable(frame: Frame, options: TableOptions): readonly string[] {
  const barCells = Math.max(0, Math.min(MAX_BAR_CELLS, options.columns - BEFORE_BAR - 6))
  const head = [
    ...headLines(frame),
    ...frame.services.flatMap((service) => serviceLines(service, barCells)),
    ...totalsLines(frame),
  ]
  const free = Math.max(0, options.rows - 1 - head.length)
  const events = frame.events.slice(-Math.min(free, MAX_EVENTS)).map(({ atMs, text }): Line => ({
    text: `${formatAt(atMs)}  ${text}`,
    paint: 'dim',
  }))
  const lines = [...head, ...(free === 0 ? [] : events)].slice(0, Math.max(1, options.rows - 1))
  return lines.map((line) => paint(line, options))
}

function headLines(frame: Frame): readonly Line[] {
  const part = Math.min(1, frame.elapsedMs / frame.durationMs)
  const done = Math.round(part * PROGRESS_CELLS)
  const progress = `[${'#'.repeat(done)}${'.'.repeat(PROGRESS_CELLS - done)}]`
  const seconds = `${Math.floor(frame.elapsedMs / 1_000)} of ${Math.round(frame.durationMs / 1_000)} s`
  return [
    { text: `kube-sluice demo  ${progress} ${seconds}   ${frame.mode}`, paint: 'bold' },
    { text: frame.phase, paint: 'yellow' },
    {
      text: `  ${'POD'.padEnd(8)}${'ADDRESS'.padEnd(20)}${'STATE'.padEnd(10)}${'SERVED'.padStart(7)}  NOW`,
      paint: 'dim',
    },
  ]
}

function serviceLines(service: ServiceRows, barCells: number): readonly Line[] {
  const rate = service.pods.reduce((sum, pod) => sum + pod.rate, 0)
  return [
    {
      text: `Service ${service.name}: ${service.title}, ${rate.toFixed(0)} requests/s`,
      paint: 'bold',
    },
    ...service.pods.map((pod) => podLine(pod, service, barCells)),
  ]
}

function podLine(pod: PodRow, service: ServiceRows, barCells: number): Line {
  const share = shareOf(pod, service, ({ rate }) => rate)
  const bar = '█'.repeat(Math.round(share * barCells)).padEnd(barCells, '·')
  const address = pod.hasMoved ? `${pod.address} *` : pod.address
  const columns = [
    `  ${pod.name.padEnd(8)}`,
    address.padEnd(20),
    pod.state.padEnd(10),
    String(pod.served).padStart(7),
    `  ${bar}${`${(share * 100).toFixed(0)}%`.padStart(5)}`,
  ]
  return { text: columns.join(''), paint: paintOf(pod) }
}

function paintOf(pod: PodRow): Paint {
  switch (pod.state) {
    case 'serving':
      return pod.hasMoved ? 'green' : 'plain'
    case 'starting':
      return 'yellow'
    case 'killed':
    case 'link down':
      return 'red'
  }
}

function totalsLines(frame: Frame): readonly Line[] {
  const { totals } = frame
  const lost = totals.lostWithPod === 0 ? '' : `, ${totals.lostWithPod} lost with a pod`
  return [
    {
      text:
        `requests ${totals.requests}, FAILED ${totals.failed}${lost}` +
        `, p50 ${formatMs(totals.p50Ms)}, p99 ${formatMs(totals.p99Ms)}` +
        `, connects retried ${frame.retries}`,
      paint: totals.failed === 0 ? 'green' : 'red',
    },
  ]
}

function paint(line: Line, options: TableOptions): string {
  return painted(line.text.slice(0, options.columns), line.paint, options.hasColour)
}
