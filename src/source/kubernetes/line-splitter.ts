/** The lines of a watch: one JSON document each, however the bytes arrive. */
import { SluiceError } from '../../lib/errors.js'

const NEWLINE = 0x0a

export class LineSplitter {
  readonly #maxBytes: number
  #parts: Buffer[] = []
  #bytes = 0

  /** @param maxBytes longest line; more is an error, and not memory */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Whether the last line has no end yet. */
  get isInLine(): boolean {
    return this.#bytes > 0
  }

  /** The lines that this chunk ends, without empty ones. Throws ERR_API when one is too long. */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start)
      this.#keep(chunk.subarray(start, end < 0 ? undefined : end))
      if (end < 0) return lines
      const line = this.#take()
      if (line !== '') lines.push(line)
      start = end + 1
    }
  }

  #keep(part: Buffer): void {
    if (part.length === 0) return
    this.#bytes += part.length
    if (this.#bytes > this.#maxBytes) {
      throw new SluiceError('ERR_API', `a line of more than ${this.#maxBytes} bytes`)
    }
    this.#parts.push(part)
  }

  #take(): string {
    const [first = Buffer.alloc(0)] = this.#parts
    const whole = this.#parts.length <= 1 ? first : Buffer.concat(this.#parts)
    this.#parts = []
    this.#bytes = 0
    return whole.toString('utf8')
  }
}
