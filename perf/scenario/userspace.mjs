/**
 * The userspace mode against its peers: no proxy, one kernel DNAT rule, HAProxy in TCP mode, nginx
 * stream. The processes all run at the same time, idle; the load goes to one after
 * the other, round by round, in an order that turns. What is compared is medians of one run.
 *
 *   client 10.0.1.2 -- 10.0.1.1 node (the contenders) -- 10.244.N.2 three pods (nginx, iperf3)
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { NetworkNamespaces } from '../../dist/kernel/netns.js'
import { median, ratio, spread, table } from '../statistics.mjs'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const PODS = [1, 2, 3]
const CONCURRENCY = 64
const RATE = 1000

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export async function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      json: { type: 'string' },
      capture: { type: 'string', default: 'anyip' },
    },
  })
  if (process.getuid?.() !== 0) {
    console.error('perf: network namespaces need root')
    return 1
  }
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-perf-'))
  const namespaces = new NetworkNamespaces(`ks-perf-${process.pid}`)
  const stop = () => {
    // Not closeSync(): nginx's workers are children of a child, only close() ends those too.
    void namespaces.close().finally(() => {
      rmSync(folder, { recursive: true, force: true })
      process.exit(130)
    })
  }
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    const place = await setUp(namespaces, folder, values.capture)
    const results = await measure(place, Number(values.rounds), Number(values.seconds))
    report(results)
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results, undefined, 2))
    return 0
  } finally {
    await namespaces.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Namespaces, pods and contenders. */
async function setUp(namespaces, folder, capture) {
  const client = await namespaces.add('client')
  const node = await namespaces.add('node')
  const wide = { 'net.ipv4.ip_local_port_range': '"1024 65000"', 'net.ipv4.tcp_tw_reuse': '1' }
  await namespaces.sysctl(client, wide)
  await namespaces.sysctl(node, { ...wide, 'net.ipv4.ip_forward': '1' })
  await link(namespaces, [client, 'eth0', '10.0.1.2/24'], [node, 'client', '10.0.1.1/24'])
  await namespaces.configure(client, ['route add default via 10.0.1.1'])
  await namespaces.configure(node, ['route add default via 10.0.1.2'])
  for (const pod of PODS) {
    const name = await namespaces.add(`pod${pod}`)
    const ends = [`10.244.${pod}.2/24`, `10.244.${pod}.1/24`]
    await link(namespaces, [name, 'eth0', ends[0]], [node, `pod${pod}`, ends[1]])
    await namespaces.configure(name, [`route add default via 10.244.${pod}.1`])
    const config = join(folder, `pod${pod}.conf`)
    writeFileSync(config, podConfig(folder, pod))
    namespaces.spawn(name, ['nginx', '-c', config], { stdio: 'ignore' })
    namespaces.spawn(name, ['iperf3', '-s', '-p', '5201'], { stdio: 'ignore' })
  }
  const generator = join(folder, 'new-connections')
  execFileSync('cc', ['-O2', '-o', generator, join(ROOT, 'perf/load/new-connections.c')])
  return {
    namespaces,
    client,
    generator,
    contenders: await contenders(namespaces, node, folder, capture),
  }
}

async function link(namespaces, [oneNs, oneDevice, oneIp], [otherNs, otherDevice, otherIp]) {
  await namespaces.connect(
    { netns: oneNs, device: oneDevice },
    { netns: otherNs, device: otherDevice },
  )
  await namespaces.configure(oneNs, [`addr add ${oneIp} dev ${oneDevice}`])
  await namespaces.configure(otherNs, [`addr add ${otherIp} dev ${otherDevice}`])
}

function podConfig(folder, pod) {
  return `daemon off; worker_processes 1; pid ${folder}/pod${pod}.pid; error_log /dev/null;
events { worker_connections 4096; }
http { access_log off; server { listen 8080 backlog=4096; location / { return 200 "ok"; } } }
`
}

/** Each: name, where short connections and bulk go to, pids whose CPU time is its cost. */
async function contenders(namespaces, node, folder, capture) {
  const list = [
    { name: 'direct', http: ['10.244.1.2', 8080], bulk: ['10.244.1.2', 5201], pids: [] },
    {
      name: 'kernel DNAT',
      http: ['10.96.0.1', 80],
      bulk: ['10.96.0.1', 5201],
      pids: [],
      ...dnat(node),
    },
  ]
  writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfig())
  writeFileSync(join(folder, 'nginx.conf'), nginxConfig(folder))
  const start = (command) => namespaces.spawn(node, command, { stdio: 'ignore' })
  const haproxy = start(['haproxy', '-db', '-f', join(folder, 'haproxy.cfg')])
  list.push({
    name: 'HAProxy',
    http: ['10.0.1.1', 8001],
    bulk: ['10.0.1.1', 8002],
    pids: [haproxy.pid],
  })
  const nginx = start(['nginx', '-c', join(folder, 'nginx.conf')])
  list.push({
    name: 'nginx stream',
    http: ['10.0.1.1', 8011],
    bulk: ['10.0.1.1', 8012],
    pids: [nginx.pid],
  })
  // One at a time: two proxies on one node would each remove what the other has put there.
  const vip = '10.96.1.1'
  const manifests = join(folder, 'manifests')
  mkdirSync(manifests)
  writeFileSync(join(manifests, 'all.json'), manifestsFor(vip))
  const daemon = start([
    process.execPath,
    join(ROOT, 'dist/cli/main.js'),
    ...['run', '--manifests', manifests, '--userspace-capture', capture],
    ...['--hostname-override', 'perf', '--cluster-cidr', '10.244.0.0/16', '--log-level=error'],
    ...['--healthz-bind-address=', '--metrics-bind-address='],
  ])
  list.push({
    name: `kube-sluice ${capture}`,
    http: [vip, 80],
    bulk: [vip, 5201],
    pids: [daemon.pid],
  })
  return list
}

