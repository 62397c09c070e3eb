/** docs/metrics.md, made from what is registered and from the table of our own metrics. */
import type { Registry } from 'prom-client'
import { METRIC_TABLE, type MetricRow } from './metric-table.js'

const HEAD = `# Metrics

<!-- Made from the code: npm run docs. Edit src/observe, not this page. -->

\`/metrics\` on the metrics address (\`--metrics-bind-address\`) has Prometheus' text format. Everything
is read when it is asked for; nothing of it is on the way of a connection.

Service ports and endpoints have lines of their own up to \`--metrics-per-service-port\` and
\`--metrics-per-endpoint\`; \`kube_sluice_metrics_left_out\` says how many have none. Counts begin anew
with the process, and those of an endpoint when it comes back after it had gone.

\`kube_sluice_bound_hits_total\` has the flag of the option that bounds as its label: \`max-connections\`
(connections turned away), \`retry-budget\` (retries refused), \`udp-max-sessions\` (sessions that made
room), \`affinity-max-clients\` (clients forgotten); in the nfqueue mode \`nfqueue-length\` and
\`nfqueue-buffer\` (packets that passed to the standby rules), \`nfqueue-flows\` (new connections forgotten
while their client might still repeat its SYN), \`conntrack-event-buffer\` (dumps to make up for lost
events). When one of them grows, the option is too small for
the load, or something is wrong.

The metrics of Node.js and of the process (\`nodejs_*\`, \`process_*\`) are those of prom-client.
`

const KUBE_PROXY_HEAD = `## Of kube-proxy

Names, labels and buckets are kube-proxy's, so that its dashboards and alerts go on working. A sync
here is of both IP families: its time is that of each. What only a mode that writes rules knows stays
at zero or absent in the others. Those of requests to the API server are client-go's, which kube-proxy has too.
`

/** The page, before prettier has been over it. */
export function metricsPage(registry: Registry): string {
  const ofKubeProxy = registry
    .getMetricsAsArray()
    .filter(({ name }) => /^(kubeproxy|rest_client)_/.test(name))
    .map((metric) => line(metric.name, { ...metric, ...described(metric) }))
  const own = Object.entries<MetricRow>(METRIC_TABLE).map(([name, row]) => line(name, row))
  return [
    HEAD,
    '## Of kube-sluice',
    '',
    ...table(own),
    '',
    KUBE_PROXY_HEAD,
    ...table(ofKubeProxy),
    '',
  ].join('\n')
}

/** What prom-client knows of a metric beyond its declared type. */
function described(metric: object): Pick<MetricRow, 'type' | 'labels'> {
  const { labelNames = [], constructor } = metric as { labelNames?: readonly string[] } & object
  return { type: constructor.name.toLowerCase() as MetricRow['type'], labels: labelNames }
}

function table(lines: readonly string[]): string[] {
  return ['| name | type | labels | says |', '| --- | --- | --- | --- |', ...lines]
}

function line(name: string, { type, labels, help }: MetricRow): string {
  const names = labels.map((label) => `\`${label}\``).join(', ')
  return `| \`${name}\` | ${type} | ${names} | ${help} |`
}
