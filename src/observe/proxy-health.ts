/**
 * Whether the proxy keeps up: it is healthy while no change has waited for the datapath longer than
 * twice the sync period (kube-proxy pkg/proxy/healthcheck/proxy_health.go). Before the first sync
 * it is not healthy: nothing is in force yet.
 */
import type { Clock } from '../lib/clock.js'

export interface ProxyHealthOptions {
  readonly clock: Pick<Clock, 'nowMs'>
  readonly wallClock: () => Date
  readonly syncPeriodMs: number
}

export class ProxyHealth {
  readonly #options: ProxyHealthOptions
  #queuedAtMs: number | undefined
  #syncedAt: Date | undefined

  constructor(options: ProxyHealthOptions) {
    this.#options = options
  }

  /** A change waits for the datapath; the oldest one counts. */
  queued(): void {
    this.#queuedAtMs ??= this.#options.clock.nowMs()
  }

  /** Everything is in force. */
  synced(): void {
    this.#queuedAtMs = undefined
    this.#syncedAt = this.#options.wallClock()
  }

  isHealthy(): boolean {
    if (this.#syncedAt === undefined) return false
    const { clock, syncPeriodMs } = this.#options
    const waitedMs = this.#queuedAtMs === undefined ? 0 : clock.nowMs() - this.#queuedAtMs
    return waitedMs < 2 * syncPeriodMs
  }

  /** Body of /healthz and /livez: when it is healthy, `lastUpdated` is now. */
  body(): Readonly<Record<string, unknown>> {
    const now = this.#options.wallClock()
    const healthy = this.isHealthy()
    const lastUpdated = healthy ? now : this.#syncedAt
    return {
      lastUpdated: lastUpdated?.toISOString() ?? '',
      currentTime: now.toISOString(),
      nodeEligible: true,
      healthy,
    }
  }
}
