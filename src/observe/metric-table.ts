/** The metrics of this program's own: name, type, labels, and what each says. Docs are made from it. */

export interface MetricRow {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly labels: readonly string[]
  /** One clause without a full stop. */
  readonly help: string
}

const PORT = ['namespace', 'service', 'port', 'protocol', 'ip_family'] as const
const ENDPOINT = [...PORT, 'endpoint'] as const

function counter(help: string, labels: readonly string[] = []): MetricRow {
  return { type: 'counter', labels, help }
}

function gauge(help: string, labels: readonly string[] = []): MetricRow {
  return { type: 'gauge', labels, help }
}

export const METRIC_TABLE = {
  kube_sluice_build_info: gauge('1; the version is its label', ['version']),
  kube_sluice_proxy_mode: gauge('1 for the mode in force', ['mode']),
  kube_sluice_mode_switches_total: counter('Switches between deciding per connection and rules'),
  kube_sluice_mode_last_switch_timestamp_seconds: gauge(
    'When the last of these switches was, in Unix time, and why; one series at most',
    ['from', 'to', 'reason'],
  ),
  kube_sluice_mode_threshold: gauge('Load above which rules take over', ['load']),
  kube_sluice_mode_load: gauge('The same load as it was measured last', ['load']),
  kube_sluice_syncs_total: counter('Syncs of the datapath', ['result']),
  kube_sluice_sync_warnings: gauge('Service ports that the last sync could not serve in full'),
  kube_sluice_snapshot_generation: gauge('Number of the Snapshot that is in force'),
  kube_sluice_service_ports: gauge('Service ports of both IP families'),
  kube_sluice_connections_open: gauge('Open connections and UDP sessions'),
  kube_sluice_connections_total: counter('Connections and UDP sessions'),
  kube_sluice_connections_failed_total: counter('Connections that no endpoint could serve'),
  kube_sluice_connect_retries_total: counter('Connects tried again on another endpoint'),
  kube_sluice_udp_sessions: gauge('UDP sessions of the userspace mode'),
  kube_sluice_udp_datagrams_total: counter('Datagrams that the userspace mode has relayed', ['to']),
  kube_sluice_udp_dropped_datagrams_total: counter(
    'Datagrams that it has not; full: no room in a socket, or too much is unanswered; error: the kernel refused to send; too-long; behind: every session was taken and not given back yet',
    ['reason'],
  ),
  kube_sluice_pump_bytes_total: counter(
    'Bytes of TCP that the native thread of the userspace mode has read; by splice: they stayed in the kernel',
    ['by'],
  ),
  kube_sluice_pump_pipes: gauge('Pipes that it has for splice, in use or kept for the next'),
  kube_sluice_pump_hand_overs_total: counter('Times that it woke the main thread'),
  kube_sluice_pump_picked_ahead_total: counter(
    'Connections that it had an endpoint ahead for, without waking the main thread first',
  ),
  kube_sluice_affinity_clients: gauge('Clients remembered for session affinity'),
  kube_sluice_bound_hits_total: counter(
    'How often a bound was hit: connections turned away, retries refused, what made room',
    ['bound'],
  ),
  kube_sluice_events_total: counter(
    'Events about objects: written to the API server (or the log), or dropped by a bound or a server that does not take them',
    ['result'],
  ),
  kube_sluice_api_lists_total: counter('Complete lists from the API server', ['kind']),
  kube_sluice_api_watches_total: counter('Watches begun or taken up again', ['kind']),
  kube_sluice_api_watch_events_total: counter('Events of watches', ['kind']),
  kube_sluice_api_failures_total: counter(
    'Lists and watches that failed; expired: history gone (410), all is listed anew; throttled: 429',
    ['kind', 'reason'],
  ),
  kube_sluice_verdicts_total: counter('Verdicts of the nfqueue mode; passed: left to the rules', [
    'verdict',
  ]),
  kube_sluice_verdict_latency_seconds: {
    type: 'histogram',
    labels: [],
    help: 'Time from the receipt of a first packet to its verdict, of the batch that it came in',
  },
  kube_sluice_unanswered_syns_total: counter('SYNs that came again because nobody had answered'),
  kube_sluice_overdue_syns_total: counter(
    'SYNs that an endpoint left unanswered for longer than --connect-patience',
  ),
  kube_sluice_refusals_total: counter(
    'Connects, and datagrams of new flows, refused by an endpoint or on the way to it',
  ),
  kube_sluice_queue_waiting: gauge('Packets that wait in a queue', ['queue']),
  kube_sluice_queue_dropped_total: counter(
    'Packets that found a queue or its socket buffer full, and passed to the standby rules',
    ['queue', 'reason'],
  ),
  kube_sluice_send_failures_total: counter('Packets sent again that the kernel did not take'),
  kube_sluice_conntrack_events_total: counter('Events of connection tracking taken in'),
  kube_sluice_conntrack_event_overruns_total: counter(
    'Times that events were lost, and a dump read',
  ),
  kube_sluice_service_port_endpoints: gauge('Endpoints of a Service port, usable or not', PORT),
  kube_sluice_service_port_endpoints_in_use: gauge('Endpoints that get new connections', PORT),
  kube_sluice_service_port_connections_open: gauge('Open connections of a Service port', PORT),
  kube_sluice_service_port_connections_total: counter('Connections of a Service port', PORT),
  kube_sluice_service_port_connections_failed_total: counter(
    'Connections that no endpoint of a Service port could serve',
    PORT,
  ),
  kube_sluice_service_port_connect_retries_total: counter(
    'Connects of a Service port tried again on another endpoint',
    PORT,
  ),
  kube_sluice_probed_endpoints: gauge('Endpoints that this node probes'),
  kube_sluice_unhealthy_endpoints: gauge('Of these, those that are down'),
  kube_sluice_panicking_service_ports: gauge(
    'Service ports whose health is ignored, for too few of their endpoints are healthy',
  ),
  kube_sluice_probes_total: counter('Probes begun'),
  kube_sluice_probe_failures_total: counter('Probes that failed'),
  kube_sluice_probes_delayed_total: counter(
    'Probes that waited for others to end, for --health-check-concurrency were under way',
  ),
  kube_sluice_health_changes_total: counter('Endpoints that probes took down, or brought up', [
    'to',
  ]),
  kube_sluice_ejected_endpoints: gauge(
    'Endpoints passed over because they did not take connections',
  ),
  kube_sluice_ejections_total: counter('Times that an endpoint began to be passed over'),
  kube_sluice_endpoint_in_use: gauge('1 for an endpoint that gets new connections', ENDPOINT),
  kube_sluice_endpoint_up: gauge('1 for a probed endpoint that is healthy, 0 if not', ENDPOINT),
  kube_sluice_endpoint_connections_open: gauge('Open connections of an endpoint', ENDPOINT),
  kube_sluice_endpoint_connections_total: counter('Connections of an endpoint', ENDPOINT),
  kube_sluice_endpoint_connect_failures_total: counter(
    'Connects that an endpoint failed',
    ENDPOINT,
  ),
  kube_sluice_metrics_left_out: gauge(
    'Service ports and endpoints without lines of their own, because of the bounds',
    ['of'],
  ),
} as const satisfies Readonly<Record<string, MetricRow>>

export type MetricName = keyof typeof METRIC_TABLE
