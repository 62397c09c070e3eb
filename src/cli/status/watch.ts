/**
 * `status --watch` on a terminal: asks every second and redraws in place, and does what keys say.
 * Owns the terminal while it runs (alternate screen, no cursor, raw keyboard) and gives it back.
 */
import { messageOf } from '../../lib/errors.js'
import type { ProxyStatus } from '../../observe/status.js'
import { Rates } from './rates.js'
import { screenOf } from './screen.js'
import { pressed, type View } from './view.js'

export interface WatchOptions {
  readonly ask: () => Promise<ProxyStatus>
  readonly write: (text: string) => void
  /** Asked before every redraw: a terminal can be resized. */
  readonly size: () => { readonly columns: number; readonly rows: number }
  readonly hasColour: boolean
  readonly view: View
  /** Calls back with each key; returns what ends that. */
  readonly onKeys: (listener: (key: string) => void) => () => void
  readonly signal: AbortSignal
}

const ASK_MS = 1000
/** A status of 10,000 Services costs the proxy something: at most this share of the time is for it. */
const ASKING_SHARE = 0.2
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[2J'
const LEAVE = '\u001b[?25h\u001b[?1049l'
const HOME = '\u001b[H'
const CLEAR_TO_END_OF_LINE = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'

/** Until the signal aborts or a key quits. Throws what the first question throws; later ones are shown. */
export async function watchStatus(options: WatchOptions): Promise<void> {
  const first = await options.ask()
  const watch = new Watch(options, first)
  options.write(ENTER)
  const off = options.onKeys((key) => {
    watch.press(key)
  })
  try {
    await watch.run()
  } finally {
    off()
    options.write(LEAVE)
  }
}

class Watch {
  readonly #options: WatchOptions
  readonly #rates = new Rates()
  readonly #over: AbortSignal
  readonly #quit = new AbortController()
  #status: ProxyStatus
  #view: View
  #page = 1
  #trouble: string | undefined
  #askedMs = 0

  constructor(options: WatchOptions, first: ProxyStatus) {
    this.#options = options
    this.#view = options.view
    this.#over = AbortSignal.any([options.signal, this.#quit.signal])
    this.#status = first
    this.#rates.add(first, performance.now())
  }

  press(key: string): void {
    const view = pressed(this.#view, key, this.#page)
    if (view === 'quit') {
      this.#quit.abort()
      return
    }
    this.#view = view
    this.draw()
  }

  async run(): Promise<void> {
    for (;;) {
      this.draw()
      await this.#rest()
      if (this.#over.aborted) return
      if (!this.#view.isPaused) await this.#ask()
    }
  }

  draw(): void {
    const { size, hasColour, write } = this.#options
    const { columns, rows } = size()
    const { lines, view, page } = screenOf(this.#status, {
      ...{ width: columns, height: rows, hasColour, view: this.#view, trouble: this.#trouble },
      ...{ rates: this.#rates, nowMs: Date.now() },
    })
    this.#view = view
    this.#page = page
    write(
      `${HOME}${lines.join(`${CLEAR_TO_END_OF_LINE}\r\n`)}${CLEAR_TO_END_OF_LINE}${CLEAR_BELOW}`,
    )
  }

  async #ask(): Promise<void> {
    const startedMs = performance.now()
    try {
      const status = await Promise.race([this.#options.ask(), this.#aborted()])
      if (status === undefined) return
      this.#status = status
      this.#trouble = undefined
      this.#rates.add(status, performance.now())
    } catch (error) {
      this.#trouble ??= `not of now, since ${new Date().toISOString()}: ${messageOf(error)}`
    }
    this.#askedMs = performance.now() - startedMs
  }

  /** Till the next question, or the end. */
  #rest(): Promise<void> {
    const ms = Math.max(ASK_MS, this.#askedMs / ASKING_SHARE)
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#over.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      this.#over.addEventListener('abort', done)
    })
  }

  #aborted(): Promise<undefined> {
    return new Promise((resolve) => {
      this.#over.addEventListener(
        'abort',
        () => {
          resolve(undefined)
        },
        { once: true },
      )
    })
  }
}
