/**
 * A table that fits: columns as wide as what stands in them while there is room; then, in this
 * order, the last column is cut short, columns are dropped one by one (`dropped`, lowest first), and
 * the first one is cut short, with `…` for what is missing. Pure.
 */
import { painted, type Paint } from '../paint.js'

export interface Column {
  readonly title: string
  readonly isNumber?: true
  /** Turn at which it is dropped, 1 first; absent: never. */
  readonly dropped?: number
}

export interface Cell {
  readonly text: string
  readonly paint?: Paint
}

export type TableRow = readonly Cell[]

export interface Fit {
  /** Columns of the terminal; undefined: no limit. */
  readonly width: number | undefined
  readonly hasColour: boolean
}

const GAP = '  '
/** The first column is not cut below this while another can be dropped. */
const FIRST_MIN = 32
/** A last column of less says nothing. */
const LAST_MIN = 12

/** The line of titles and one for each row. */
export function tableLines(
  columns: readonly Column[],
  rows: readonly TableRow[],
  { width, hasColour }: Fit,
): string[] {
  const natural = columns.map(({ title }, index) =>
    rows.reduce((most, row) => Math.max(most, row[index]?.text.length ?? 0), title.length),
  )
  const widths = width === undefined ? natural : fitted(columns, natural, width)
  const head = columns.map(({ title }): Cell => ({ text: title, paint: 'dim' }))
  return [head, ...rows].map((row) => lineOf(row, { columns, widths, hasColour }))
}

function lineOf(
  row: TableRow,
  options: {
    readonly columns: readonly Column[]
    readonly widths: readonly number[]
    readonly hasColour: boolean
  },
): string {
  const { columns, widths, hasColour } = options
  let line = ''
  let owed = ''
  for (const [index, column] of columns.entries()) {
    const width = widths[index] ?? 0
    if (width === 0) continue
    const { text: whole = '', paint = 'plain' } = row[index] ?? {}
    const text = cut(whole, width)
    const blanks = ' '.repeat(width - text.length)
    if (text !== '') {
      line += `${owed}${column.isNumber === true ? blanks : ''}${painted(text, paint, hasColour)}`
      owed = ''
    }
    // Blanks at the end of a line are left out.
    owed += column.isNumber === true && text !== '' ? GAP : blanks + GAP
  }
  return line
}

/** Width of each column; 0: it is dropped. */
function fitted(columns: readonly Column[], natural: readonly number[], room: number): number[] {
  const widths = [...natural]
  const last = widths.length - 1
  const over = (): number => total(widths) - room
  const wanted = natural[0] ?? 0
  // What the first column can give without being cut below its minimum.
  const spare = Math.max(0, wanted - FIRST_MIN)
  const order = columns
    .flatMap(({ dropped }, index) => (dropped === undefined ? [] : [{ dropped, index }]))
    .sort((one, other) => one.dropped - other.dropped)
  const lastWidth = (widths[last] ?? 0) - Math.max(0, over() - spare)
  widths[last] = lastWidth >= Math.min(LAST_MIN, natural[last] ?? 0) ? lastWidth : 0
  for (const { index } of order) {
    if (over() <= spare) break
    widths[index] = 0
  }
  widths[0] = Math.max(1, wanted - Math.max(0, over()))
  return widths
}

function total(widths: readonly number[]): number {
  const shown = widths.filter((width) => width > 0)
  return shown.reduce((sum, width) => sum + width, 0) + GAP.length * Math.max(0, shown.length - 1)
}

/** At most `width` columns, the last one a `…` when something is missing. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`
}
