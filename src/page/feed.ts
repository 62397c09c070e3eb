/** What happened, the latest first. */
import { time } from './format.js'
import type { FeedEntry } from './wire.js'

const SHOWN = 100

export class Feed {
  readonly #list: HTMLElement

  constructor(list: HTMLElement) {
    this.#list = list
  }

  clear(): void {
    this.#list.replaceChildren()
  }

  add(entries: readonly FeedEntry[]): void {
    for (const { at, level, text } of entries) {
      const item = document.createElement('li')
      item.className = level
      const when = document.createElement('time')
      when.dateTime = new Date(at).toISOString()
      when.textContent = time(at)
      const what = document.createElement('span')
      what.textContent = text
      item.append(when, what)
      this.#list.prepend(item)
    }
    while (this.#list.children.length > SHOWN) this.#list.lastElementChild?.remove()
  }
}
