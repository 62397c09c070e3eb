/** The document behind `/status` and `kube-sluice status -o json`. Stable: fields are only ever added. */
import type { CaptureName, ProxyMode } from '../config/run-config.js'
import type { PluginCounts } from '../policy/balancer/plugin.js'
import type { EndpointState } from './endpoint-state.js'
import type { DatagramCounts } from './traffic.js'

/** Health of an endpoint as its Service's check sees it. */
export interface EndpointHealthStatus {
  /** Type of the check. */
  readonly check: string
  readonly isUp: boolean
  /** `up`, `falling`, `down`, `rising`. */
  readonly trend: string
  /** When it last went up or down; undefined: not since it was first seen. */
  readonly since: string | undefined
  /** What the last probe has found; undefined before the first. */
  readonly reason: string | undefined
  readonly probes: number
  readonly failures: number
}

export interface EndpointStatus {
  readonly address: string
  readonly pod: string | undefined
  readonly node: string | undefined
  readonly zone: string | undefined
  readonly ready: boolean
  readonly serving: boolean
  readonly terminating: boolean
  readonly local: boolean
  /** Whether new connections may go there now. */
  readonly inUse: boolean
  /** All of this in a word: `up`, `down`, `ejected`, `draining`, `terminating`, `not ready`, `unused`. */
  readonly state: EndpointState
  /** 0: it is drained. */
  readonly weight: number
  readonly activeConnections: number
  readonly totalConnections: number
  readonly connectFailures: number
  /** Since when connections pass it over because it did not take one; undefined: they do not. */
  readonly ejectedSince: string | undefined
  /** undefined: it is not probed. */
  readonly health: EndpointHealthStatus | undefined
}

export interface ServicePortStatus {
  /** `ns/name:port` */
  readonly name: string
  readonly protocol: string
  readonly ipFamily: string
  /** `10.96.0.10:80`, `node port 30080`, ... */
  readonly vips: readonly {
    readonly kind: string
    readonly address: string
    readonly action: string
  }[]
  readonly balancer: string
  readonly activeConnections: number
  readonly totalConnections: number
  /** Client connections that no endpoint could serve. */
  readonly failedConnections: number
  /** Connects that were tried again on another endpoint. */
  readonly retries: number
  readonly endpoints: readonly EndpointStatus[]
}

/** Of the nfqueue mode: what the steering thread has counted since it started, and its queues. */
export interface SteeringStatus {
  readonly [total: string]: unknown
  readonly queues: readonly {
    readonly queue: number
    readonly waiting: number
    readonly dropped: number
    readonly droppedByBuffer: number
  }[]
  readonly queueBufferBytes: number
  readonly eventBufferBytes: number
  readonly sendFailures: number
  /** Verdicts by how long they took: counts for each upper bound (seconds) and above, not cumulative. */
  readonly verdictLatency: {
    readonly bounds: readonly number[]
    readonly counts: readonly number[]
    readonly sumSeconds: number
  }
}

/** Of the automatic switch. */
export interface AutoStatus {
  /** The mode that decides per connection, and the one that takes its place. */
  readonly deciding: ProxyMode
  readonly fallback: ProxyMode
  readonly thresholds: readonly {
    /** `servicePorts`, `connectionsPerSecond`, ... */
    readonly of: string
    readonly limit: number
    /** At or below it the switch is undone. */
    readonly returnLimit: number
    /** As measured last; undefined: not measured. */
    readonly value: number | undefined
  }[]
  readonly switches: number
  readonly lastSwitch:
    | {
        readonly at: string
        readonly from: ProxyMode
        readonly to: ProxyMode
        readonly reason: string
      }
    | undefined
}

export interface ProxyStatus {
  readonly version: string
  readonly node: string
  /** In force now. */
  readonly mode: ProxyMode
  readonly auto?: AutoStatus | undefined
  readonly capture: CaptureName | undefined
  readonly steering: SteeringStatus | undefined
  /** Of health checks: counted since the start, and as it is now. */
  readonly health: Readonly<Record<string, number>>
  /** The user's own balancer, when there is one. */
  readonly balancerPlugin?: PluginCounts | undefined
  readonly startedAt: string
  readonly uptimeSeconds: number
  readonly generation: number
  readonly lastSyncAt: string | undefined
  readonly lastSyncError: string | undefined
  readonly totals: {
    readonly servicePorts: number
    readonly endpoints: number
    readonly activeConnections: number
    readonly totalConnections: number
    readonly failedConnections: number
    readonly retries: number
    readonly udpSessions: number
    readonly affinityClients: number
  }
  readonly services: readonly ServicePortStatus[]
  /** Of the userspace mode, from its first UDP Service on. */
  readonly datagrams?: DatagramCounts | undefined
  /** Option that bounds something -> how often it did. */
  readonly boundsHit?: Readonly<Record<string, number>>
  readonly warnings: readonly string[]
}
