import t from 'tap'
import { ClusterState } from '../../src/model/cluster-state.js'
import { METRIC_TABLE } from '../../src/observe/metric-table.js'
import { sluiceMetrics, type SluiceMetricInputs } from '../../src/observe/sluice-metrics.js'
import type { AutoStatus } from '../../src/observe/status.js'
import { Traffic } from '../../src/observe/traffic.js'
import { endpointSlice, service } from '../fixtures/objects.js'

const HEALTH = {
  probedEndpoints: 9,
  unhealthyEndpoints: 2,
  panickingServicePorts: 1,
  probes: 100,
  probeFailures: 7,
  delayedProbes: 3,
  runningProbes: 0,
  waitingProbes: 0,
  ejectedEndpoints: 4,
  ejections: 6,
  wentDown: 5,
  cameUp: 8,
}
const ID = 'demo/echo:http/TCP/IPv4'

function inputs(extra: Partial<SluiceMetricInputs> = {}): SluiceMetricInputs {
  const state = new ClusterState({ nodeName: 'node-a' })
  state.apply([
    { type: 'apply', key: 'demo/echo', current: { kind: 'Service', object: service() } },
    {
      type: 'apply',
      key: 'demo/echo-1',
      current: {
        kind: 'EndpointSlice',
        object: endpointSlice({ endpoints: ['10.0.0.1', '10.0.0.2', '10.0.0.3'] }),
      },
    },
  ])
  return {
    version: '1.2.3',
    mode: 'userspace',
    snapshot: state.snapshot(),
    traffic: new Traffic(),
    steering: undefined,
    udpSessions: 0,
    affinityClients: 0,
    boundsHit: {},
    watches: undefined,
    events: { written: 0, dropped: 0 },
    syncs: { succeeded: 0, failed: 0 },
    warnings: 0,
    health: HEALTH,
    isUp: () => undefined,
    maxPorts: 10,
    maxEndpoints: 10,
    ...extra,
  }
}

t.test('counts of a Service port and its endpoints are lines of their own', async (t) => {
  const traffic = new Traffic()
  const end = traffic.servicePort(ID).opened('10.0.0.1:8080')
  traffic.servicePort(ID).opened('10.0.0.2:8080')
  end()
  traffic.servicePort(ID).retries = 3
  traffic.servicePort(ID).endpoint('10.0.0.3:8080').connectFailures = 4
  const text = sluiceMetrics(
    inputs({ traffic, isUp: (_, id) => (id === '10.0.0.1:8080' ? false : undefined) }),
  )
  const port = 'namespace="demo",service="echo",port="http",protocol="TCP",ip_family="IPv4"'
  for (const line of [
    `kube_sluice_service_port_connections_open{${port}} 1`,
    `kube_sluice_service_port_connections_total{${port}} 2`,
    `kube_sluice_service_port_connect_retries_total{${port}} 3`,
    `kube_sluice_service_port_endpoints_in_use{${port}} 3`,
    `kube_sluice_endpoint_connections_total{${port},endpoint="10.0.0.1:8080"} 1`,
    `kube_sluice_endpoint_connections_open{${port},endpoint="10.0.0.1:8080"} 0`,
    `kube_sluice_endpoint_connect_failures_total{${port},endpoint="10.0.0.3:8080"} 4`,
    `kube_sluice_endpoint_up{${port},endpoint="10.0.0.1:8080"} 0`,
    'kube_sluice_build_info{version="1.2.3"} 1',
  ]) {
    t.ok(text.split('\n').includes(line), line)
  }
  t.equal(text.match(/^kube_sluice_endpoint_up/gm)?.length, 1, 'only of those that are probed')
})

t.test('lines are bounded, and what is left out is told', async (t) => {
  const few = sluiceMetrics(inputs({ maxEndpoints: 2 }))
  t.equal(few.match(/^kube_sluice_endpoint_in_use/gm)?.length, 2)
  t.match(few, 'kube_sluice_metrics_left_out{of="endpoints"} 1\n')
  const none = sluiceMetrics(inputs({ maxPorts: 0 }))
  t.notMatch(none, 'kube_sluice_service_port_endpoints')
  t.match(none, 'kube_sluice_metrics_left_out{of="service ports"} 1\n')
  t.match(none, 'kube_sluice_metrics_left_out{of="endpoints"} 3\n')
})

t.test('a scrape keeps nothing for Service ports without traffic', async (t) => {
  const traffic = new Traffic()
  sluiceMetrics(inputs({ traffic }))
  t.equal(traffic.read(ID), traffic.read('another'))
})

