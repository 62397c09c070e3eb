/**
 * The last 15 minutes: of the whole proxy in steps of 5 s, of each Service port with traffic in steps
 * of 30 s. Kept whether or not somebody looks, so that a page that is opened shows it.
 * Memory: POINTS * 8 numbers, and for at most `maxSeries` Service ports SERIES_POINTS numbers each; the
 * one idle longest makes room.
 */
import type { Point } from '../../page/wire.js'
import { Ring } from './ring.js'
import { quantile } from './quantile.js'

export const STEP_MS = 5000
export const POINTS = 180
export const SERIES_STEPS = 6
export const SERIES_POINTS = 30
const MAX_SERIES = 20_000

export interface Counted {
  readonly totalConnections: number
}

/** What the whole proxy has counted so far; the histogram is not cumulative. */
export interface Totals {
  readonly open: number
  readonly total: number
  readonly failed: number
  readonly retries: number
  readonly waiting: number
  readonly queueDropped: number
  /** Upper bounds in seconds. */
  readonly bounds: readonly number[]
  readonly latency: readonly number[]
}

interface Series {
  readonly ring: Ring
  /** Number of the step before its first. */
  readonly since: number
  total: number
}

const NO_TOTALS: Totals = {
  ...{ open: 0, total: 0, failed: 0, retries: 0, waiting: 0, queueDropped: 0 },
  ...{ bounds: [], latency: [] },
}

export class History {
  readonly #ring = new Ring(8, POINTS)
  readonly #maxSeries: number
  readonly #series = new Map<string, Series>()
  #seriesSteps = 0
  #seriesAtMs = 0
  #before: Totals = NO_TOTALS
  #beforeMs: number | undefined

  constructor(maxSeries = MAX_SERIES) {
    this.#maxSeries = maxSeries
  }

  get count(): number {
    return this.#ring.count
  }

  get seriesCount(): number {
    return this.#series.size
  }

  /** Whether the next step is one of the Service ports too. */
  get isSeriesDue(): boolean {
    return this.#ring.count % SERIES_STEPS === 0
  }

  /** A step of the whole proxy; the first has no rates. */
  add(now: Totals, nowMs: number): void {
    const before = this.#before
    const seconds = this.#beforeMs === undefined ? Infinity : (nowMs - this.#beforeMs) / 1000
    const perSecond = (a: number, b: number): number => Math.max(0, a - b) / seconds
    const counts = now.latency.map((count, i) => count - (before.latency[i] ?? 0))
    this.#ring.push([
      now.open,
      perSecond(now.total, before.total),
      perSecond(now.failed, before.failed),
      perSecond(now.retries, before.retries),
      quantile(now.bounds, counts, 0.5) * 1e6,
      quantile(now.bounds, counts, 0.99) * 1e6,
      now.waiting,
      perSecond(now.queueDropped, before.queueDropped),
    ])
    this.#before = now
    this.#beforeMs = nowMs
  }

  /** Steps from number `seq` on that are still here. */
  since(seq: number): Point[] {
    const points: Point[] = []
    for (let i = Math.max(seq, this.#ring.first); i < this.#ring.count; i++)
      points.push(this.#point(i))
    return points
  }

  /** A step of every Service port. */
  addSeries(ports: Iterable<string>, read: (id: string) => Counted, nowMs: number): void {
    const seconds = this.#seriesSteps === 0 ? Infinity : (nowMs - this.#seriesAtMs) / 1000
    this.#seriesSteps++
    this.#seriesAtMs = nowMs
    const seen = new Set<string>()
    for (const id of ports) {
      const { totalConnections } = read(id)
      const known = this.#series.get(id)
      if (known === undefined && totalConnections === 0) continue
      seen.add(id)
      const series = known ?? {
        ring: new Ring(1, SERIES_POINTS),
        since: this.#seriesSteps - 1,
        total: 0,
      }
      series.ring.push([Math.max(0, totalConnections - series.total) / seconds])
      if (known === undefined || series.total !== totalConnections) {
        // The one at the front is idle longest.
        this.#series.delete(id)
        this.#series.set(id, series)
      }
      series.total = totalConnections
    }
    for (const id of this.#series.keys()) {
      if (!seen.has(id) || this.#series.size > this.#maxSeries) this.#series.delete(id)
    }
  }

  /** New connections per second of a Service port, oldest first, SERIES_POINTS at most; idle: none. */
  ratesOf(id: string): number[] {
    const series = this.#series.get(id)
    if (series === undefined) return []
    const rates: number[] = new Array<number>(Math.min(series.since, SERIES_POINTS)).fill(0)
    for (let i = series.ring.first; i < series.ring.count; i++) {
      rates.push(Math.round(series.ring.get(i, 0) * 100) / 100)
    }
    return rates.slice(-SERIES_POINTS)
  }

  #point(seq: number): Point {
    const value = (series: number): number => Math.round(this.#ring.get(seq, series) * 100) / 100
    const orNull = (number: number): number | null => (Number.isNaN(number) ? null : number)
    return {
      ...{ seq, open: value(0), rate: value(1), failed: value(2), retries: value(3) },
      ...{ p50: orNull(value(4)), p99: orNull(value(5)), waiting: value(6), queueDrops: value(7) },
    }
  }
}
