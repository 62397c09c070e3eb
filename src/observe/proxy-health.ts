/**
 * Whether the proxy keeps up: it is late when a change has waited for the datapath for twice the
 * sync period (kube-proxy pkg/proxy/healthcheck/proxy_health.go). What a load balancer is told
 * (/healthz) also says whether this node is to get new traffic; what the kubelet is told (/livez)
 * does not.
 *
 *              before the first sync   late   node not eligible
 *   /healthz   503                     503    503
 *   /livez     200                     503    200
 *
 * Deviation: kube-proxy answers 200 on both before the first sync. Here nothing is in force then,
 * so no traffic is asked for; but waiting for an API server that is down is no reason to be killed.
 */
import type { Clock } from '../lib/clock.js'
import type { IpFamily } from '../lib/ip-address.js'

export interface ProxyHealthOptions {
  readonly clock: Pick<Clock, 'nowMs'>
  readonly wallClock: () => Date
  /** Read at each question: a reload may change it. */
  readonly syncPeriodMs: number
  /** A sync brings all of them into force. */
  readonly families: readonly IpFamily[]
  /** Whether this node is to get traffic from load balancers. */
  readonly isNodeEligible: () => boolean
}

type Body = Readonly<Record<string, unknown>>

export interface HealthAnswer {
  readonly status: 200 | 503
  readonly body: Body
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

  /** Something is in force, and nothing waits too long. */
  isHealthy(): boolean {
    return this.#syncedAt !== undefined && !this.#isLate()
  }

  healthz(): HealthAnswer {
    const nodeEligible = this.#options.isNodeEligible()
    const healthy = this.isHealthy()
    const status = healthy && nodeEligible ? 200 : 503
    const { lastUpdated, currentTime, ...rest } = this.#body(healthy, status)
    return { status, body: { lastUpdated, currentTime, nodeEligible, ...rest } }
  }

  livez(): HealthAnswer {
    const healthy = !this.#isLate()
    const status = healthy ? 200 : 503
    return { status, body: this.#body(healthy, status) }
  }

  #isLate(): boolean {
    const { clock, syncPeriodMs } = this.#options
    return this.#queuedAtMs !== undefined && clock.nowMs() - this.#queuedAtMs >= 2 * syncPeriodMs
  }

  /** When the answer is 200, `lastUpdated` is now. A family is there from its first sync on. */
  #body(healthy: boolean, status: number): Body {
    const now = this.#options.wallClock()
    const lastUpdated = (this.#syncedAt ?? new Date(0)).toISOString()
    const families = this.#syncedAt === undefined ? [] : this.#options.families
    return {
      lastUpdated: status === 200 ? now.toISOString() : lastUpdated,
      currentTime: now.toISOString(),
      healthy,
      status: Object.fromEntries(families.map((family) => [family, { lastUpdated, healthy }])),
    }
  }
}
