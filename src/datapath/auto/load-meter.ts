/** From totals that only grow to rates: what has happened a second since the reading before. Pure. */
import type { LoadTotals } from '../running-mode.js'
import type { Measurements } from './mode-selector.js'

export interface Reading extends LoadTotals {
  /** Connections that rules have taken; undefined: nothing counts them. */
  readonly byRules: number | undefined
  readonly atMs: number
}

/** What rates need a reading before for. */
const NOTHING: Measurements = {}
/** Readings that come closer say nothing. */
const MIN_MS = 50

export class LoadMeter {
  #before: Reading | undefined
  #rates = NOTHING

  /** Rates since the reading before; of `byRules` only when both have it. */
  rates(now: Reading): Measurements {
    const before = this.#before
    const ms = before === undefined ? 0 : now.atMs - before.atMs
    if (before !== undefined && ms < MIN_MS) return this.#rates
    this.#before = now
    if (before === undefined) return NOTHING
    const perSecond = (total: (reading: Reading) => number): number =>
      Math.max(0, ((total(now) - total(before)) / ms) * 1000)
    const canCount = (now.byRules === undefined) === (before.byRules === undefined)
    this.#rates = {
      queueDropsPerSecond: perSecond(({ queueDrops }) => queueDrops),
      verdictPercent: perSecond(({ busySeconds }) => busySeconds * 100),
      ...(canCount
        ? {
            connectionsPerSecond: perSecond(
              ({ connections, byRules }) => connections + (byRules ?? 0),
            ),
          }
        : {}),
    }
    return this.#rates
  }
}
