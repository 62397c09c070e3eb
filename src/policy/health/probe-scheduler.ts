/**
 * When each endpoint is probed. All probes and their time-outs are on one timer wheel.
 *
 * Probes of settled endpoints lie on a grid: each endpoint has a phase of its own, the multiples of
 * the golden ratio, which lie evenly however many there are, so that the load is the same in every
 * part of the interval, and stays so after probes that came sooner. The first probes of endpoints
 * that arrive together follow each other at FIRST_PROBE_MS.
 *
 * A process that was itself busy finds time-outs due together with the answers that came meanwhile: they
 * have GRACE_MS to be read first.
 *
 * Bounds: `maxRunning` probes at once; more wait, each endpoint at most once, in order, and are counted.
 */
import type { Clock } from '../../lib/clock.js'
import { formatDuration } from '../../lib/duration.js'
import { messageOf } from '../../lib/errors.js'
import { TimerWheel, type WheelTimer } from '../../lib/timer-wheel.js'
import type { HealthTiming } from './health-check.js'
import type { ProbeDone, ProbeResult, RunningProbe } from './probe/probe.js'
import { unhealthy } from './probe/probe.js'
import type { Trend } from './rise-fall.js'

const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2
const FIRST_PROBE_MS = 1
/** A time-out that is noticed this much too late says that we were busy. */
const LATE_MS = 50
const GRACE_MS = 50

/** What is probed again and again. */
export interface ProbeJob {
  readonly timing: HealthTiming
  /** Read after each result: decides when the next probe comes. */
  readonly trend: Trend
  /** Starts one probe; may throw. */
  start(done: ProbeDone): RunningProbe
  onResult(result: ProbeResult, tookMs: number): void
}

export interface ProbeSchedulerOptions {
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly maxRunning: number
}

/** A job's place in the schedule. */
class Scheduled {
  readonly job: ProbeJob
  readonly phase: number
  timer: WheelTimer | undefined
  running: RunningProbe | undefined
  isWaiting = false
  isRemoved = false
  /** When the current or last probe was to start, without its jitter. */
  plannedMs = 0
  startedMs = 0

  constructor(job: ProbeJob, phase: number) {
    this.job = job
    this.phase = phase
  }
}

export type ScheduledProbe = Scheduled

export class ProbeScheduler {
  readonly #options: ProbeSchedulerOptions
  readonly #wheel: TimerWheel
  readonly #startMs: number
  #nextPhase = 0
  #nextFirstMs = 0
  /** Due, but `maxRunning` were under way; first in, first out. */
  #waiting: Scheduled[] = []
  #running = 0
  readonly #jobs = new Set<Scheduled>()
  /** Probes started, and those of them that had to wait for others to end. */
  started = 0
  delayed = 0

  constructor(options: ProbeSchedulerOptions) {
    this.#options = options
    this.#wheel = new TimerWheel({ clock: options.clock })
    this.#startMs = options.clock.nowMs()
  }

  get size(): number {
    return this.#jobs.size
  }

  get running(): number {
    return this.#running
  }

  get waiting(): number {
    return this.#waiting.length
  }

