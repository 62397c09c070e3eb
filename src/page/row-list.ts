/** The list that is scrolled: Service ports, and below those that are open their endpoints. No document here. */
import type { EndpointDetail } from './wire.js'
import type { Row } from './store.js'

/** One line of the list: a Service port, or an endpoint of it. */
export interface Item {
  readonly row: Row
  /** undefined: the line of the Service port itself. */
  readonly endpoint: number | undefined
}

/** An endpoint's line, as far as it is known. */
export interface Opened {
  endpoints: readonly EndpointDetail[]
  leftOut: number
}

/** Lines above and below what is seen, so that scrolling finds them there. */
const SPARE = 8

export class RowList {
  readonly opened = new Map<number, Opened>()
  /** Position of the rows that are open -> lines of their endpoints, in order. */
  #items: readonly (Row | Item)[] = []

  get length(): number {
    return this.#items.length
  }

  rebuild(view: readonly Row[]): void {
    if (this.opened.size === 0) {
      this.#items = view
      return
    }
    const items: (Row | Item)[] = []
    for (const row of view) {
      items.push(row)
      const opened = this.opened.get(row.id)
      if (opened === undefined) continue
      const lines =
        opened.endpoints.length > 0 ? opened.endpoints.length : Math.min(row.endpoints, 1000)
      for (let endpoint = 0; endpoint < lines; endpoint++) items.push({ row, endpoint })
    }
    this.#items = items
  }

  at(index: number): Item | undefined {
    const item = this.#items[index]
    if (item === undefined) return undefined
    return 'row' in item ? item : { row: item, endpoint: undefined }
  }

  /** Where the line of a Service port stands; -1 when it is not listed. */
  indexOf(id: number): number {
    return this.#items.findIndex((item) => 'id' in item && item.id === id)
  }
}

/** First line and line after the last that have to be there when `top` px of the list are scrolled away. */
export function visibleLines(
  top: number,
  height: number,
  { lineHeight, length }: { readonly lineHeight: number; readonly length: number },
): { first: number; end: number } {
  const first = Math.max(0, Math.floor(top / lineHeight) - SPARE)
  const end = Math.min(length, Math.ceil((top + height) / lineHeight) + SPARE)
  return { first: Math.min(first, Math.max(0, end)), end: Math.max(0, end) }
}
