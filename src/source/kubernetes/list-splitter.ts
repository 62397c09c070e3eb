/**
 * The items of a List, one by one while it is being received, so that a list of 63 MB never is in
 * memory as a whole. It counts brackets and parses nothing: each item is the text between them.
 *
 *   {"kind":"ServiceList","metadata":{"resourceVersion":"7"},"items":[ {...} , {...} ]}
 *    depth 1 ------------------------------------------------------- depth 3 ...
 *
 * What is not an item is kept as the frame, in which the list's metadata is.
 */
import { SluiceError } from '../../lib/errors.js'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

const MAX_FRAME_BYTES = 1024 * 1024
/** Depth of what stands in an item: the list's object, its array, the item itself. */
const ITEM_DEPTH = 3
/** Depth of what stands in the array. */
const ITEMS_DEPTH = 2

export class ListSplitter {
  readonly #maxItemBytes: number
  #depth = 0
  #isInString = false
  #isEscaped = false
  /** Between the brackets of the array of items. */
  #isInItems = false
  #item: Buffer[] = []
  #itemBytes = 0
  #frame: Buffer[] = []
  #frameBytes = 0

  /** @param maxItemBytes longest item; more is an error, and not memory */
  constructor(maxItemBytes: number) {
    this.#maxItemBytes = maxItemBytes
  }

  /** The items that this chunk ends, as JSON text. Throws ERR_API when one is too long. */
  push(chunk: Buffer): string[] {
    const items: string[] = []
    let start = 0
    for (let at = 0; at < chunk.length; at++) {
      if (this.#isInString) {
        at = this.#skipString(chunk, at)
        continue
      }
      switch (chunk.readUInt8(at)) {
        case QUOTE:
          this.#isInString = true
          break
        case OPEN_BRACE:
        case OPEN_BRACKET:
          this.#depth++
          if (this.#depth === ITEMS_DEPTH && chunk[at] === OPEN_BRACKET) {
            this.#isInItems = true
            this.#keepFrame(chunk.subarray(start, at + 1))
            start = at + 1
          } else if (this.#isInItems && this.#depth === ITEM_DEPTH) {
            // What lies between items, commas and blanks, is left out.
            start = at
          }
          break
        case CLOSE_BRACE:
        case CLOSE_BRACKET:
          this.#depth--
          if (!this.#isInItems) break
          if (this.#depth === ITEMS_DEPTH) {
            this.#keepItem(chunk.subarray(start, at + 1))
            items.push(this.#takeItem())
            start = at + 1
          } else if (this.#depth < ITEMS_DEPTH) {
            this.#isInItems = false
            start = at
          }
          break
        default: // part of a value
      }
    }
    const rest = chunk.subarray(start)
    if (!this.#isInItems) this.#keepFrame(rest)
    else if (this.#depth >= ITEM_DEPTH) this.#keepItem(rest)
    return items
  }

  /** The list without its items, parsed. Throws ERR_API when the list did not end, or is none. */
  end(): unknown {
    try {
      if (this.#depth !== 0 || this.#frameBytes === 0) throw new Error('it is cut off')
      return JSON.parse(Buffer.concat(this.#frame).toString('utf8')) as unknown
    } catch (error) {
      throw new SluiceError('ERR_API', 'a list that is not whole', { cause: error })
    }
  }

  /** From inside a string: the place of its last byte that is in this chunk. */
  #skipString(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at++) {
      if (this.#isEscaped) this.#isEscaped = false
      else if (chunk[at] === BACKSLASH) this.#isEscaped = true
      else if (chunk[at] === QUOTE) {
        this.#isInString = false
        return at
      }
    }
    return chunk.length
  }

  #keepItem(part: Buffer): void {
    this.#itemBytes += part.length
    if (this.#itemBytes > this.#maxItemBytes) {
      throw new SluiceError('ERR_API', `an object of more than ${this.#maxItemBytes} bytes`)
    }
    this.#item.push(part)
  }

  #takeItem(): string {
    const [first = Buffer.alloc(0)] = this.#item
    const whole = this.#item.length <= 1 ? first : Buffer.concat(this.#item)
    this.#item = []
    this.#itemBytes = 0
    return whole.toString('utf8')
  }

  #keepFrame(part: Buffer): void {
    this.#frameBytes += part.length
    if (this.#frameBytes > MAX_FRAME_BYTES) {
      throw new SluiceError('ERR_API', 'a list with more than a megabyte beside its items')
    }
    if (part.length > 0) this.#frame.push(Buffer.from(part))
  }
}
