/** The latest things that happened, for people; MAX_ENTRIES of them. The same again at once is not told. */
import type { FeedEntry } from '../../page/wire.js'

export const MAX_ENTRIES = 200
const MAX_TEXT = 500

export class EventFeed {
  readonly #entries: FeedEntry[] = []
  readonly #wallClock: () => Date
  #count = 0

  constructor(wallClock: () => Date) {
    this.#wallClock = wallClock
  }

  /** Entries are numbered from 0; this is the number of the next. */
  get count(): number {
    return this.#count
  }

  add(level: FeedEntry['level'], text: string): void {
    const cut = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text
    if (this.#entries.at(-1)?.text === cut) return
    this.#entries.push({ seq: this.#count++, at: this.#wallClock().getTime(), level, text: cut })
    if (this.#entries.length > MAX_ENTRIES) this.#entries.shift()
  }

  /** From number `seq` on, oldest first. */
  since(seq: number): readonly FeedEntry[] {
    return this.#entries.filter((entry) => entry.seq >= seq)
  }
}
