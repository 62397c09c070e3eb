/**
 * When the mode that decides per connection gives way to one that only writes rules, and when it
 * comes back. Pure: measurements and the time in, a decision out.
 *
 *   deciding  -> rules     as soon as one measurement is above its threshold
 *   rules     -> deciding  when all have been at or below `returnPercent` of theirs for `holdDownMs`
 *
 * So there is at most one round in a hold-down, whatever the load does. What the rules do cannot be
 * seen in queue drops and verdicts: when one of these was the reason, the rate of new connections of
 * that moment becomes a threshold of its own until the return.
 */
export const LOADS = [
  'servicePorts',
  'endpoints',
  'connectionsPerSecond',
  'queueDropsPerSecond',
  'verdictPercent',
] as const

export type Load = (typeof LOADS)[number]

/** What was measured; what could not be is left out, and decides nothing. */
export type Measurements = Readonly<Partial<Record<Load, number>>>

export interface SelectorOptions {
  /** 0: no threshold. */
  readonly thresholds: Readonly<Record<Load, number>>
  /** 1..100: hysteresis. */
  readonly returnPercent: number
  readonly holdDownMs: number
}

export interface Threshold {
  readonly of: Load
  /** Above it the rules take over. */
  readonly limit: number
  /** At or below it the rules give back; of a load that stands in for another one, also when `limit` is 0. */
  readonly returnLimit: number
  /** undefined: not measured. */
  readonly value: number | undefined
}

export interface Decision {
  readonly usesRules: boolean
  /** Whether it is another one than before. */
  readonly isSwitch: boolean
  /** Of the latest switch; until then why there was none. */
  readonly reason: string
}

const NAMES: Readonly<Record<Load, string>> = {
  servicePorts: 'Service ports',
  endpoints: 'endpoints',
  connectionsPerSecond: 'new connections a second',
  queueDropsPerSecond: 'queue drops a second',
  verdictPercent: '% of a core spent on verdicts',
}
/** What rules cannot make visible. */
const UNSEEN_BY_RULES: readonly Load[] = ['queueDropsPerSecond', 'verdictPercent']

export class ModeSelector {
  readonly #options: SelectorOptions
  #usesRules = false
  #reason = 'below all thresholds'
  #measured: Measurements = {}
  /** Since when all has been low enough to go back. */
  #lowSinceMs: number | undefined
  /** Stands in for what rules do not show. */
  #rateAtSwitch: number | undefined

  constructor(options: SelectorOptions) {
    this.#options = options
  }

  get usesRules(): boolean {
    return this.#usesRules
  }

  /** The decision with these measurements at this time, which never goes back. */
  decide(measured: Measurements, nowMs: number): Decision {
    this.#measured = measured
    const isSwitch = this.#usesRules ? this.#mayReturn(nowMs) : this.#mustFallBack()
    if (isSwitch) this.#usesRules = !this.#usesRules
    return { usesRules: this.#usesRules, isSwitch, reason: this.#reason }
  }

  /** Thresholds in force, with what was measured last. */
  thresholds(): readonly Threshold[] {
    const { thresholds, returnPercent } = this.#options
    return LOADS.flatMap((of): Threshold[] => {
      const limit = thresholds[of]
      const standIn = of === 'connectionsPerSecond' ? this.#rateAtSwitch : undefined
      const base = Math.min(limit === 0 ? Infinity : limit, standIn ?? Infinity)
      if (base === Infinity) return []
      return [{ of, limit, returnLimit: (base * returnPercent) / 100, value: this.#measured[of] }]
    })
  }

  #mustFallBack(): boolean {
    const crossed = this.thresholds().find(({ value, limit }) => (value ?? 0) > limit)
    if (crossed === undefined) return false
    const isUnseen = UNSEEN_BY_RULES.includes(crossed.of)
    this.#rateAtSwitch = isUnseen ? this.#measured.connectionsPerSecond : undefined
    this.#lowSinceMs = undefined
    const { of, limit, value = 0 } = crossed
    this.#reason = `${round(value)} ${NAMES[of]}, the threshold is ${limit}`
    return true
  }

  #mayReturn(nowMs: number): boolean {
    const { holdDownMs, returnPercent } = this.#options
    const isLow = this.thresholds().every(({ value, returnLimit }) => (value ?? 0) <= returnLimit)
    if (!isLow) {
      this.#lowSinceMs = undefined
      return false
    }
    this.#lowSinceMs ??= nowMs
    if (nowMs - this.#lowSinceMs < holdDownMs) return false
    this.#lowSinceMs = undefined
    this.#rateAtSwitch = undefined
    this.#reason = `at most ${returnPercent} % of every threshold for ${round(holdDownMs / 1000)} s`
    return true
  }
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
