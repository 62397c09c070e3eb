/**
 * How far a command has got: on a terminal one line that is redrawn and goes away at the end, else a
 * line now and then, so that a log stays short. Beside the output: to standard error.
 */
const REDRAW_MS = 100
const LINE_MS = 10_000

export interface ProgressOptions {
  readonly write: (text: string) => void
  readonly isTerminal: boolean
  /** Of the terminal. */
  readonly columns: () => number
  /** Monotonic. */
  readonly nowMs: () => number
}

export class Progress {
  readonly #options: ProgressOptions
  #shownMs: number
  #isShown = false

  constructor(options: ProgressOptions) {
    this.#options = options
    this.#shownMs = options.isTerminal ? -Infinity : options.nowMs()
  }

  /** What is being done now; too soon after another one it is not shown. */
  step(text: string): void {
    const { write, isTerminal, columns, nowMs } = this.#options
    const now = nowMs()
    if (now - this.#shownMs < (isTerminal ? REDRAW_MS : LINE_MS)) return
    this.#shownMs = now
    if (!isTerminal) {
      write(`${text} ...\n`)
      return
    }
    this.#isShown = true
    write(`\r\u001b[K${text.slice(0, Math.max(1, columns() - 5)).trimEnd()} ...`)
  }

  /** Takes the line away. Idempotent. */
  end(): void {
    if (this.#isShown) this.#options.write('\r\u001b[K')
    this.#isShown = false
  }
}

/** On standard error. */
export function stderrProgress(): Progress {
  const { stderr } = process
  return new Progress({
    write: (text) => stderr.write(text),
    isTerminal: stderr.isTTY,
    columns: () => stderr.columns || 80,
    nowMs: () => performance.now(),
  })
}