  add(job: ProbeJob): ScheduledProbe {
    this.#nextPhase = (this.#nextPhase + GOLDEN_RATIO) % 1
    const scheduled = new Scheduled(job, this.#nextPhase)
    this.#jobs.add(scheduled)
    const nowMs = this.#options.clock.nowMs()
    this.#nextFirstMs = Math.max(nowMs, this.#nextFirstMs + FIRST_PROBE_MS)
    this.#schedule(scheduled, this.#nextFirstMs, 0)
    return scheduled
  }

  /** No probe of it any more; one under way is cancelled. Idempotent. */
  remove(scheduled: ScheduledProbe): void {
    if (scheduled.isRemoved) return
    scheduled.isRemoved = true
    this.#jobs.delete(scheduled)
    this.#cancelTimer(scheduled)
    if (scheduled.running === undefined) return
    scheduled.running.cancel()
    this.#ended(scheduled)
  }

  /** Probes it now, unless a probe is under way: there is reason to doubt its state. */
  hurry(scheduled: ScheduledProbe): void {
    if (scheduled.isRemoved || scheduled.isWaiting || scheduled.running !== undefined) return
    const { clock } = this.#options
    const sinceMs = clock.nowMs() - scheduled.startedMs
    const restMs = scheduled.job.timing.fastIntervalMs - sinceMs
    this.#cancelTimer(scheduled)
    this.#schedule(scheduled, clock.nowMs() + Math.max(0, restMs), 0)
  }

  close(): void {
    this.#waiting = []
    for (const scheduled of [...this.#jobs]) this.remove(scheduled)
    this.#wheel.clear()
  }

  #schedule(scheduled: Scheduled, atMs: number, jitterMs: number): void {
    scheduled.plannedMs = atMs
    const delayMs = atMs + jitterMs - this.#options.clock.nowMs()
    scheduled.timer = this.#wheel.after(delayMs, () => {
      scheduled.timer = undefined
      this.#due(scheduled)
    })
  }

  #cancelTimer(scheduled: Scheduled): void {
    if (scheduled.timer !== undefined) this.#wheel.cancel(scheduled.timer)
    scheduled.timer = undefined
  }

  #due(scheduled: Scheduled): void {
    if (this.#running < this.#options.maxRunning) {
      this.#start(scheduled)
      return
    }
    this.delayed++
    scheduled.isWaiting = true
    this.#waiting.push(scheduled)
  }

  #start(scheduled: Scheduled): void {
    const { job } = scheduled
    const startedMs = this.#options.clock.nowMs()
    scheduled.startedMs = startedMs
    this.started++
    this.#running++
    const end = (result: ProbeResult): void => {
      this.#cancelTimer(scheduled)
      this.#ended(scheduled)
      job.onResult(result, this.#options.clock.nowMs() - startedMs)
      if (!scheduled.isRemoved) this.#next(scheduled)
    }
    try {
      scheduled.running = job.start(end)
    } catch (error) {
      end(unhealthy(messageOf(error)))
      return
    }
    const { timeoutMs } = job.timing
    const timedOut = (): void => {
      scheduled.timer = undefined
      const wanted = scheduled.running?.cancel() ?? 'answer'
      end(unhealthy(`no ${wanted} within ${formatDuration(timeoutMs)}`))
    }
    scheduled.timer = this.#wheel.after(timeoutMs, () => {
      const isLate = this.#options.clock.nowMs() - startedMs > timeoutMs + LATE_MS
      if (isLate) scheduled.timer = this.#wheel.after(GRACE_MS, timedOut)
      else timedOut()
    })
  }

  #ended(scheduled: Scheduled): void {
    scheduled.running = undefined
    this.#running--
    while (this.#waiting.length > 0 && this.#running < this.#options.maxRunning) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      next.isWaiting = false
      if (!next.isRemoved) this.#start(next)
    }
  }

  #next(scheduled: Scheduled): void {
    const { timing, trend } = scheduled.job
    const { random } = this.#options
    const intervalMs = intervalFor(timing, trend)
    const jitterMs = ((random() - 0.5) * intervalMs * timing.jitterPercent) / 100
    const isSettled = trend === 'up' || trend === 'down'
    const atMs = isSettled ? this.#onGrid(scheduled, intervalMs) : scheduled.startedMs + intervalMs
    this.#schedule(scheduled, atMs, jitterMs)
  }

  /** The next time of its phase, half an interval after the last one at the soonest. */
  #onGrid({ phase, plannedMs }: Scheduled, intervalMs: number): number {
    const soonestMs = Math.max(plannedMs + intervalMs / 2, this.#options.clock.nowMs())
    const turns = Math.ceil((soonestMs - this.#startMs) / intervalMs - phase)
    return this.#startMs + (turns + phase) * intervalMs
  }
}

function intervalFor(timing: HealthTiming, trend: Trend): number {
  switch (trend) {
    case 'up':
      return timing.intervalMs
    case 'down':
      return timing.downIntervalMs
    case 'falling':
    case 'rising':
      return timing.fastIntervalMs
  }
}
