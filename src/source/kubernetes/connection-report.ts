/**
 * Says when the API server cannot be reached, and when it can again: one line at the first failure of
 * a kind, one whenever the reason changes or REPEAT_MS have passed, one when it works again. A server
 * that is down for an hour is not a thousand lines.
 */
import type { Clock } from '../../lib/clock.js'
import { formatDuration } from '../../lib/duration.js'
import type { ObjectKind } from '../cluster-source.js'

const REPEAT_MS = 300_000

interface Failure {
  readonly message: string
  readonly saidAtMs: number
  readonly sinceMs: number
}

export interface ConnectionReportOptions {
  readonly clock: Pick<Clock, 'nowMs'>
  readonly server: string
  readonly warn: (message: string, context: Readonly<Record<string, unknown>>) => void
}

export class ConnectionReport {
  readonly #options: ConnectionReportOptions
  readonly #failures = new Map<ObjectKind, Failure>()

  constructor(options: ConnectionReportOptions) {
    this.#options = options
  }

  failed(kind: ObjectKind, message: string, retryInMs: number): void {
    const { clock, server, warn } = this.#options
    const nowMs = clock.nowMs()
    const before = this.#failures.get(kind)
    if (before?.message === message && nowMs - before.saidAtMs < REPEAT_MS) return
    this.#failures.set(kind, { message, saidAtMs: nowMs, sinceMs: before?.sinceMs ?? nowMs })
    warn(
      `API server ${server}: ${kind}: ${message}; what is in force stays, tried again in ${formatDuration(Math.round(retryInMs))}`,
      { kind, server },
    )
  }

  worked(kind: ObjectKind): void {
    const before = this.#failures.get(kind)
    if (before === undefined) return
    this.#failures.delete(kind)
    const { clock, server, warn } = this.#options
    const tookMs = Math.round((clock.nowMs() - before.sinceMs) / 1000) * 1000
    warn(`API server ${server}: ${kind} is watched again, after ${formatDuration(tookMs)}`, {
      kind,
      server,
    })
  }
}