/**
 * The kernel's own rule, there only while it is measured: a nat hook puts connection tracking on the
 * path of every packet of the namespace, and so of every contender (it costs HAProxy about a tenth).
 */
function dnatRules(pods) {
  const endpoints = pods.map((pod, index) => `${index} : 10.244.${pod}.2 . 8080`).join(', ')
  return `table ip perf {
  chain prerouting {
    type nat hook prerouting priority dstnat
    ip daddr 10.96.0.1 tcp dport 80 dnat ip addr . port to numgen inc mod ${pods.length} map { ${endpoints} }
    ip daddr 10.96.0.1 tcp dport 5201 dnat to 10.244.1.2:5201
  }
}
`
}

/** @returns what to do before and after the load goes to the kernel's rule */
function dnat(node) {
  const nft = (args, input) =>
    execFileSync('ip', ['netns', 'exec', node, 'nft', ...args], { input })
  return {
    before: () => nft(['-f', '-'], dnatRules(PODS)),
    after: () => nft(['delete', 'table', 'ip', 'perf'], ''),
  }
}

function haproxyConfig() {
  const servers = PODS.map((pod) => `  server pod${pod} 10.244.${pod}.2:8080`).join('\n')
  return `global
  nbthread 1
  maxconn 4000
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  option splice-auto
listen http
  bind 10.0.1.1:8001
  balance roundrobin
${servers}
listen bulk
  bind 10.0.1.1:8002
  server pod1 10.244.1.2:5201
`
}

function nginxConfig(folder) {
  const servers = PODS.map((pod) => `server 10.244.${pod}.2:8080;`).join(' ')
  return `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log /dev/null;
worker_rlimit_nofile 20000;
events { worker_connections 10000; }
stream {
  upstream http { ${servers} }
  server { listen 10.0.1.1:8011 backlog=4096; proxy_connect_timeout 1s; proxy_pass http; }
  server { listen 10.0.1.1:8012; proxy_pass 10.244.1.2:5201; }
}
`
}

function manifestsFor(vip) {
  const metadata = (name) => ({ name, labels: { 'kubernetes.io/service-name': 'perf' } })
  const slice = (name, ips, port) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: metadata(name),
    addressType: 'IPv4',
    ports: [{ name, port, protocol: 'TCP' }],
    endpoints: ips.map((ip) => ({ addresses: [ip] })),
  })
  const ports = [
    { name: 'http', port: 80 },
    { name: 'bulk', port: 5201 },
  ]
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'perf' },
    spec: { clusterIP: vip, ports },
  }
  const ips = PODS.map((pod) => `10.244.${pod}.2`)
  const items = [service, slice('http', ips, 8080), slice('bulk', ips.slice(0, 1), 5201)]
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items })
}

async function measure(place, rounds, seconds) {
  const { contenders } = place
  for (const contender of contenders) {
    contender.before?.()
    await ready(place, contender)
    contender.after?.()
  }
  const results = contenders.map(({ name }) => ({
    name,
    connectionsPerSecond: [],
    cpuMicrosPerConnection: [],
    p50Micros: [],
    p99Micros: [],
    gigabitsPerSecond: [],
    cpuSecondsPerGib: [],
  }))
  for (let round = 0; round <= rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const index = (turn + round) % contenders.length
      // Round 0 warms up: compilers, caches, slow-start; it does not count.
      const duration = round === 0 ? 1 : seconds
      contenders[index].before?.()
      const figures = await measureOne(place, contenders[index], duration)
      contenders[index].after?.()
      console.error(`round ${round}/${rounds}  ${contenders[index].name}: ${brief(figures)}`)
      if (round === 0) continue
      for (const [key, value] of Object.entries(figures)) results[index][key].push(value)
    }
  }
  return results
}

function brief(figures) {
  const { connectionsPerSecond, p99Micros, gigabitsPerSecond } = figures
  return `${Math.round(connectionsPerSecond)} connections/s, p99 ${p99Micros} µs, ${gigabitsPerSecond.toFixed(1)} Gbit/s`
}

