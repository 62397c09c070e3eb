/**
 * The statistics of the demo: adds up what the load processes report. Pure; time is a parameter.
 * Bounds: about two seconds of samples for rates, MAX_FAILURES failures in full, the rest counted.
 */
import { LatencyHistogram } from './latency-histogram.js'
import type { LoadReport, RequestFailure } from './messages.js'
import type { DemoServiceName } from './topology.js'

/** Rates are over this long. */
const WINDOW_MS = 1_000
const MAX_SAMPLES = 32
const MAX_FAILURES = 100
/**
 * A reset counts as "lost with its pod" when the request began before the pod died and ended at
 * most this long after.
 */
const DEATH_NOTICE_MS = 250

interface Sample {
  readonly atMs: number
  readonly served: ReadonlyMap<string, number>
}

export interface Totals {
  /** Answered, failed and lost. */
  readonly requests: number
  readonly failed: number
  /** Cut off in the hands of a pod at the moment it was killed; not failures of the proxy. */
  readonly lostWithPod: number
  /** DNS queries sent once more. */
  readonly resent: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly slowestMs: number
}

export class Scoreboard {
  readonly #served = new Map<string, number>()
  readonly #latencies = new LatencyHistogram()
  readonly #deaths: { readonly service: DemoServiceName; readonly atMs: number }[] = []
  #reported: RequestFailure[] = []
  #failed = 0
  #resent = 0
  #samples: Sample[] = []

  add(report: LoadReport): void {
    for (const [pod, count] of Object.entries(report.served)) {
      this.#served.set(pod, this.served(pod) + count)
    }
    this.#latencies.merge(report.latencies, report.slowestMs)
    this.#failed += report.failed
    this.#resent += report.resent
    this.#reported = [...this.#reported, ...report.failures].slice(0, MAX_FAILURES)
  }

  /** A pod of this Service was killed; `atMs` on the wall clock. */
  recordDeath(service: DemoServiceName, atMs: number): void {
    this.#deaths.push({ service, atMs })
  }

  /** Requests that this pod answered since the beginning. */
  served(pod: string): number {
    return this.#served.get(pod) ?? 0
  }

  /** Remembers the counts of now, for ratePerSecond(). Call it regularly. */
  sample(nowMs: number): void {
    this.#samples.push({ atMs: nowMs, served: new Map(this.#served) })
    const oldest = nowMs - 2 * WINDOW_MS
    this.#samples = this.#samples.filter((sample) => sample.atMs >= oldest).slice(-MAX_SAMPLES)
  }

  /** Requests a second that this pod answered over the last second or so; 0 before there are two samples. */
  ratePerSecond(pod: string, nowMs: number): number {
    const before =
      this.#samples.findLast((sample) => sample.atMs <= nowMs - WINDOW_MS) ?? this.#samples[0]
    if (before === undefined || before.atMs >= nowMs) return 0
    const count = this.served(pod) - (before.served.get(pod) ?? 0)
    return (count * 1_000) / (nowMs - before.atMs)
  }

  totals(): Totals {
    const lostWithPod = this.#reported.filter((failure) => this.#isLostWithPod(failure)).length
    return {
      requests: this.#latencies.total + this.#failed,
      failed: this.#failed - lostWithPod,
      lostWithPod,
      resent: this.#resent,
      p50Ms: this.#latencies.percentileMs(50),
      p99Ms: this.#latencies.percentileMs(99),
      slowestMs: this.#latencies.slowestMs,
    }
  }

  /** Failures in full, the first hundred, without those lost with a pod. */
  failures(): readonly RequestFailure[] {
    return this.#reported.filter((failure) => !this.#isLostWithPod(failure))
  }

  #isLostWithPod(failure: RequestFailure): boolean {
    return (
      failure.isReset &&
      this.#deaths.some(
        ({ service, atMs }) =>
          service === failure.service &&
          failure.startedAtMs <= atMs &&
          failure.failedAtMs <= atMs + DEATH_NOTICE_MS &&
          failure.failedAtMs >= atMs - DEATH_NOTICE_MS,
      )
    )
  }
}
