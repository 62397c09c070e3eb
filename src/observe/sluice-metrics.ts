/**
 * The metrics of this program's own, `kube_sluice_*`: printed at scrape time from what is counted
 * anyway, in Prometheus' text format. They are written as text and not kept as objects: a cluster of
 * 10,000 Service ports has 60,000 of these lines, and nobody else needs them. Bounds: `maxPorts`
 * Service ports and `maxEndpoints` endpoints have lines of their own; a metric says how many do not.
 */
import type { ProxyMode } from '../config/run-config.js'
import type { Endpoint } from '../model/endpoint.js'
import type { ServicePortState, Snapshot } from '../model/snapshot.js'
import type { HealthTotals } from '../policy/health/health-monitor.js'
import { METRIC_TABLE, type MetricName } from './metric-table.js'
import type { AutoStatus, SteeringStatus } from './status.js'
import type { DatagramCounts, PumpCounts, Traffic } from './traffic.js'

export interface SluiceMetricInputs {
  readonly version: string
  readonly mode: ProxyMode
  /** With `--proxy-mode auto`. */
  readonly auto?: AutoStatus | undefined
  readonly snapshot: Snapshot
  readonly traffic: Traffic
  readonly steering: SteeringStatus | undefined
  readonly udpSessions: number
  readonly datagrams?: DatagramCounts | undefined
  /** Of the userspace mode's native thread, where it relays. */
  readonly pump?: PumpCounts | undefined
  readonly affinityClients: number
  /** Option that bounds something -> how often it did. */
  readonly boundsHit: Readonly<Record<string, number>>
  /** Of each kind; undefined without an API server. */
  readonly watches: ReadonlyMap<string, WatchCounts> | undefined
  readonly events: { readonly written: number; readonly dropped: number }
  readonly syncs: { readonly succeeded: number; readonly failed: number }
  readonly warnings: number
  readonly health: HealthTotals
  /** undefined: the endpoint is not probed. */
  readonly isUp: (servicePortId: string, endpointId: string) => boolean | undefined
  readonly maxPorts: number
  readonly maxEndpoints: number
}

/** What listing and watching one kind of objects at the API server has come to. */
export interface WatchCounts {
  readonly lists: number
  readonly watches: number
  readonly events: number
  readonly failures: number
  /** Of the failures, those after which everything is listed anew, and those of status 429. */
  readonly expired: number
  readonly throttled: number
}

type Labels = Readonly<Record<string, string | number>>

/** The text, ending with a line feed. */
export function sluiceMetrics(inputs: SluiceMetricInputs): string {
  const text = new MetricText()
  addProcess(text, inputs)
  addHealth(text, inputs.health)
  if (inputs.steering !== undefined) addSteering(text, inputs.steering)
  if (inputs.pump !== undefined) addPump(text, inputs.pump)
  addPorts(text, inputs)
  return text.toString()
}

function addProcess(text: MetricText, inputs: SluiceMetricInputs): void {
  const { snapshot, traffic, syncs } = inputs
  const totals = traffic.totals()
  text.add('kube_sluice_build_info', 1, { version: inputs.version })
  text.add('kube_sluice_proxy_mode', 1, { mode: inputs.mode })
  if (inputs.auto !== undefined) addAuto(text, inputs.auto)
  text.add('kube_sluice_syncs_total', syncs.succeeded, { result: 'success' })
  text.add('kube_sluice_syncs_total', syncs.failed, { result: 'failure' })
  text.add('kube_sluice_sync_warnings', inputs.warnings)
  text.add('kube_sluice_snapshot_generation', snapshot.generation)
  text.add('kube_sluice_service_ports', snapshot.servicePorts.size)
  text.add('kube_sluice_connections_open', totals.activeConnections)
  text.add('kube_sluice_connections_total', totals.totalConnections)
  text.add('kube_sluice_connections_failed_total', totals.failedConnections)
  text.add('kube_sluice_connect_retries_total', totals.retries)
  text.add('kube_sluice_udp_sessions', inputs.udpSessions)
  if (inputs.datagrams !== undefined) addDatagrams(text, inputs.datagrams)
  text.add('kube_sluice_affinity_clients', inputs.affinityClients)
  for (const [bound, hits] of Object.entries(inputs.boundsHit)) {
    text.add('kube_sluice_bound_hits_total', hits, { bound })
  }
  text.add('kube_sluice_events_total', inputs.events.written, { result: 'written' })
  text.add('kube_sluice_events_total', inputs.events.dropped, { result: 'dropped' })
  for (const [kind, counts] of inputs.watches ?? []) addWatch(text, kind, counts)
}

