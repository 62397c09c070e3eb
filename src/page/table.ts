/** The table of Service ports: only the lines that can be seen are in the document. */
import { type Opened, RowList, visibleLines } from './row-list.js'
import { LineView } from './row-view.js'
import type { Store } from './store.js'
import type { Details } from './wire.js'

export class Table {
  readonly #body: HTMLElement
  readonly #grid: HTMLElement
  readonly #store: Store
  readonly #list = new RowList()
  readonly #lines: LineView[] = []
  readonly #rates = new Map<number, readonly number[]>()
  /** Service port and endpoint (-1: the Service port's own line) that the keyboard is at. */
  #active = 0
  #lineHeight = 34
  #isAsking = false
  countsConnections = true

  constructor(grid: HTMLElement, body: HTMLElement, store: Store) {
    this.#grid = grid
    this.#body = body
    this.#store = store
    const draw = (): void => {
      requestAnimationFrame(() => {
        this.draw()
      })
    }
    addEventListener('scroll', draw, { passive: true })
    addEventListener('resize', draw)
    grid.addEventListener('keydown', (event) => {
      if (this.#onKey(event.key)) event.preventDefault()
    })
    grid.addEventListener('focus', draw)
    body.addEventListener('click', (event) => {
      const line = this.#lines.find(({ element }) => element.contains(event.target as Node))
      if (line === undefined || line.index < 0) return
      this.#active = line.index
      this.#toggle(line.index)
    })
  }

  /** Everything that was known is void. */
  clear(): void {
    this.#list.opened.clear()
    this.#rates.clear()
  }

  /** To the first line: another filter or order. */
  toTop(): void {
    this.#active = 0
    const top = this.#grid.getBoundingClientRect().top
    if (top < 0) scrollBy(0, top - 60)
    this.draw()
  }

  draw(): void {
    const list = this.#list
    list.rebuild(this.#store.view)
    this.#lineHeight = parseInt(getComputedStyle(this.#body).getPropertyValue('--line'), 10) || 34
    this.#body.style.height = `${list.length * this.#lineHeight}px`
    this.#grid.setAttribute('aria-rowcount', String(list.length + 1))
    this.#active = Math.min(this.#active, Math.max(0, list.length - 1))
    const { first, end } = this.#visible()
    while (this.#lines.length < end - first) {
      const line = new LineView(this.#lines.length)
      this.#lines.push(line)
      this.#body.append(line.element)
    }
    // A line keeps its element while it is scrolled.
    const slots = this.#lines.length
    const used = new Set<LineView>()
    for (let index = first; index < end; index++) {
      const item = list.at(index)
      const line = this.#lines[index % slots]
      if (item === undefined || line === undefined) continue
      used.add(line)
      line.draw(
        item,
        {
          index,
          isActive: index === this.#active,
          opened: list.opened.get(item.row.id),
          rates: this.#rates.get(item.row.id) ?? [],
          countsConnections: this.countsConnections,
        },
        this.#lineHeight,
      )
      if (index === this.#active) this.#grid.setAttribute('aria-activedescendant', line.element.id)
    }
    for (const line of this.#lines) if (!used.has(line)) line.hide()
  }

  /** Asks for the history of the lines that are seen, and the endpoints of those that are open. */
  async refresh(): Promise<void> {
    if (this.#isAsking) return
    const ids = new Set<number>()
    const { first, end } = this.#visible()
    for (let index = first; index < end; index++) {
      const item = this.#list.at(index)
      if (item !== undefined) ids.add(item.row.id)
    }
    if (ids.size === 0) return
    const open = [...ids].filter((id) => this.#list.opened.has(id))
    this.#isAsking = true
    try {
      const answer = await fetch(`page/details?rows=${[...ids].join()}&open=${open.join()}`)
      if (answer.ok) this.#take((await answer.json()) as Details)
    } catch {
      // The stream shows that the program does not answer.
    } finally {
      this.#isAsking = false
    }
  }

  #take({ rows }: Details): void {
    if (this.#rates.size > 2000) this.#rates.clear()
    for (const { id, rates, endpoints, leftOut = 0 } of rows) {
      this.#rates.set(id, rates)
      const opened = this.#list.opened.get(id)
      if (endpoints !== undefined && opened !== undefined)
        Object.assign(opened, { endpoints, leftOut })
    }
    this.draw()
  }

  #visible(): { first: number; end: number } {
    const top = -this.#body.getBoundingClientRect().top
    return visibleLines(top, innerHeight, {
      lineHeight: this.#lineHeight,
      length: this.#list.length,
    })
  }

  #onKey(key: string): boolean {
    const page = Math.max(1, Math.floor(innerHeight / this.#lineHeight) - 4)
    const steps: Readonly<Record<string, number>> = {
      ...{ ArrowDown: 1, ArrowUp: -1, j: 1, k: -1 },
      ...{ PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity },
    }
    const step = steps[key]
    if (step !== undefined) {
      this.#moveTo(this.#active + step)
      return true
    }
    const item = this.#list.at(this.#active)
    if (item === undefined) return false
    const isOpen = this.#list.opened.has(item.row.id)
    if (
      key === 'Enter' ||
      key === ' ' ||
      (key === 'ArrowRight' && !isOpen) ||
      (key === 'ArrowLeft' && isOpen)
    ) {
      this.#toggle(this.#active)
      return true
    }
    return key === 'ArrowRight' || key === 'ArrowLeft'
  }

  #moveTo(index: number): void {
    this.#active = Math.max(0, Math.min(this.#list.length - 1, index))
    const top = this.#body.getBoundingClientRect().top + this.#active * this.#lineHeight
    // The head of the table covers the top.
    if (top < 110) scrollBy(0, top - 110)
    else if (top + this.#lineHeight > innerHeight)
      scrollBy(0, top + this.#lineHeight - innerHeight + 4)
    this.draw()
  }

  /** Opens or closes the Service port of a line. */
  #toggle(index: number): void {
    const item = this.#list.at(index)
    if (item === undefined) return
    const { opened } = this.#list
    const empty: Opened = { endpoints: [], leftOut: 0 }
    if (!opened.delete(item.row.id)) opened.set(item.row.id, empty)
    this.draw()
    this.#active = Math.max(0, this.#list.indexOf(item.row.id))
    this.draw()
    void this.refresh()
  }
}