async function measureOne(place, contender, seconds) {
  const { client, generator } = place
  const [host, port] = contender.http
  const cpuBefore = cpuSeconds(contender.pids)
  const wrk = await output(place, client, [
    ...['wrk', '-t1', `-c${CONCURRENCY}`, `-d${seconds}s`, '-H', 'Connection: close'],
    `http://${host}:${port}/`,
  ])
  const requests = Number(/(\d+) requests in/.exec(wrk)?.[1])
  const connectionsPerSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(wrk)?.[1])
  const cpuConnections = cpuSeconds(contender.pids) - cpuBefore
  const count = String(RATE * seconds)
  const latency = JSON.parse(
    await output(place, client, [generator, host, String(port), String(RATE), count]),
  )
  const [bulkHost, bulkPort] = contender.bulk
  const bulkBefore = cpuSeconds(contender.pids)
  const bulk = JSON.parse(
    await output(place, client, [
      ...['iperf3', '-c', bulkHost, '-p', String(bulkPort), '-P4', `-t${seconds}`, '-J'],
    ]),
  )
  const { bytes, bits_per_second: bits } = bulk.end.sum_received
  const cpuBulk = cpuSeconds(contender.pids) - bulkBefore
  const hasProcess = contender.pids.length > 0
  return {
    connectionsPerSecond,
    cpuMicrosPerConnection: hasProcess ? (cpuConnections * 1e6) / requests : NaN,
    p50Micros: latency.p50Us,
    p99Micros: latency.p99Us,
    gigabitsPerSecond: bits / 1e9,
    cpuSecondsPerGib: hasProcess ? cpuBulk / (bytes / 2 ** 30) : NaN,
  }
}

/** Waits until the contender answers; each try takes up to 3 s. */
async function ready(place, { name, http: [host, port] }) {
  for (let attempt = 0; attempt < 10; attempt++) {
    const probe = [place.generator, host, String(port), '1000', '1']
    if (JSON.parse(await output(place, place.client, probe)).completed === 1) return
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  throw new Error(`perf: ${name} does not answer at ${host}:${port}`)
}

function output({ namespaces }, netns, command) {
  return new Promise((resolve, reject) => {
    const child = namespaces.spawn(netns, command, { stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    let errors = ''
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
    child.stdout.on('data', (chunk) => (text += chunk))
    child.stderr.on('data', (chunk) => (errors += chunk))
    child.on('close', (code) => {
      clearTimeout(timer)
      if (code === 0) resolve(text)
      else reject(new Error(`${command.join(' ')}: exit ${code}: ${errors.trim()}`))
    })
  })
}

/** User and system time of processes and their children, from /proc/PID/stat (ticks of 10 ms). */
function cpuSeconds(pids) {
  let ticks = 0
  for (const pid of pids) {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
    const all = [pid, ...children.split(' ').filter(Boolean)]
    for (const one of all) {
      const fields = readFileSync(`/proc/${one}/stat`, 'utf8').split(') ')[1].split(' ')
      ticks += Number(fields[11]) + Number(fields[12])
    }
  }
  return ticks / 100
}

function report(results) {
  const peer = (name) => results.find((one) => one.name === name)
  const [haproxy, nginx] = [peer('HAProxy'), peer('nginx stream')]
  const head = ['', 'connections/s', '/HAProxy', '/nginx', 'CPU µs each', 'p50 µs', 'p99 µs']
  const tail = ['Gbit/s', '/HAProxy', '/nginx', 'CPU s/GiB']
  const rows = results.map((one) => {
    const rate = one.connectionsPerSecond
    const bulk = one.gigabitsPerSecond
    return [
      one.name,
      spread(rate, 0),
      ratio(rate, haproxy.connectionsPerSecond),
      ratio(rate, nginx.connectionsPerSecond),
      spread(one.cpuMicrosPerConnection, 0),
      String(median(one.p50Micros)),
      spread(one.p99Micros, 0),
      spread(bulk, 1),
      ratio(bulk, haproxy.gigabitsPerSecond),
      ratio(bulk, nginx.gigabitsPerSecond),
      spread(one.cpuSecondsPerGib, 2),
    ]
  })
  console.log(`\n${table([[...head, ...tail], ...rows])}\n`)
  const version = (...command) => execFileSync(command[0], command.slice(1), { encoding: 'utf8' })
  const haproxyVersion = version('haproxy', '-v').split('\n')[0]
  console.log(
    `Medians [min..max]; ratios are medians of the rounds. ${cpus().length} processors, Node ${process.version}, ${haproxyVersion}.`,
  )
  console.log(
    `connections/s: wrk, ${CONCURRENCY} at a time, each request on a connection of its own; latency: open loop at ${RATE}/s, from when a connection was due to its first byte; Gbit/s: iperf3, 4 streams.`,
  )
}