function addDatagrams(text: MetricText, { toEndpoint, toClient, dropped }: DatagramCounts): void {
  text.add('kube_sluice_udp_datagrams_total', toEndpoint, { to: 'endpoint' })
  text.add('kube_sluice_udp_datagrams_total', toClient, { to: 'client' })
  for (const [reason, count] of Object.entries(dropped)) {
    text.add('kube_sluice_udp_dropped_datagrams_total', count, { reason })
  }
}

function addWatch(text: MetricText, kind: string, counts: WatchCounts): void {
  const { lists, watches, events, failures, expired, throttled } = counts
  text.add('kube_sluice_api_lists_total', lists, { kind })
  text.add('kube_sluice_api_watches_total', watches, { kind })
  text.add('kube_sluice_api_watch_events_total', events, { kind })
  const other = failures - expired - throttled
  for (const [reason, count] of Object.entries({ expired, throttled, other })) {
    text.add('kube_sluice_api_failures_total', count, { kind, reason })
  }
}

function addHealth(text: MetricText, health: HealthTotals): void {
  text.add('kube_sluice_probed_endpoints', health.probedEndpoints)
  text.add('kube_sluice_unhealthy_endpoints', health.unhealthyEndpoints)
  text.add('kube_sluice_panicking_service_ports', health.panickingServicePorts)
  text.add('kube_sluice_probes_total', health.probes)
  text.add('kube_sluice_probe_failures_total', health.probeFailures)
  text.add('kube_sluice_probes_delayed_total', health.delayedProbes)
  text.add('kube_sluice_health_changes_total', health.wentDown, { to: 'down' })
  text.add('kube_sluice_health_changes_total', health.cameUp, { to: 'up' })
  text.add('kube_sluice_ejected_endpoints', health.ejectedEndpoints)
  text.add('kube_sluice_ejections_total', health.ejections)
}

function addAuto(text: MetricText, { switches, lastSwitch, thresholds }: AutoStatus): void {
  text.add('kube_sluice_mode_switches_total', switches)
  if (lastSwitch !== undefined) {
    const { at, from, to, reason } = lastSwitch
    const name = 'kube_sluice_mode_last_switch_timestamp_seconds'
    text.add(name, Date.parse(at) / 1000, { from, to, reason })
  }
  for (const { of: load, limit, value } of thresholds) {
    text.add('kube_sluice_mode_threshold', limit, { load })
    if (value !== undefined) text.add('kube_sluice_mode_load', value, { load })
  }
}

function addPump(text: MetricText, pump: PumpCounts): void {
  text.add('kube_sluice_pump_bytes_total', pump.bytesSpliced, { by: 'splice' })
  text.add('kube_sluice_pump_bytes_total', pump.bytesCopied, { by: 'copy' })
  text.add('kube_sluice_pump_pipes', pump.pipes)
  text.add('kube_sluice_pump_hand_overs_total', pump.handOvers)
  text.add('kube_sluice_pump_picked_ahead_total', pump.picksUsed)
}

function addSteering(text: MetricText, steering: SteeringStatus): void {
  const total = (name: string): number => Number(steering[name] ?? 0)
  for (const verdict of ['steered', 'rejected', 'dropped', 'passed', 'repeatedVerdicts']) {
    const label = verdict === 'repeatedVerdicts' ? 'repeated' : verdict
    text.add('kube_sluice_verdicts_total', total(verdict), { verdict: label })
  }
  text.add('kube_sluice_unanswered_syns_total', total('unansweredSyns'))
  text.add('kube_sluice_overdue_syns_total', total('overdueSyns'))
  text.add('kube_sluice_refusals_total', total('refusals'))
  text.add('kube_sluice_conntrack_events_total', total('events'))
  text.add('kube_sluice_conntrack_event_overruns_total', total('eventOverruns'))
  text.add('kube_sluice_send_failures_total', steering.sendFailures)
  for (const { queue, waiting, dropped, droppedByBuffer } of steering.queues) {
    text.add('kube_sluice_queue_waiting', waiting, { queue })
    text.add('kube_sluice_queue_dropped_total', dropped, { queue, reason: 'length' })
    text.add('kube_sluice_queue_dropped_total', droppedByBuffer, { queue, reason: 'buffer' })
  }
  const { bounds, counts, sumSeconds } = steering.verdictLatency
  text.histogram('kube_sluice_verdict_latency_seconds', bounds, counts, sumSeconds)
}

