/** What is recorded about a running proxy, and its print for /metrics. */
import { existsSync } from 'node:fs'
import { collectDefaultMetrics } from 'prom-client'
import type { RunConfig } from '../config/run-config.js'
import type { IpFamily } from '../lib/ip-address.js'
import { usesLocalEndpoints } from '../model/service-port.js'
import type { ServicePortState, Snapshot } from '../model/snapshot.js'
import type { HealthTotals } from '../policy/health/health-monitor.js'
import { KubeProxyMetrics } from '../observe/kube-proxy-metrics.js'
import { RestClientMetrics } from '../observe/rest-client-metrics.js'
import { ProgrammingLatency } from '../observe/programming-latency.js'
import { sluiceMetrics, type WatchCounts } from '../observe/sluice-metrics.js'
import type { ClusterChange } from '../source/cluster-source.js'
import type { ModeStatus } from '../datapath/running-mode.js'

/** What is not known before the proxy runs. */
export interface MetricsView {
  readonly snapshot: Snapshot
  readonly warnings: number
  readonly status: ModeStatus
  readonly events: { readonly written: number; readonly dropped: number }
  readonly watches: ReadonlyMap<string, WatchCounts> | undefined
  /** Brings in what only the kernel counts. */
  readonly readCounters: (() => Promise<void>) | undefined
  readonly health: HealthTotals
  /** undefined: the endpoint is not probed. */
  readonly isUp: (servicePortId: string, endpointId: string) => boolean | undefined
}

export class RunMetrics {
  readonly kubeProxy = new KubeProxyMetrics()
  readonly restClient = new RestClientMetrics(this.kubeProxy.registry)
  readonly #config: RunConfig
  readonly #version: string
  readonly #latency: ProgrammingLatency
  readonly #syncs = { succeeded: 0, failed: 0 }

  constructor(config: RunConfig, version: string, startedAt: Date) {
    this.#config = config
    this.#version = version
    this.#latency = new ProgrammingLatency(startedAt.getTime())
    collectDefaultMetrics({ register: this.kubeProxy.registry, eventLoopMonitoringPrecision: 50 })
  }

  queued(changes: readonly ClusterChange[]): void {
    let endpoints = 0
    let services = 0
    for (const change of changes) {
      const kind = change.type === 'apply' ? change.current.kind : change.kind
      if (kind === 'EndpointSlice') endpoints++
      if (kind === 'Service') services++
      if (change.type === 'apply' && change.current.kind === 'EndpointSlice') {
        this.#latency.changed(change.key, change.current.object)
      }
    }
    this.kubeProxy.changesQueued(endpoints, services, Date.now() / 1000)
  }

  syncStarted(): void {
    this.kubeProxy.syncStarted()
    this.#latency.syncStarted()
  }

  synced(tookMs: number): void {
    this.#syncs.succeeded++
    this.kubeProxy.synced(tookMs / 1000, Date.now() / 1000)
    this.#latency.synced(Date.now(), (family, seconds) => {
      this.kubeProxy.programmed(family, seconds)
    })
  }

  syncFailed(): void {
    this.#syncs.failed++
  }

  /** Prometheus' text format. */
  async text(view: MetricsView): Promise<string> {
    const { snapshot, warnings, status, health, isUp, events, watches } = view
    await view.readCounters?.()
    this.#countPortsWithoutLocal(snapshot)
    const own = sluiceMetrics({
      version: this.#version,
      mode: status.mode,
      auto: status.auto,
      snapshot,
      traffic: status.traffic,
      steering: status.steering,
      udpSessions: status.udpSessions,
      datagrams: status.datagrams,
      pump: status.pump,
      affinityClients: status.affinityClients,
      boundsHit: status.boundsHit ?? {},
      events,
      watches,
      syncs: this.#syncs,
      warnings,
      health,
      isUp,
      maxPorts: this.#config.metricsPerServicePort,
      maxEndpoints: this.#config.metricsPerEndpoint,
    })
    return `${await this.kubeProxy.registry.metrics()}\n${own}`
  }

  #countPortsWithoutLocal(snapshot: Snapshot): void {
    for (const family of ['IPv4', 'IPv6'] as const) {
      const states = [...snapshot.servicePorts.values()].filter(
        (state) => state.servicePort.ipFamily === family && lacksLocal(state),
      )
      const count = (policy: 'internalPolicyLocal' | 'externalPolicyLocal'): number =>
        states.filter(({ servicePort }) => servicePort[policy]).length
      this.kubeProxy.noLocalEndpoints('internal', family, count('internalPolicyLocal'))
      this.kubeProxy.noLocalEndpoints('external', family, count('externalPolicyLocal'))
    }
  }
}

/** The families that a sync brings into force on this node. */
export function familiesOfNode(): readonly IpFamily[] {
  return existsSync('/proc/net/if_inet6') ? ['IPv4', 'IPv6'] : ['IPv4']
}

function lacksLocal({ servicePort, local, hasAny }: ServicePortState): boolean {
  return usesLocalEndpoints(servicePort) && local.length === 0 && hasAny
}
