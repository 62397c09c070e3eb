/**
 * What the audience sees: collects numbers and events, and writes them as a table that is redrawn in
 * place, or as plain lines. Owns the cursor while it is on.
 */
import type { DemoEvent, Frame, PodState, ServiceRows } from './frame.js'
import type { LoadReport, ProxyNews, RequestFailure } from './messages.js'
import { renderEventLine, renderPlainLine } from './plain.js'
import { Scoreboard } from './scoreboard.js'
import { renderTable, type TableOptions } from './table.js'
import type { PodPlan, ServicePlan } from './topology.js'

const REDRAW_INTERVAL_MS = 200
const PLAIN_INTERVAL_MS = 1_000
const HIDE_CURSOR = '\u001b[?25l'
const SHOW_CURSOR = '\u001b[?25h'
const CLEAR_TO_END_OF_LINE = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'

export interface ShowOptions {
  readonly services: readonly ServicePlan[]
  readonly durationMs: number
  readonly isInteractive: boolean
  readonly hasColour: boolean
  /** Asked before every redraw: a terminal can be resized. */
  readonly size: () => Pick<TableOptions, 'columns' | 'rows'>
  readonly write: (text: string) => void
}

export class Show {
  readonly #options: ShowOptions
  readonly #scoreboard = new Scoreboard()
  readonly #states = new Map<string, PodState>()
  readonly #moved = new Set<string>()
  readonly #events: DemoEvent[] = []
  #phase = ''
  #mode = 'userspace'
  #retries = 0
  #startedAtMs = performance.now()
  #linesDrawn = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: ShowOptions) {
    this.#options = options
  }

  /** The clock of the show begins now. */
  start(): void {
    const { isInteractive, write } = this.#options
    this.#startedAtMs = performance.now()
    if (isInteractive) write(`\n${HIDE_CURSOR}`)
    this.#timer = setInterval(
      () => {
        this.#draw()
      },
      isInteractive ? REDRAW_INTERVAL_MS : PLAIN_INTERVAL_MS,
    )
  }

  /** Draws for the last time and gives the cursor back. Idempotent. */
  stop(): void {
    if (this.#timer === undefined) return
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#draw()
    if (this.#options.isInteractive) this.#options.write(SHOW_CURSOR)
  }

  report(report: LoadReport): void {
    this.#scoreboard.add(report)
  }

  proxyNews(news: ProxyNews): void {
    if (news.type !== 'status') return
    this.#mode = `${news.mode}, ${news.capture}`
    this.#retries = news.retries
  }

  /** Something happens; it is the phase of the show until the next event. */
  event(text: string): void {
    const event = { atMs: this.#elapsedMs(), text }
    this.#phase = text
    this.#events.push(event)
    if (!this.#options.isInteractive) this.#options.write(`${renderEventLine(event)}\n`)
  }

  setState(pod: PodPlan, state: PodState): void {
    this.#states.set(pod.name, state)
    if (state === 'killed') this.#scoreboard.recordDeath(pod.service, Date.now())
  }

  setMoved(pod: PodPlan): void {
    this.#moved.add(pod.name)
  }

  failures(): readonly RequestFailure[] {
    return this.#scoreboard.failures()
  }

  frame(): Frame {
    const nowMs = performance.now()
    return {
      elapsedMs: this.#elapsedMs(),
      durationMs: this.#options.durationMs,
      phase: this.#phase,
      mode: this.#mode,
      retries: this.#retries,
      services: this.#options.services.map((service) => this.#rowsOf(service, nowMs)),
      totals: this.#scoreboard.totals(),
      events: this.#events,
    }
  }

  #rowsOf(service: ServicePlan, nowMs: number): ServiceRows {
    return {
      name: service.name,
      title: service.title,
      pods: service.pods.map((pod) => {
        const hasMoved = this.#moved.has(pod.name)
        const { ipv4 } = hasMoved ? pod.second : pod.first
        return {
          name: pod.name,
          address: `${ipv4}:${pod.port}`,
          state: this.#states.get(pod.name) ?? 'serving',
          hasMoved,
          served: this.#scoreboard.served(pod.name),
          rate: this.#scoreboard.ratePerSecond(pod.name, nowMs),
        }
      }),
    }
  }

  #draw(): void {
    const { isInteractive, hasColour, size, write } = this.#options
    this.#scoreboard.sample(performance.now())
    if (!isInteractive) {
      write(`${renderPlainLine(this.frame())}\n`)
      return
    }
    const lines = renderTable(this.frame(), { ...size(), hasColour })
    const home = this.#linesDrawn === 0 ? '' : `\u001b[${this.#linesDrawn}A`
    const text = lines.map((line) => `\r${line}${CLEAR_TO_END_OF_LINE}\n`).join('')
    write(`${home}${text}${CLEAR_BELOW}`)
    this.#linesDrawn = lines.length
  }

  #elapsedMs(): number {
    return performance.now() - this.#startedAtMs
  }
}