function addPorts(text: MetricText, inputs: SluiceMetricInputs): void {
  const { snapshot, maxPorts, maxEndpoints } = inputs
  let ports = 0
  let endpoints = 0
  let leftOut = 0
  for (const state of snapshot.servicePorts.values()) {
    if (++ports <= maxPorts) addPort(text, state, inputs)
    const room = Math.max(0, maxEndpoints - endpoints)
    const shown = ports <= maxPorts ? state.endpoints.slice(0, room) : []
    if (shown.length > 0) addEndpoints(text, state, shown, inputs)
    endpoints += shown.length
    leftOut += state.endpoints.length - shown.length
  }
  text.add('kube_sluice_metrics_left_out', Math.max(0, ports - maxPorts), { of: 'service ports' })
  text.add('kube_sluice_metrics_left_out', leftOut, { of: 'endpoints' })
}

function addPort(text: MetricText, state: ServicePortState, { traffic }: SluiceMetricInputs): void {
  const labels = portLabels(state)
  const { activeConnections, totalConnections, failedConnections, retries } = traffic.read(
    state.servicePort.id,
  )
  text.add('kube_sluice_service_port_endpoints', state.endpoints.length, labels)
  text.add('kube_sluice_service_port_endpoints_in_use', state.reachable.length, labels)
  text.add('kube_sluice_service_port_connections_open', activeConnections, labels)
  text.add('kube_sluice_service_port_connections_total', totalConnections, labels)
  text.add('kube_sluice_service_port_connections_failed_total', failedConnections, labels)
  text.add('kube_sluice_service_port_connect_retries_total', retries, labels)
}

function addEndpoints(
  text: MetricText,
  state: ServicePortState,
  endpoints: readonly Endpoint[],
  { traffic, isUp }: SluiceMetricInputs,
): void {
  const { id } = state.servicePort
  const counts = traffic.read(id)
  const inUse = new Set(state.reachable.map((endpoint) => endpoint.id))
  for (const endpoint of endpoints) {
    const labels = { ...portLabels(state), endpoint: endpoint.id }
    const counted = counts.endpoints.get(endpoint.id)
    const up = isUp(id, endpoint.id)
    text.add('kube_sluice_endpoint_in_use', inUse.has(endpoint.id) ? 1 : 0, labels)
    if (up !== undefined) text.add('kube_sluice_endpoint_up', up ? 1 : 0, labels)
    text.add('kube_sluice_endpoint_connections_open', counted?.activeConnections ?? 0, labels)
    text.add('kube_sluice_endpoint_connections_total', counted?.totalConnections ?? 0, labels)
    text.add('kube_sluice_endpoint_connect_failures_total', counted?.connectFailures ?? 0, labels)
  }
}

function portLabels({ servicePort }: ServicePortState): Labels {
  return {
    namespace: servicePort.namespace,
    service: servicePort.name,
    port: servicePort.portName,
    protocol: servicePort.protocol,
    ip_family: servicePort.ipFamily,
  }
}

/** Lines gathered by metric, as the format wants them, in the order of the table. */
class MetricText {
  readonly #lines = new Map<MetricName, string[]>()

  add(name: MetricName, value: number, labels: Labels = {}): void {
    this.#line(name, `${name}${labelText(labels)} ${value}`)
  }

  histogram(
    name: MetricName,
    bounds: readonly number[],
    counts: readonly number[],
    sum: number,
  ): void {
    let count = 0
    for (const [index, bound] of [...bounds, '+Inf'].entries()) {
      count += counts[index] ?? 0
      this.#line(name, `${name}_bucket{le="${bound}"} ${count}`)
    }
    this.#line(name, `${name}_sum ${sum}`)
    this.#line(name, `${name}_count ${count}`)
  }

  toString(): string {
    const parts: string[] = []
    for (const [name, { type, help }] of Object.entries(METRIC_TABLE)) {
      const lines = this.#lines.get(name as MetricName)
      if (lines === undefined) continue
      parts.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines)
    }
    return `${parts.join('\n')}\n`
  }

  #line(name: MetricName, line: string): void {
    const lines = this.#lines.get(name)
    if (lines === undefined) this.#lines.set(name, [line])
    else lines.push(line)
  }
}

function labelText(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`)
  return parts.length === 0 ? '' : `{${parts.join(',')}}`
}

function escaped(value: string): string {
  return /[\\"\n]/.test(value)
    ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
    : value
}
