/**
 * Slow start: an endpoint that comes to a Service port, or comes back, gets a part of its weight
 * that grows in a straight line from the floor to the whole in the course of the window. Those that
 * are there when the Service port is first seen are not new (as HAProxy's slowstart: "not at process
 * start"), for nobody knows how long they have been there.
 *
 * One instance for one Service port.
 */
import type { Endpoint } from '../model/endpoint.js'

export interface SlowStartOptions {
  /** 0: no slow start. */
  readonly slowStartMs: number
  /** Percent of the weight to begin with, 1..100. */
  readonly slowStartFloor: number
}

/** Steps of a window: how often balancers are told. */
const STEPS = 50
const MIN_STEP_MS = 10

export class SlowStart {
  #options: SlowStartOptions
  /** Ids of the endpoints that are there; undefined: nobody has been seen yet. */
  #known: ReadonlySet<string> | undefined
  /** When each warming endpoint came. */
  readonly #since = new Map<string, number>()
  #nowMs = 0
  #nextMs = Infinity

  constructor(options: SlowStartOptions) {
    this.#options = options
  }

  /** Other settings, also for those that are warming. */
  setOptions(options: SlowStartOptions): void {
    this.#options = options
  }

  /** Goes over to the endpoints that may be picked now. */
  setEndpoints(endpoints: readonly Endpoint[], nowMs: number): void {
    const isOff = this.#options.slowStartMs === 0
    if (isOff && this.#known === undefined) return
    const known = this.#known
    const ids = new Set(endpoints.map(({ id }) => id))
    for (const id of this.#since.keys()) if (!ids.has(id)) this.#since.delete(id)
    for (const id of ids) {
      if (!isOff && known !== undefined && !known.has(id)) this.#since.set(id, nowMs)
    }
    this.#known = isOff ? undefined : ids
    this.#advance(nowMs)
  }

  /** Whether there is anybody in slow start. */
  get isWarming(): boolean {
    return this.#nextMs !== Infinity
  }

  /** Whether balancers are to be told of warmth anew; then they must be. */
  isDue(nowMs: number): boolean {
    if (nowMs < this.#nextMs) return false
    this.#advance(nowMs)
    return true
  }

  /** Share of its weight that the endpoint has now, above 0 up to 1. */
  warmthOf({ id }: Endpoint): number {
    const since = this.#since.get(id)
    if (since === undefined) return 1
    const { slowStartMs, slowStartFloor } = this.#options
    const passed = slowStartMs === 0 ? 1 : (this.#nowMs - since) / slowStartMs
    const floor = slowStartFloor / 100
    return Math.min(1, floor + (1 - floor) * passed)
  }

  #advance(nowMs: number): void {
    const { slowStartMs } = this.#options
    this.#nowMs = nowMs
    for (const [id, since] of this.#since) {
      if (nowMs - since >= slowStartMs) this.#since.delete(id)
    }
    const isWarming = this.#since.size > 0
    this.#nextMs = isWarming ? nowMs + Math.max(MIN_STEP_MS, slowStartMs / STEPS) : Infinity
  }
}
