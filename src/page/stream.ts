/** The stream of changes; opened again when it breaks, and closed while nobody looks at the page. */
import type { Hello, Tick } from './wire.js'

/** The program sends every second, or every few when it is loaded. */
const SILENCE_MS = 15_000
const RETRY_MS = 3000
const HIDDEN_MS = 60_000

export type StreamState = 'live' | 'connecting' | 'lost' | 'paused'

export interface StreamEvents {
  readonly onHello: (hello: Hello) => void
  readonly onTick: (tick: Tick) => void
  readonly onState: (state: StreamState) => void
}

export class Stream {
  readonly #events: StreamEvents
  #source: EventSource | undefined
  #silence = 0
  #retry = 0
  #hidden = 0

  constructor(events: StreamEvents) {
    this.#events = events
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.#hidden)
      if (!document.hidden) {
        if (this.#source === undefined) this.open()
        return
      }
      this.#hidden = window.setTimeout(() => {
        this.#close()
        events.onState('paused')
      }, HIDDEN_MS)
    })
  }

  open(): void {
    this.#close()
    this.#events.onState('connecting')
    const source = new EventSource('page/stream')
    this.#source = source
    source.addEventListener('hello', (event: MessageEvent<string>) => {
      this.#events.onHello(JSON.parse(event.data) as Hello)
    })
    source.addEventListener('tick', (event: MessageEvent<string>) => {
      this.#heard()
      this.#events.onTick(JSON.parse(event.data) as Tick)
    })
    source.addEventListener('error', () => {
      this.#again()
    })
    this.#heard('connecting')
  }

  #heard(state: StreamState = 'live'): void {
    this.#events.onState(state)
    clearTimeout(this.#silence)
    this.#silence = window.setTimeout(() => {
      this.#again()
    }, SILENCE_MS)
  }

  #again(): void {
    this.#close()
    this.#events.onState('lost')
    this.#retry = window.setTimeout(() => {
      this.open()
    }, RETRY_MS)
  }

  #close(): void {
    clearTimeout(this.#silence)
    clearTimeout(this.#retry)
    this.#source?.close()
    this.#source = undefined
  }
}
