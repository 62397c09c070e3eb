/**
 * Peak EWMA: of two endpoints drawn by weight the one that costs less: its latency times the
 * connections that it would have. Latency is an exponentially weighted moving average that follows a
 * rise at once and a fall slowly, so a slow endpoint is noticed with its first slow answer (as
 * Finagle and Linkerd do).
 *
 *   cost = latency * (open + 1) / weight
 *
 * An endpoint that has not answered yet costs as the quickest one does. Where nobody measures
 * latency (the nfqueue mode with --connect-patience 0s) all latencies are equal, and it is random-two.
 */
import type { Endpoint } from '../../model/endpoint.js'
import { AT_REST, type Balancer, type EndpointStates, type PickContext } from './balancer.js'
import { TwoChoices } from './two-choices.js'

/** What a refused or timed-out connect counts as, at least. */
const FAILURE_MS = 1000
/** A latency below this is noise of the machine. */
const MIN_LATENCY_MS = 0.05

export interface PeakEwmaOptions {
  /** Time constant: after it, e^-1 of an old latency is left. */
  readonly decayMs: number
}

export class PeakEwma implements Balancer {
  readonly name = 'peak-ewma'
  readonly #decayMs: number
  readonly #set = new TwoChoices()
  /** By index: latency, 0 when it is not known, and the moment that it is of. */
  #latencies = new Float64Array(0)
  #atMs = new Float64Array(0)
  /** The least latency that was seen since the last change of the set. */
  #leastMs = MIN_LATENCY_MS
  #isMeasured = false
  /** Of the two that were drawn; in memory, because V8 puts what a function returns on the heap. */
  readonly #costs = new Float64Array(2)

  constructor({ decayMs }: PeakEwmaOptions) {
    this.#decayMs = decayMs
  }

  setEndpoints(endpoints: readonly Endpoint[], states: EndpointStates = AT_REST): void {
    const [latencies, atMs] = [this.#latencies, this.#atMs]
    const old = this.#set.setEndpoints(endpoints, states)
    this.#latencies = Float64Array.from(old, (index) => latencies[index] ?? 0)
    this.#atMs = Float64Array.from(old, (index) => atMs[index] ?? 0)
    const known = this.#latencies.filter((latency) => latency > 0)
    this.#isMeasured = known.length > 0
    this.#leastMs = known.reduce((a, b) => Math.min(a, b), known[0] ?? MIN_LATENCY_MS)
  }

  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    const set = this.#set
    const first = set.draw(context, tried)
    if (first < 0) return undefined
    const second = set.drawOther(first, context, tried)
    this.#weigh(0, first, context)
    this.#weigh(1, second, context)
    const isSecondCheaper = (this.#costs[1] ?? 0) < (this.#costs[0] ?? 0)
    return set.endpoints[isSecondCheaper ? second : first]
  }

  onConnect(endpoint: Endpoint): void {
    this.#set.add(endpoint, 1)
  }

  onClose(endpoint: Endpoint): void {
    this.#set.add(endpoint, -1)
  }

  onConnectFailure(endpoint: Endpoint, nowMs: number): void {
    this.onLatency(endpoint, FAILURE_MS, nowMs)
  }

  onLatency(endpoint: Endpoint, latencyMs: number, nowMs: number): void {
    const index = this.#set.indexOf(endpoint)
    if (index < 0) return
    const latency = Math.max(MIN_LATENCY_MS, latencyMs)
    const known = this.#latencies[index] ?? 0
    const left = this.#leftAfter(nowMs - (this.#atMs[index] ?? 0))
    const mean = known === 0 || latency > known ? latency : known * left + latency * (1 - left)
    this.#latencies[index] = mean
    this.#atMs[index] = nowMs
    this.#leastMs = this.#isMeasured ? Math.min(this.#leastMs, mean) : mean
    this.#isMeasured = true
  }

  /** With time an old latency means less: it nears the quickest one, so a slow endpoint is tried again. */
  #weigh(place: 0 | 1, index: number, { nowMs }: PickContext): void {
    const known = this.#latencies[index] ?? 0
    const left = known === 0 ? 0 : this.#leftAfter(nowMs - (this.#atMs[index] ?? 0))
    const latency = this.#leastMs + Math.max(0, known - this.#leastMs) * left
    const openThen = (this.#set.open[index] ?? 0) + 1
    this.#costs[place] = (latency * openThen) / (this.#set.weights[index] ?? 1)
  }

  #leftAfter(ageMs: number): number {
    return Math.exp(-Math.max(0, ageMs) / this.#decayMs)
  }
}
