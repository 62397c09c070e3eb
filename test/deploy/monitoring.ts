/** Dashboard and alert rules name only what a running proxy exports. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'
import { METRIC_TABLE, type MetricRow } from '../../src/observe/metric-table.js'

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const MAIN = path('dist/cli/main.js')

interface Rule {
  readonly alert: string
  readonly expr: string
  readonly annotations: { readonly summary: string; readonly runbook: string }
}

const { spec } = parse(readFileSync(path('deploy/monitoring/alerts.yaml'), 'utf8')) as {
  spec: { groups: { rules: Rule[] }[] }
}
const rules = spec.groups.flatMap((group) => group.rules)
const dashboard = JSON.parse(
  readFileSync(path('deploy/monitoring/grafana-dashboard.json'), 'utf8'),
) as { panels: { title: string; targets: { expr: string; legendFormat: string }[] }[] }
const targets = dashboard.panels.flatMap((panel) => panel.targets)

const expressions = [...rules.map(({ expr }) => expr), ...targets.map(({ expr }) => expr)]
/** Prometheus adds the first to what it scrapes. */
const ADDED = ['instance', 'le']

const namesIn = (expression: string) =>
  expression.match(/\b(kube_sluice|kubeproxy|process|nodejs)_\w+/g) ?? []
const labelsIn = (expression: string) => [
  ...[...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/,\s*/)),
  ...[...expression.matchAll(/(\w+)=~?"/g)].map(([, label]) => label!),
]

t.test('labels are those of the metrics, brackets are closed', async (t) => {
  for (const expression of expressions) {
    const known = new Set(ADDED)
    for (const name of namesIn(expression)) {
      const rows: Readonly<Record<string, MetricRow>> = METRIC_TABLE
      for (const label of rows[name.replace(/_bucket$/, '')]?.labels ?? []) known.add(label)
    }
    t.ok(namesIn(expression).length > 0, expression)
    for (const label of labelsIn(expression)) t.ok(known.has(label), `${label} in ${expression}`)
    for (const pair of ['()', '[]', '{}']) {
      t.equal(expression.split(pair[0]!).length, expression.split(pair[1]!).length, expression)
    }
  }
})

t.test('every alert has a section of the runbook', async (t) => {
  const page = readFileSync(path('docs/monitoring.md'), 'utf8')
  for (const { alert, annotations } of rules) {
    t.equal(annotations.runbook, `docs/monitoring.md#${alert.toLowerCase()}`)
    t.match(page, `### ${alert}\n`)
  }
})

function startProxy(folder: string, mode: string): ChildProcess {
  const flags = [
    ...['--manifests', folder, '--hostname-override', 'node-a', '--proxy-mode', mode],
    ...['--healthz-bind-address', '', '--metrics-bind-address', '127.0.0.1:10249'],
    ...['--log-level', 'error', '--cluster-cidr', '10.244.0.0/16'],
  ]
  const words = ['-n', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh', process.execPath, MAIN]
  return spawn('unshare', [...words, 'run', ...flags], { stdio: ['ignore', 'ignore', 'inherit'] })
}

const FETCH = `
const deadline = Date.now() + 30000
for (;;) {
  const status = await fetch('http://127.0.0.1:10249/status').then((a) => a.json()).catch(() => undefined)
  if (status?.lastSyncAt !== undefined || Date.now() > deadline) break
  await new Promise((resolve) => setTimeout(resolve, 100))
}
process.stdout.write(await fetch('http://127.0.0.1:10249/metrics').then((a) => a.text()))`

/** What each exports: queues are the one's, the bounds that are counted the other's. */
const MODES = { userspace: /^(?!.*(verdict|queue))/, nfqueue: /^(?!.*bound_hits)/ }
const skip = process.getuid?.() === 0 ? false : 'network namespaces need root'

for (const [mode, expected] of Object.entries(MODES)) {
  t.test(`a proxy in ${mode} mode exports what is asked for`, { skip }, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-test-'))
    t.teardown(() => {
      rmSync(folder, { recursive: true })
    })
    for (const name of ['services', 'endpointslices', 'node']) {
      writeFileSync(
        join(folder, `${name}.yaml`),
        readFileSync(path(`deploy/examples/${name}.yaml`), 'utf8'),
      )
    }
    const proxy = startProxy(folder, mode)
    t.teardown(() => proxy.kill('SIGKILL'))
    const own = readlinkSync('/proc/self/ns/net')
    while (readlinkSync(`/proc/${proxy.pid}/ns/net`) === own) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const words = ['-t', String(proxy.pid), '-n', process.execPath, '--input-type=module', '-e']
    const { stdout, stderr } = spawnSync('nsenter', [...words, FETCH], {
      encoding: 'utf8',
      timeout: 60_000,
    })
    t.match(stdout, `kube_sluice_proxy_mode{mode="${mode}"} 1`, stderr)
    const names = new Set(expressions.flatMap(namesIn))
    for (const name of names) {
      // No example has a health check.
      if (!expected.test(name) || name === 'kube_sluice_endpoint_up') continue
      t.match(stdout, new RegExp(`^${name}[ {]`, 'm'), name)
    }
  })
}
