/**
 * The metrics of kube-proxy, by their exact names, labels and buckets (kube-proxy 1.36,
 * pkg/proxy/metrics/metrics.go), and who records what: the sync loop its own, each proxy mode that
 * writes rules what only it knows. One sync here is of both IP families: its time is that of each.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { IpFamily } from '../lib/ip-address.js'
import type { RuleMetrics } from './rule-metrics.js'

/** 0.001 * 2^k, 15 of them. */
const SYNC_BUCKETS = Array.from({ length: 15 }, (_, k) => 0.001 * 2 ** k)
const PROGRAMMING_BUCKETS = [
  ...[0.25, 0.5],
  ...range(1, 59, 1),
  ...range(60, 115, 5),
  ...range(120, 300, 30),
]
const FAMILY = ['ip_family'] as const
const SYNC = 'sync_proxy_rules'

export class KubeProxyMetrics implements RuleMetrics {
  readonly registry = new Registry()
  readonly #syncSeconds = this.#histogram(`${SYNC}_duration_seconds`, 'Time of a sync')
  readonly #fullSyncSeconds = this.#histogram(
    'sync_full_proxy_rules_duration_seconds',
    'Time of a sync that writes all rules',
  )
  readonly #partialSyncSeconds = this.#histogram(
    'sync_partial_proxy_rules_duration_seconds',
    'Time of a sync that writes only what changed',
  )
  readonly #lastTimestamp = this.#gauge(
    `${SYNC}_last_timestamp_seconds`,
    'When the last sync succeeded, in seconds since 1970',
    FAMILY,
  )
  readonly #lastQueued = this.#gauge(
    `${SYNC}_last_queued_timestamp_seconds`,
    'When a sync was last asked for, in seconds since 1970',
    FAMILY,
  )
  readonly #programmingSeconds = this.#histogram(
    'network_programming_duration_seconds',
    'Time from the change of a Pod or Service to the end of the sync that has it',
    PROGRAMMING_BUCKETS,
  )
  readonly #endpointChangesPending = this.#gauge(
    `${SYNC}_endpoint_changes_pending`,
    'Changes of EndpointSlices that no sync has taken in yet',
  )
  readonly #endpointChanges = this.#counter(
    `${SYNC}_endpoint_changes_total`,
    'Changes of EndpointSlices',
  )
  readonly #serviceChangesPending = this.#gauge(
    `${SYNC}_service_changes_pending`,
    'Changes of Services that no sync has taken in yet',
  )
  readonly #serviceChanges = this.#counter(`${SYNC}_service_changes_total`, 'Changes of Services')
  readonly #noLocalEndpoints = this.#gauge(
    `${SYNC}_no_local_endpoints_total`,
    'Service ports with a Local policy that have endpoints, but none on this node',
    ['traffic_policy', 'ip_family'],
  )
  readonly #iptablesTotal = this.#gauge(`${SYNC}_iptables_total`, 'Rules of ours in iptables', [
    'table',
    'ip_family',
  ])
  readonly #iptablesLast = this.#gauge(
    `${SYNC}_iptables_last`,
    'Rules of iptables that the last restore wrote',
    ['table', 'ip_family'],
  )
  readonly #restoreFailures = this.#counter(
    `${SYNC}_iptables_restore_failures_total`,
    'Restores of iptables that failed',
    FAMILY,
  )
  readonly #partialRestoreFailures = this.#counter(
    `${SYNC}_iptables_partial_restore_failures_total`,
    'Of these, restores of only what had changed',
    FAMILY,
  )
  readonly #invalidDropped = this.#counter(
    'iptables_ct_state_invalid_dropped_packets_total',
    'Packets that KUBE-FORWARD dropped because connection tracking calls them invalid',
  )
  readonly #localhostAccepted = this.#counter(
    'iptables_localhost_nodeports_accepted_packets_total',
    'First packets of connections to node ports on loopback addresses',
  )
  readonly #nftablesSyncFailures = this.#counter(
    `${SYNC}_nftables_sync_failures_total`,
    'Transactions of nftables that failed',
    FAMILY,
  )
  readonly #nftablesCleanupFailures = this.#counter(
    `${SYNC}_nftables_cleanup_failures_total`,
    'Removals of stale nftables objects that failed',
    FAMILY,
  )
  readonly #reconcileSeconds = this.#histogram(
    'conntrack_reconciler_sync_duration_seconds',
    'Time of a comparison of UDP conntrack entries with the endpoints',
  )
  readonly #reconcileDeleted = this.#counter(
    'conntrack_reconciler_deleted_entries_total',
    'UDP conntrack entries deleted because their endpoint has gone',
    FAMILY,
  )
  readonly #healthz = this.#counter('proxy_healthz_total', 'Answers of /healthz', ['code'])
  readonly #livez = this.#counter('proxy_livez_total', 'Answers of /livez', ['code'])
  /** Changes that the sync under way takes in. */
  #taken = { endpoints: 0, services: 0 }
  #pending = { endpoints: 0, services: 0 }

  /** A batch of changes came in and a sync was asked for, at that wall-clock time. */
  changesQueued(endpoints: number, services: number, atSeconds: number): void {
    this.#endpointChanges.inc(endpoints)
    this.#serviceChanges.inc(services)
    this.#pending.endpoints += endpoints
    this.#pending.services += services
    this.#showPending()
    for (const ip_family of FAMILIES) this.#lastQueued.set({ ip_family }, atSeconds)
  }

  /** A sync begins: it takes in all changes until now. */
  syncStarted(): void {
    this.#taken = { ...this.#pending }
  }

  /** It has succeeded. */
  synced(seconds: number, atSeconds: number): void {
    this.#pending.endpoints -= this.#taken.endpoints
    this.#pending.services -= this.#taken.services
    this.#taken = { endpoints: 0, services: 0 }
    this.#showPending()
    for (const ip_family of FAMILIES) {
      this.#syncSeconds.observe({ ip_family }, seconds)
      this.#lastTimestamp.set({ ip_family }, atSeconds)
    }
  }

  /** A change of endpoints reached the datapath that long after it happened. */
  programmed(family: IpFamily, seconds: number): void {
    this.#programmingSeconds.observe({ ip_family: family }, seconds)
  }

  noLocalEndpoints(policy: 'internal' | 'external', family: IpFamily, ports: number): void {
    this.#noLocalEndpoints.set({ traffic_policy: policy, ip_family: family }, ports)
  }

  healthzAnswered(code: number): void {
    this.#healthz.inc({ code })
  }

  livezAnswered(code: number): void {
    this.#livez.inc({ code })
  }

  rulesWritten(kind: 'full' | 'partial', family: IpFamily, seconds: number): void {
    const histogram = kind === 'full' ? this.#fullSyncSeconds : this.#partialSyncSeconds
    histogram.observe({ ip_family: family }, seconds)
  }

  iptablesRules(table: string, family: IpFamily, rules: { total: number; last: number }): void {
    this.#iptablesTotal.set({ table, ip_family: family }, rules.total)
    this.#iptablesLast.set({ table, ip_family: family }, rules.last)
  }

  iptablesRestoreFailed(family: IpFamily, kind: 'full' | 'partial'): void {
    this.#restoreFailures.inc({ ip_family: family })
    if (kind === 'partial') this.#partialRestoreFailures.inc({ ip_family: family })
  }

  nftablesSyncFailed(family: IpFamily): void {
    this.#nftablesSyncFailures.inc({ ip_family: family })
  }

  nftablesCleanupFailed(family: IpFamily): void {
    this.#nftablesCleanupFailures.inc({ ip_family: family })
  }

  conntrackReconciled(family: IpFamily, seconds: number, deletedEntries: number): void {
    this.#reconcileSeconds.observe({ ip_family: family }, seconds)
    this.#reconcileDeleted.inc({ ip_family: family }, deletedEntries)
  }

  packetsAccounted(
    what: 'ct_state_invalid_dropped_pkts' | 'localhost_nps_accepted_pkts',
    packets: number,
  ): void {
    const counter =
      what === 'ct_state_invalid_dropped_pkts' ? this.#invalidDropped : this.#localhostAccepted
    counter.inc(packets)
  }

  #showPending(): void {
    this.#endpointChangesPending.set(this.#pending.endpoints)
    this.#serviceChangesPending.set(this.#pending.services)
  }

  #histogram(name: string, help: string, buckets: readonly number[] = SYNC_BUCKETS) {
    return new Histogram({ ...this.#common(name, help, FAMILY), buckets: [...buckets] })
  }

  #gauge<L extends string = never>(name: string, help: string, labels: readonly L[] = []) {
    return new Gauge<L>(this.#common(name, help, labels))
  }

  #counter<L extends string = never>(name: string, help: string, labels: readonly L[] = []) {
    return new Counter<L>(this.#common(name, help, labels))
  }

  #common<L extends string>(name: string, help: string, labels: readonly L[]) {
    return {
      name: `kubeproxy_${name}`,
      help,
      labelNames: [...labels],
      registers: [this.registry],
    }
  }
}

const FAMILIES: readonly IpFamily[] = ['IPv4', 'IPv6']

function range(first: number, last: number, step: number): number[] {
  return Array.from({ length: (last - first) / step + 1 }, (_, i) => first + i * step)
}
