/**
 * What active health checks cost: the share of a core that the proxy spends on probing many endpoints,
 * over what it spends on them without probes, and HAProxy's on the same servers and interval. One thread
 * each; all in one namespace, servers too, so the kernel's work for both ends of a connect that runs in
 * the prober's own time is charged to the prober, for either contender.
 *
 *   npm run perf -- probes [--endpoints 10000] [--interval 10s] [--seconds 20] [--contenders tcp,grpc,...]
 *
 * Contenders are the protocols of probe-servers.mjs beside those of DEFAULTS. The last column says what the
 * share is worth: probes of it that ended well, in that time.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { cpuSeconds } from '../load.mjs'
import { listOf, service, slice } from '../peers.mjs'
import { inPlace, MANY_CONNECTIONS, output, ROOT } from '../place.mjs'
import { table } from '../statistics.mjs'
import { nginxConfig, PORTS, startLineServers } from './probe-servers.mjs'

const CONTENDERS = {
  'no probes': proxy('none'),
  ...Object.fromEntries(Object.keys(PORTS).map((check) => [check, proxy(check)])),
  'HAProxy tcp': haproxy(''),
  'HAProxy http': haproxy('option httpchk GET /'),
}
const DEFAULTS = ['no probes', 'tcp', 'http', 'HAProxy tcp', 'HAProxy http']
const PORT = 8080
/** Of the metrics of the proxy, in the namespace. */
const METRICS = '127.0.0.1:10249'
const PER_SERVICE = 250
/** First probes follow each other at 1 ms; then the schedule is even. */
const SETTLE_MS = 15_000

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export async function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      endpoints: { type: 'string', default: '10000' },
      interval: { type: 'string', default: '10s' },
      seconds: { type: 'string', default: '20' },
      contenders: { type: 'string', default: DEFAULTS.join(',') },
    },
  })
  const names = values.contenders.split(',')
  const unknown = names.filter((name) => !Object.hasOwn(CONTENDERS, name))
  if (unknown.length > 0) {
    console.error(`perf: no contender "${unknown.join('", "')}"`)
    return 2
  }
  return inPlace(async (place) => {
    const netns = await prepare(place)
    const ips = addresses(Number(values.endpoints))
    const rows = []
    for (const name of names) {
      const child = CONTENDERS[name](place, netns, { ips, interval: values.interval })
      await pause(SETTLE_MS)
      const isOurs = !name.startsWith('HAProxy')
      const before = isOurs && (await probesOf(place, netns))
      const cells = await cost(child.pid, Number(values.seconds))
      cells.push(before ? wellOf(before, await probesOf(place, netns)) : '')
      child.kill('SIGTERM')
      await pause(1000)
      rows.push([name, ...cells])
    }
    const head = ['', '% of a core', 'user %', 'system %', 'probes that were well']
    console.log(table([head, ...rows]))
  })
}

async function prepare({ namespaces, folder }) {
  const netns = await namespaces.add('node')
  await namespaces.sysctl(netns, MANY_CONNECTIONS)
  await namespaces.configure(netns, ['link set lo up', 'route add local 10.128.0.0/9 dev lo'])
  const config = join(folder, 'server.conf')
  writeFileSync(config, nginxConfig(folder))
  startLineServers(namespaces, netns)
  namespaces.spawn(netns, ['nginx', '-c', config, '-e', '/dev/null'], { stdio: 'ignore' })
  return netns
}

function addresses(count) {
  return Array.from(
    { length: count },
    (_, i) => `10.${128 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`,
  )
}

/** @returns {Promise<string[]>} the cells of its row */
async function cost(pid, seconds) {
  const before = cpuSeconds([pid])
  const startedMs = performance.now()
  await pause(seconds * 1000)
  const after = cpuSeconds([pid])
  const percent = (part) =>
    (((after[part] - before[part]) * 100_000) / (performance.now() - startedMs)).toFixed(1)
  return ['all', 'user', 'system'].map(percent)
}

/** @returns {Promise<{ probes: number, failures: number }>} up to now */
async function probesOf(place, netns) {
  const text = await output(place, netns, ['curl', '-s', `http://${METRICS}/metrics`])
  const of = (name) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec(text)?.[1] ?? 0)
  return {
    probes: of('kube_sluice_probes_total'),
    failures: of('kube_sluice_probe_failures_total'),
  }
}

function wellOf(before, after) {
  const probes = after.probes - before.probes
  const failures = after.failures - before.failures
  return `${probes - failures} of ${probes}`
}

function proxy(check) {
  return ({ namespaces, folder }, netns, { ips, interval }) => {
    const manifests = join(folder, `manifests-${check}`)
    mkdirSync(manifests)
    const items = []
    for (let at = 0; at < ips.length; at += PER_SERVICE) {
      const name = `web-${at}`
      const object = service(name, `10.96.${(at / PER_SERVICE) >> 8}.${(at / PER_SERVICE) & 255}`, {
        http: 80,
      })
      object.metadata.annotations = {
        'kube-sluice.io/health-check': check,
        'kube-sluice.io/health-check-interval': interval,
      }
      const endpoints = slice(name, 'http', ips.slice(at, at + PER_SERVICE), PORTS[check] ?? PORT)
      const protocol = check === 'dns' || check === 'udp' ? 'UDP' : 'TCP'
      object.spec.ports[0].protocol = endpoints.ports[0].protocol = protocol
      items.push(object, endpoints)
    }
    writeFileSync(join(manifests, 'all.json'), listOf(items))
    const main = [process.execPath, ...nodeOptions(), join(ROOT, 'dist/cli/main.js'), 'run']
    const flags = ['--proxy-mode', 'userspace', '--manifests', manifests]
    const here = [
      '--hostname-override',
      'perf',
      '--healthz-bind-address=',
      `--metrics-bind-address=${METRICS}`,
    ]
    return namespaces.spawn(netns, [...main, ...flags, ...here], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
}

/** For a profiler: PERF_NODE_OPTIONS="--cpu-prof --cpu-prof-dir=..." */
function nodeOptions() {
  return (process.env['PERF_NODE_OPTIONS'] ?? '').split(' ').filter(Boolean)
}

function haproxy(option) {
  return ({ namespaces, folder }, netns, { ips, interval }) => {
    const file = join(folder, 'haproxy.cfg')
    const servers = ips.map((ip, i) => `  server s${i} ${ip}:${PORT} check inter ${interval}`)
    const lines = [
      'global\n  nbthread 1\n  maxconn 4000\n  spread-checks 10',
      'defaults\n  mode http\n  timeout connect 1s\n  timeout client 1h\n  timeout server 1h',
      `backend all\n  ${option}`,
      ...servers,
      'frontend none\n  bind 127.0.0.1:8001\n  default_backend all\n',
    ]
    writeFileSync(file, lines.join('\n'))
    return namespaces.spawn(netns, ['haproxy', '-db', '-f', file], { stdio: 'ignore' })
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
