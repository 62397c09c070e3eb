/**
 * The status page on the metrics address: its files, the stream of what changes, and the history behind
 * it. Without a viewer only the history goes on: a step every 5 s, later when a step is dear, so that it
 * never takes more than 1/500 of the time; with viewers an update every second, at most 1/20.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../lib/clock.js'
import type { Tick } from '../../page/wire.js'
import type { StatusInputs } from '../build-status.js'
import { json, type Answerer, type Streamer } from '../http-server.js'
import { detailsOf } from './details.js'
import { EventFeed } from './event-feed.js'
import { History, POINTS, SERIES_STEPS, STEP_MS } from './history.js'
import { pageFiles } from './page-files.js'
import { RowTable } from './row-table.js'
import { summaryOf, totalsOf } from './summary.js'
import { eventText, type Place, Viewers } from './viewers.js'

const TICK_MS = 1000
const HISTORY_SHARE = 500
const TICK_SHARE = 20

export interface StatusPageOptions {
  readonly clock: Clock
  readonly wallClock: () => Date
  readonly inputs: () => StatusInputs
}

export class StatusPage {
  readonly feed: EventFeed
  readonly #options: StatusPageOptions
  readonly #history = new History()
  readonly #viewers: Viewers
  #table: RowTable | undefined
  #cancelTick: (() => void) | undefined
  #cancelStep: (() => void) | undefined
  #lastTickMs = 0
  #syncError: string | undefined
  #isClosed = false

  constructor(options: StatusPageOptions) {
    this.#options = options
    this.feed = new EventFeed(options.wallClock)
    this.#viewers = new Viewers(() => {
      this.#stopTicks()
    })
  }

  /** Begins the history. */
  start(): void {
    this.#cancelStep = this.#options.clock.after(0, () => {
      this.#step()
    })
  }

  get paths(): [string, Answerer][] {
    return [
      ...pageFiles(),
      [
        '/page/details',
        (query) => {
          if (this.#table === undefined) return json({ stepMs: STEP_MS * SERIES_STEPS, rows: [] })
          const parts = { table: this.#table, history: this.#history }
          return json(detailsOf(query, this.#options.inputs(), parts))
        },
      ],
    ]
  }

  get streams(): [string, Streamer][] {
    return [
      [
        '/page/stream',
        (request, response) => {
          this.#open(request, response)
        },
      ],
    ]
  }

  /** The health of an endpoint of that Service port has changed. */
  portChanged(servicePortId: string): void {
    this.#table?.markStale(servicePortId)
  }

  /** No history and no streams any more. Idempotent. */
  close(): void {
    this.#isClosed = true
    this.#cancelStep?.()
    this.#viewers.close()
    this.#stopTicks()
  }

  #open(request: IncomingMessage, response: ServerResponse): void {
    if (this.#isClosed || this.#viewers.isFull) {
      response.writeHead(503, { 'Content-Type': 'text/plain', 'Retry-After': '5' })
      response.end('as many pages are open as may be\n')
      return
    }
    request.socket.setNoDelay(true)
    response.writeHead(200, {
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
      'X-Accel-Buffering': 'no',
    })
    const { clock } = this.#options
    this.#viewers.add(response, `retry: 2000\n\n${this.#hello()}`, clock.nowMs())
    if (this.#table === undefined) {
      this.#table = new RowTable()
      this.#lastTickMs = clock.nowMs() - TICK_MS
    }
    this.#cancelTick?.()
    this.#cancelTick = clock.after(0, () => {
      this.#tick()
    })
  }

  #hello(): string {
    const { version, node } = this.#options.inputs()
    return eventText('hello', { version, node, stepMs: STEP_MS, points: POINTS })
  }

  #tick(): void {
    const table = this.#table
    if (table === undefined) return
    const { clock, inputs: read } = this.#options
    const nowMs = clock.nowMs()
    const inputs = read()
    table.update(inputs, Math.max(0.05, (nowMs - this.#lastTickMs) / 1000))
    this.#lastTickMs = nowMs
    const summary = summaryOf(inputs, { rows: table.size, ...table.sums() })
    const to: Place = { tick: table.tick, points: this.#history.count, feed: this.feed.count }
    this.#viewers.send(
      (place) => {
        // Too far behind to be told what is gone: everything anew.
        const isLost = place.tick > 0 && place.tick < table.forgottenAt
        const from = isLost ? { tick: 0, points: 0, feed: 0 } : place
        const { rows, counts, gone } = table.since(from.tick)
        const tick: Tick = {
          at: this.#options.wallClock().getTime(),
          summary,
          ...(rows.length > 0 && { rows }),
          ...(counts.length > 0 && { counts }),
          ...(gone.length > 0 && { gone }),
          ...(from.points < to.points && { points: this.#history.since(from.points) }),
          ...(from.feed < to.feed && { feed: this.feed.since(from.feed) }),
        }
        return (isLost ? this.#hello() : '') + eventText('tick', tick)
      },
      to,
      nowMs,
    )
    if (this.#viewers.size === 0) return
    const tookMs = clock.nowMs() - nowMs
    this.#cancelTick = clock.after(Math.max(TICK_MS - tookMs, tookMs * TICK_SHARE), () => {
      this.#tick()
    })
  }

  #stopTicks(): void {
    this.#cancelTick?.()
    this.#cancelTick = undefined
    this.#table = undefined
  }

  /** A sync that fails is told once, and when it has succeeded again. */
  #watchSyncs({ lastSyncError }: StatusInputs): void {
    if (lastSyncError === this.#syncError) return
    this.#syncError = lastSyncError
    if (lastSyncError === undefined) this.feed.add('good', 'syncs succeed again')
    else this.feed.add('bad', `a sync failed: ${lastSyncError}`)
  }

  #step(): void {
    const { clock, inputs: read } = this.#options
    const nowMs = clock.nowMs()
    const inputs = read()
    if (this.#history.isSeriesDue) {
      const { traffic, snapshot } = inputs
      this.#history.addSeries(snapshot.servicePorts.keys(), (id) => traffic.read(id), nowMs)
    }
    this.#history.add(totalsOf(inputs), nowMs)
    this.#watchSyncs(inputs)
    const tookMs = clock.nowMs() - nowMs
    this.#cancelStep = clock.after(Math.max(STEP_MS - tookMs, tookMs * HISTORY_SHARE), () => {
      this.#step()
    })
  }
}