t.test('verdict latency is a cumulative histogram', async (t) => {
  const text = sluiceMetrics(
    inputs({
      mode: 'nfqueue',
      steering: {
        steered: 6,
        queues: [{ queue: 1075, waiting: 1, dropped: 2, droppedByBuffer: 3 }],
        queueBufferBytes: 0,
        eventBufferBytes: 0,
        sendFailures: 0,
        verdictLatency: { bounds: [0.001, 0.01], counts: [3, 2, 1], sumSeconds: 0.5 },
      },
    }),
  )
  t.match(
    text,
    [
      '# TYPE kube_sluice_verdict_latency_seconds histogram',
      'kube_sluice_verdict_latency_seconds_bucket{le="0.001"} 3',
      'kube_sluice_verdict_latency_seconds_bucket{le="0.01"} 5',
      'kube_sluice_verdict_latency_seconds_bucket{le="+Inf"} 6',
      'kube_sluice_verdict_latency_seconds_sum 0.5',
      'kube_sluice_verdict_latency_seconds_count 6',
    ].join('\n'),
  )
  t.match(text, 'kube_sluice_queue_dropped_total{queue="1075",reason="buffer"} 3\n')
  t.match(text, 'kube_sluice_verdicts_total{verdict="steered"} 6\n')
})

t.test(
  'the automatic switch: thresholds, loads, and the last switch with its reason',
  async (t) => {
    const auto: AutoStatus = {
      deciding: 'nfqueue',
      fallback: 'nftables',
      thresholds: [
        { of: 'servicePorts', limit: 8, returnLimit: 6, value: 10 },
        { of: 'connectionsPerSecond', limit: 100, returnLimit: 80, value: undefined },
      ],
      switches: 3,
      lastSwitch: {
        at: '2026-01-01T00:00:00.500Z',
        from: 'nfqueue',
        to: 'nftables',
        reason: '10 Service ports, above 8',
      },
    }
    const text = sluiceMetrics(inputs({ auto }))
    const labels = 'from="nfqueue",to="nftables",reason="10 Service ports, above 8"'
    for (const line of [
      'kube_sluice_mode_switches_total 3',
      `kube_sluice_mode_last_switch_timestamp_seconds{${labels}} 1767225600.5`,
      'kube_sluice_mode_threshold{load="connectionsPerSecond"} 100',
      'kube_sluice_mode_load{load="servicePorts"} 10',
    ]) {
      t.ok(text.split('\n').includes(line), line)
    }
    t.notMatch(text, 'kube_sluice_mode_load{load="connectionsPerSecond"}')
    const never = sluiceMetrics(inputs({ auto: { ...auto, lastSwitch: undefined } }))
    t.notMatch(never, 'last_switch')
  },
)

t.test('every line is of the table, with its labels, and is well formed', async (t) => {
  const text = sluiceMetrics(inputs({ boundsHit: { 'a"b\\c\nd': 1 } }))
  for (const line of text.trimEnd().split('\n')) {
    if (line.startsWith('#')) continue
    const match = /^([a-z_]+?)(?:\{(.*)\})? (?:\d+(?:\.\d+)?)$/.exec(line)
    const row = METRIC_TABLE[match?.[1] as keyof typeof METRIC_TABLE]
    t.ok(row, line)
    const labels = [...(match?.[2] ?? '').matchAll(/(\w+)="(?:[^"\\\n]|\\["\\n])*"/g)]
    t.strictSame(
      labels.map(([, label]) => label),
      row.labels,
      line,
    )
  }
  t.match(text, 'bound="a\\"b\\\\c\\nd"')
})

t.test('health: what is probed, what it came to, and who is passed over', async (t) => {
  const lines = sluiceMetrics(inputs()).split('\n')
  for (const line of [
    'kube_sluice_probed_endpoints 9',
    'kube_sluice_unhealthy_endpoints 2',
    'kube_sluice_panicking_service_ports 1',
    'kube_sluice_probes_total 100',
    'kube_sluice_probe_failures_total 7',
    'kube_sluice_probes_delayed_total 3',
    'kube_sluice_health_changes_total{to="down"} 5',
    'kube_sluice_health_changes_total{to="up"} 8',
    'kube_sluice_ejected_endpoints 4',
    'kube_sluice_ejections_total 6',
  ]) {
    t.ok(lines.includes(line), line)
  }
})

t.test('datagrams: what was relayed, and what was not, once there are any', async (t) => {
  t.notMatch(sluiceMetrics(inputs()), 'udp_datagrams')
  const dropped = { full: 3, behind: 0 }
  const text = sluiceMetrics(inputs({ datagrams: { toEndpoint: 1, toClient: 2, dropped } }))
  t.match(text, 'kube_sluice_udp_datagrams_total{to="endpoint"} 1\n')
  t.match(text, 'kube_sluice_udp_datagrams_total{to="client"} 2\n')
  t.match(text, 'kube_sluice_udp_dropped_datagrams_total{reason="full"} 3\n')
  t.match(text, 'kube_sluice_udp_dropped_datagrams_total{reason="behind"} 0\n')
})

t.test('what the native relay has counted, where there is one', async (t) => {
  const pump = { bytesSpliced: 5, bytesCopied: 6, pipes: 7, handOvers: 8, picksUsed: 9 }
  const lines = sluiceMetrics(inputs({ pump })).split('\n')
  for (const line of [
    'kube_sluice_pump_bytes_total{by="splice"} 5',
    'kube_sluice_pump_bytes_total{by="copy"} 6',
    'kube_sluice_pump_pipes 7',
    'kube_sluice_pump_hand_overs_total 8',
    'kube_sluice_pump_picked_ahead_total 9',
  ]) {
    t.ok(lines.includes(line), line)
  }
  t.notMatch(sluiceMetrics(inputs()), 'kube_sluice_pump')
})
