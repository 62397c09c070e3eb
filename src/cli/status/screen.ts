/** One picture of the watched status that fills a terminal: head, window on the table, foot. Pure. */
import type { ProxyStatus } from '../../observe/status.js'
import { painted } from '../paint.js'
import { cut } from './columns.js'
import { statusLines, type TableOptions } from './table.js'
import { KEY_HELP, type View } from './view.js'

export interface ScreenOptions extends TableOptions {
  readonly width: number
  readonly height: number
  /** Why the status is not of now; undefined: it is. */
  readonly trouble: string | undefined
}

export interface Screen {
  /** At most `height` of them, none wider than `width`. */
  readonly lines: readonly string[]
  /** The view with an offset that exists. */
  readonly view: View
  /** Rows that the window has. */
  readonly page: number
}

/** Rows of the table that have their place before the head has all of its lines. */
const MIN_ROWS = 4

export function screenOf(status: ProxyStatus, options: ScreenOptions): Screen {
  const { width, height, hasColour, view, trouble } = options
  const { head: wholeHead, table } = statusLines(status, options)
  const [titles = '', ...rows] = table
  // A blank line and the titles, and the foot.
  const room = Math.max(0, height - 3)
  const head = [
    ...(trouble === undefined ? [] : [painted(cut(trouble, width), 'red', hasColour)]),
    ...wholeHead.map((line) => cut(line, width)),
  ].slice(0, Math.max(1, room - MIN_ROWS))
  const page = Math.max(1, room - head.length)
  const offset = Math.min(view.offset, Math.max(0, rows.length - page))
  const window = view.showsHelp ? helpLines(width) : rows.slice(offset, offset + page)
  const body = window.slice(0, page)
  const blanks = Array<string>(page - body.length).fill('')
  const place = { from: offset, to: offset + body.length, of: rows.length }
  const foot = painted(cut(footOf(view, place), width), 'dim', hasColour)
  const lines = [...head, '', view.showsHelp ? '' : titles, ...body, ...blanks, foot]
  return { lines: lines.slice(-height), view: { ...view, offset }, page }
}

function helpLines(width: number): string[] {
  const keyWidth = Math.max(...KEY_HELP.map(([keys]) => keys.length))
  return KEY_HELP.map(([keys, what]) => cut(`${keys.padEnd(keyWidth)}  ${what}`, width))
}

function footOf(
  { isTyping, filter, sort, isReversed, onlyTrouble, isPaused }: View,
  { from, to, of }: { readonly from: number; readonly to: number; readonly of: number },
): string {
  if (isTyping) return `/${filter}_`
  return [
    'q quits, ? helps',
    of === 0 ? 'nothing to show' : `${from + 1}-${to} of ${of}`,
    `by ${sort}${isReversed ? ', reversed' : ''}`,
    ...(filter === '' ? [] : [`filter ${filter}`]),
    ...(onlyTrouble ? ['problems only'] : []),
    ...(isPaused ? ['STOPPED'] : []),
  ].join('  ')
}
