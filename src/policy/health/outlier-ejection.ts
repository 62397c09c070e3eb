/**
 * Passive health of the endpoints of one Service port: who does not take a connection is ejected, so
 * that new connections pass it over for a while: `baseMs` after the first failure, doubling with each
 * further one up to `maxMs`. When the time is over a single connection tries the endpoint; only its
 * success brings it back. An endpoint that fails again soon after it came back goes on where it was:
 * each FORGET_MS without a failure takes one doubling away (as Envoy's ejection multiplier).
 *
 * Needed for UDP above all: a kernel answers at most one "port unreachable" a second, so most
 * datagrams to a dead endpoint vanish without a word.
 *
 * Fails open: never more than `maxPercent` of the endpoints are passed over, and what is passed over is
 * used when nothing else is left. Bounds: one entry for each endpoint that has failed.
 */
import type { Endpoint } from '../../model/endpoint.js'

export interface EjectionOptions {
  readonly baseMs: number
  readonly maxMs: number
  /** Of the endpoints of a set, 0..100; at least one where there are two. */
  readonly maxPercent: number
  /** An endpoint that usually answers connects is silent after that long at least; 0: never. */
  readonly patienceMs: number
  /** Whether Services that say nothing of health checks have it. */
  readonly byDefault: boolean
}

export const EJECTION_DEFAULTS: EjectionOptions = {
  baseMs: 1000,
  maxMs: 30_000,
  maxPercent: 50,
  patienceMs: 300,
  byDefault: true,
}

/** Told once when an endpoint is ejected, and once when it is back. */
export type OnEjection = (endpoint: Endpoint, isEjected: boolean) => void

const FORGET_MS = 10_000
const NONE: readonly Endpoint[] = []

interface Entry {
  endpoint: Endpoint
  isEjected: boolean
  backOffMs: number
  /** Ejected: end of the back-off. Back again: since when. */
  atMs: number
}

export class OutlierEjection {
  readonly #options: EjectionOptions
  readonly #onEjection: OnEjection
  readonly #entries = new Map<string, Entry>()
  #ejected = 0

  constructor(
    options: EjectionOptions = EJECTION_DEFAULTS,
    onEjection: OnEjection = () => undefined,
  ) {
    this.#options = options
    this.#onEjection = onEjection
  }

  failed(endpoint: Endpoint, nowMs: number): void {
    const { baseMs, maxMs } = this.#options
    const known = this.#entries.get(endpoint.id)
    if (known?.isEjected === true) {
      // Failures of connections that were under way together count as one.
      if (nowMs < known.atMs - known.backOffMs / 2) return
      known.backOffMs = Math.min(known.backOffMs * 2, maxMs)
      known.atMs = nowMs + known.backOffMs
      return
    }
    const backOffMs =
      known === undefined ? baseMs : Math.min(maxMs, remembered(known, nowMs, baseMs) * 2)
    this.#entries.set(endpoint.id, {
      endpoint,
      isEjected: true,
      backOffMs,
      atMs: nowMs + backOffMs,
    })
    this.#ejected++
    this.#onEjection(endpoint, true)
  }

  succeeded(endpoint: Endpoint, nowMs: number): void {
    if (this.#ejected === 0) return
    const known = this.#entries.get(endpoint.id)
    if (known?.isEjected !== true) return
    known.isEjected = false
    known.atMs = nowMs
    this.#ejected--
    this.#onEjection(endpoint, false)
  }

  /** Whether anybody is ejected, or on trial. */
  get isEjecting(): boolean {
    return this.#ejected > 0
  }

  /** Whether it is ejected, or on trial. */
  has(endpoint: Endpoint): boolean {
    return this.#ejected > 0 && this.#entries.get(endpoint.id)?.isEjected === true
  }

  /** Forgets everything: whoever is ejected is back. */
  clear(): void {
    const ejected = [...this.#entries.values()].filter(({ isEjected }) => isEjected)
    this.#entries.clear()
    this.#ejected = 0
    for (const { endpoint } of ejected) this.#onEjection(endpoint, false)
  }

  /** Forgets endpoints that are no longer there. */
  retain(endpoints: readonly Endpoint[]): void {
    if (this.#entries.size === 0) return
    const ids = new Set(endpoints.map(({ id }) => id))
    for (const [id, { isEjected }] of this.#entries) {
      if (ids.has(id)) continue
      if (isEjected) this.#ejected--
      this.#entries.delete(id)
    }
  }

  /**
   * Endpoints to pass over now, of a set of `count`. One whose time is over is left out of the list
   * once, for the connection that is about to be placed, and is back on it for the next.
   */
  toAvoid(count: number, nowMs: number): readonly Endpoint[] {
    return this.#avoided(count, nowMs, (entry) => {
      entry.atMs = nowMs + entry.backOffMs
    })
  }

  /** The same for somebody who only asks: no connection is placed by it. */
  avoidedNow(count: number, nowMs: number): readonly Endpoint[] {
    return this.#avoided(count, nowMs, () => undefined)
  }

  /** Those that are ejected, and how long until a connection tries each. */
  ejected(nowMs: number): readonly { readonly endpointId: string; readonly leftMs: number }[] {
    return [...this.#entries.values()]
      .filter(({ isEjected }) => isEjected)
      .map(({ endpoint, atMs }) => ({ endpointId: endpoint.id, leftMs: Math.max(0, atMs - nowMs) }))
  }

  #avoided(count: number, nowMs: number, onTrial: (entry: Entry) => void): readonly Endpoint[] {
    if (this.#ejected === 0 || count < 2) return NONE
    const most = Math.max(1, Math.floor((count * this.#options.maxPercent) / 100))
    if (this.#options.maxPercent === 0) return NONE
    const avoided: Endpoint[] = []
    for (const entry of this.#entries.values()) {
      if (!entry.isEjected) continue
      if (avoided.length >= most) break
      if (entry.atMs > nowMs) avoided.push(entry.endpoint)
      else onTrial(entry)
    }
    return avoided
  }
}

/** Half of the back-off, so that doubling it makes it the first one again, when all is forgotten. */
function remembered({ backOffMs, atMs }: Entry, nowMs: number, baseMs: number): number {
  const halvings = Math.floor((nowMs - atMs) / FORGET_MS)
  return Math.max(baseMs / 2, backOffMs / 2 ** halvings)
}
