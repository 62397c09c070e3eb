import t from 'tap'
import { KubeProxyMetrics } from '../../src/observe/kube-proxy-metrics.js'

/** Name -> labels, from kube-proxy 1.36. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  kubeproxy_sync_proxy_rules_duration_seconds: ['ip_family'],
  kubeproxy_sync_full_proxy_rules_duration_seconds: ['ip_family'],
  kubeproxy_sync_partial_proxy_rules_duration_seconds: ['ip_family'],
  kubeproxy_sync_proxy_rules_last_timestamp_seconds: ['ip_family'],
  kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds: ['ip_family'],
  kubeproxy_network_programming_duration_seconds: ['ip_family'],
  kubeproxy_sync_proxy_rules_endpoint_changes_pending: [],
  kubeproxy_sync_proxy_rules_endpoint_changes_total: [],
  kubeproxy_sync_proxy_rules_service_changes_pending: [],
  kubeproxy_sync_proxy_rules_service_changes_total: [],
  kubeproxy_sync_proxy_rules_no_local_endpoints_total: ['traffic_policy', 'ip_family'],
  kubeproxy_sync_proxy_rules_iptables_total: ['table', 'ip_family'],
  kubeproxy_sync_proxy_rules_iptables_last: ['table', 'ip_family'],
  kubeproxy_sync_proxy_rules_iptables_restore_failures_total: ['ip_family'],
  kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total: ['ip_family'],
  kubeproxy_iptables_ct_state_invalid_dropped_packets_total: [],
  kubeproxy_iptables_localhost_nodeports_accepted_packets_total: [],
  kubeproxy_sync_proxy_rules_nftables_sync_failures_total: ['ip_family'],
  kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total: ['ip_family'],
  kubeproxy_conntrack_reconciler_sync_duration_seconds: ['ip_family'],
  kubeproxy_conntrack_reconciler_deleted_entries_total: ['ip_family'],
  kubeproxy_proxy_healthz_total: ['code'],
  kubeproxy_proxy_livez_total: ['code'],
}

t.test('names and labels are kube-proxy’s', async (t) => {
  const found = new KubeProxyMetrics().registry.getMetricsAsArray().map((metric) => {
    const { name, labelNames = [] } = metric as unknown as { name: string; labelNames?: string[] }
    return [name, labelNames]
  })
  t.strictSame(Object.fromEntries(found), EXPECTED)
})

t.test('every recorder ends in its metric', async (t) => {
  const metrics = new KubeProxyMetrics()
  metrics.rulesWritten('full', 'IPv4', 0.5)
  metrics.rulesWritten('partial', 'IPv6', 0.5)
  metrics.iptablesRules('nat', 'IPv4', { total: 10, last: 2 })
  metrics.iptablesRestoreFailed('IPv4', 'partial')
  metrics.nftablesSyncFailed('IPv4')
  metrics.nftablesCleanupFailed('IPv6')
  metrics.conntrackReconciled('IPv4', 0.1, 7)
  metrics.packetsAccounted('ct_state_invalid_dropped_pkts', 3)
  metrics.packetsAccounted('localhost_nps_accepted_pkts', 4)
  metrics.programmed('IPv4', 0.3)
  metrics.healthzAnswered(200)
  const text = await metrics.registry.metrics()
  for (const line of [
    'sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1',
    'sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv6"} 1',
    'sync_proxy_rules_iptables_total{table="nat",ip_family="IPv4"} 10',
    'sync_proxy_rules_iptables_last{table="nat",ip_family="IPv4"} 2',
    'sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv4"} 1',
    'sync_proxy_rules_iptables_partial_restore_failures_total{ip_family="IPv4"} 1',
    'sync_proxy_rules_nftables_sync_failures_total{ip_family="IPv4"} 1',
    'sync_proxy_rules_nftables_cleanup_failures_total{ip_family="IPv6"} 1',
    'conntrack_reconciler_deleted_entries_total{ip_family="IPv4"} 7',
    'iptables_ct_state_invalid_dropped_packets_total 3',
    'iptables_localhost_nodeports_accepted_packets_total 4',
    'network_programming_duration_seconds_bucket{le="0.25",ip_family="IPv4"} 0',
    'network_programming_duration_seconds_bucket{le="0.5",ip_family="IPv4"} 1',
    'network_programming_duration_seconds_bucket{le="59",ip_family="IPv4"} 1',
    'network_programming_duration_seconds_bucket{le="115",ip_family="IPv4"} 1',
    'network_programming_duration_seconds_bucket{le="300",ip_family="IPv4"} 1',
    'proxy_healthz_total{code="200"} 1',
  ]) {
    t.match(text, `kubeproxy_${line}\n`)
  }
  t.equal(text.match(/network_programming_duration_seconds_bucket\{/g)?.length, 2 + 59 + 12 + 7 + 1)
})

t.test('changes that come while a sync runs wait for the next one', async (t) => {
  const metrics = new KubeProxyMetrics()
  const pending = async () =>
    /endpoint_changes_pending (\d+)/.exec(await metrics.registry.metrics())?.[1]
  metrics.changesQueued(3, 1, 100)
  metrics.syncStarted()
  metrics.changesQueued(2, 0, 101)
  t.equal(await pending(), '5')
  metrics.synced(0.1, 102)
  t.equal(await pending(), '2')
  metrics.syncStarted()
  metrics.syncStarted()
  metrics.synced(0.1, 103)
  t.equal(await pending(), '0', 'a sync that failed between does not count twice')
})
