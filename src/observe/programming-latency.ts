/**
 * How long a change of endpoints took to reach the datapath, from the moment that the controller
 * wrote into its EndpointSlice (kube-proxy pkg/proxy/endpointschangetracker.go). Changes from before
 * this process do not count, deletions have no moment. Bounds: MAX_PENDING moments wait for a sync,
 * further ones are not measured; MAX_SLICES slices are known.
 */
import type { IpFamily } from '../lib/ip-address.js'

const ANNOTATION = 'endpoints.kubernetes.io/last-change-trigger-time'
const MAX_PENDING = 10_000
const MAX_SLICES = 100_000

/** As much of an EndpointSlice as is looked at. */
export interface TriggeredSlice {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> }
  readonly addressType: string
}

interface Trigger {
  readonly family: IpFamily
  readonly atMs: number
}

export class ProgrammingLatency {
  readonly #startedAtMs: number
  /** Slice -> the moment last seen: a slice that comes again unchanged is no change. */
  readonly #seen = new Map<string, number>()
  #pending: Trigger[] = []
  #taken: readonly Trigger[] = []

  constructor(startedAtMs: number) {
    this.#startedAtMs = startedAtMs
  }

  /** A slice is new or changed. */
  changed(key: string, { metadata, addressType }: TriggeredSlice): void {
    const text = metadata?.annotations?.[ANNOTATION]
    if (text === undefined || (addressType !== 'IPv4' && addressType !== 'IPv6')) return
    const atMs = Date.parse(text)
    if (!(atMs > this.#startedAtMs) || this.#seen.get(key) === atMs) return
    this.#remember(key, atMs)
    if (this.#pending.length < MAX_PENDING) this.#pending.push({ family: addressType, atMs })
  }

  /** A Map keeps the order of insertion: the first one has been quiet for the longest time. */
  #remember(key: string, atMs: number): void {
    this.#seen.delete(key)
    this.#seen.set(key, atMs)
    if (this.#seen.size <= MAX_SLICES) return
    for (const oldest of this.#seen.keys()) {
      this.#seen.delete(oldest)
      break
    }
  }

  /** A sync begins: it has all changes until now, and those of one that failed before. */
  syncStarted(): void {
    this.#taken = [...this.#taken, ...this.#pending].slice(0, MAX_PENDING)
    this.#pending = []
  }

  /** It has succeeded at that time: how long each change took, in seconds, not below 0. */
  synced(nowMs: number, observe: (family: IpFamily, seconds: number) => void): void {
    for (const { family, atMs } of this.#taken) observe(family, Math.max(0, nowMs - atMs) / 1000)
    this.#taken = []
  }
}
