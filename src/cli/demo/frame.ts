/** What the demo shows at one moment, before it becomes text: table.ts, plain.ts and summary.ts print it. */
import type { Totals } from './scoreboard.js'

export type PodState = 'starting' | 'serving' | 'killed' | 'link down'

export interface PodRow {
  readonly name: string
  /** `10.244.0.11:7007` */
  readonly address: string
  readonly state: PodState
  /** Whether `address` is not the one it began with. */
  readonly hasMoved: boolean
  /** Requests answered since the beginning. */
  readonly served: number
  /** Requests a second, of the last second. */
  readonly rate: number
}

export interface ServiceRows {
  readonly name: string
  readonly title: string
  readonly pods: readonly PodRow[]
}

/** Something that happened; `atMs` since the load began. */
export interface DemoEvent {
  readonly atMs: number
  readonly text: string
}

export interface Frame {
  /** Since the load began. */
  readonly elapsedMs: number
  readonly durationMs: number
  readonly phase: string
  /** `userspace, capture tproxy` */
  readonly mode: string
  /** Connects that the proxy tried again on another endpoint. */
  readonly retries: number
  readonly services: readonly ServiceRows[]
  readonly totals: Totals
  readonly events: readonly DemoEvent[]
}

/** 0..1: what part of its Service's answers this pod gave, by `count`; 0 when there were none. */
export function shareOf(pod: PodRow, service: ServiceRows, count: (pod: PodRow) => number): number {
  const sum = service.pods.reduce((total, one) => total + count(one), 0)
  return sum === 0 ? 0 : count(pod) / sum
}

/** Three figures at most: `0.45 ms`, `12 ms`, `1.02 s`. */
export function formatMs(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1_000).toFixed(2)} s`
  if (ms >= 10) return `${ms.toFixed(0)} ms`
  return `${ms.toFixed(ms >= 1 ? 1 : 2)} ms`
}

/** Seconds since the beginning, `12.3 s`, aligned for lists. */
export function formatAt(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`.padStart(6)
}
