/**
 * The streams of server-sent events, one for each page that is open. What is sent is made when the
 * reader can take it, from what has changed since: a slow reader gets fewer and not more, and nothing
 * waits for it but what its socket holds. One that takes nothing for STUCK_MS is dropped.
 */
import type { ServerResponse } from 'node:http'

export const MAX_VIEWERS = 8
const STUCK_MS = 20_000

/** Up to where a reader has been sent: numbers of updates, of points, of events. */
export interface Place {
  readonly tick: number
  readonly points: number
  readonly feed: number
}

export const START: Place = { tick: 0, points: 0, feed: 0 }

/** The part of a response that is used. */
export type EventSink = Pick<
  ServerResponse,
  'write' | 'end' | 'destroy' | 'on' | 'writableNeedDrain'
>

interface Viewer {
  readonly sink: EventSink
  place: Place
  takenAtMs: number
}

export class Viewers {
  readonly #viewers = new Set<Viewer>()
  readonly #onEmpty: () => void
  /** Readers that took nothing any more. */
  dropped = 0

  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty
  }

  get size(): number {
    return this.#viewers.size
  }

  get isFull(): boolean {
    return this.#viewers.size >= MAX_VIEWERS
  }

  /** `head` is sent first. */
  add(sink: EventSink, head: string, nowMs: number): void {
    const viewer: Viewer = { sink, place: START, takenAtMs: nowMs }
    this.#viewers.add(viewer)
    sink.on('close', () => {
      this.#remove(viewer)
    })
    sink.on('error', () => undefined) // 'close' follows
    sink.write(head)
  }

  /** Sends each what it lacks; `textSince` is asked once for each place. */
  send(textSince: (place: Place) => string, to: Place, nowMs: number): void {
    const texts = new Map<string, string>()
    for (const viewer of this.#viewers) {
      if (viewer.sink.writableNeedDrain) {
        if (nowMs - viewer.takenAtMs > STUCK_MS) {
          this.dropped++
          viewer.sink.destroy()
          this.#remove(viewer)
        }
        continue
      }
      const { tick, points, feed } = viewer.place
      const key = `${tick} ${points} ${feed}`
      const text = texts.get(key) ?? textSince(viewer.place)
      texts.set(key, text)
      viewer.place = to
      viewer.takenAtMs = nowMs
      viewer.sink.write(text)
    }
  }

  close(): void {
    for (const { sink } of this.#viewers) sink.destroy()
    this.#viewers.clear()
  }

  #remove(viewer: Viewer): void {
    if (this.#viewers.delete(viewer) && this.#viewers.size === 0) this.#onEmpty()
  }
}

/** An event of the stream. */
export function eventText(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}
