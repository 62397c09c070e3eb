/**
 * The userspace mode against its peers: no proxy, one kernel DNAT rule, HAProxy in TCP mode, nginx
 * stream. The processes all run at the same time, idle; the load goes to one after
 * the other, round by round, in an order that turns. What is compared is medians of one run.
 *
 *   client 10.0.1.2 -- 10.0.1.1 node (the contenders) -- 10.244.N.2 three pods (nginx, iperf3)
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { CONCURRENCY, cpuSeconds, moveBytes, openConnections } from '../load.mjs'
import { haproxyConfig, nginxConfig, kernelRules, listOf, measuredService } from '../peers.mjs'
import { compileLoad, eventually, inPlace, loadRules, output, ROOT } from '../place.mjs'
import { clientNodeAndPods } from '../pod-network.mjs'
import { alternate } from '../rounds.mjs'
import { median, ratio, spread, table } from '../statistics.mjs'

const PODS = [1, 2, 3]
const POD_IPS = PODS.map((pod) => `10.244.${pod}.2`)
const RATE = 1000

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      json: { type: 'string' },
      capture: { type: 'string', default: 'anyip' },
      relay: { type: 'string', default: 'splice' },
    },
  })
  return inPlace(async ({ namespaces, folder }) => {
    const place = await setUp(namespaces, folder, values)
    const results = await measure(place, Number(values.rounds), Number(values.seconds))
    report(results)
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results, undefined, 2))
  })
}

/** Namespaces, pods and contenders. */
async function setUp(namespaces, folder, options) {
  const { client, node } = await clientNodeAndPods({ namespaces, folder }, POD_IPS)
  return {
    namespaces,
    client,
    generator: compileLoad(folder, 'new-connections'),
    contenders: await contenders(namespaces, node, folder, options),
  }
}

/** Each: name, where short connections and bulk go to, pids whose CPU time is its cost. */
async function contenders(namespaces, node, folder, { capture, relay }) {
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
  writeFileSync(join(folder, 'haproxy.cfg'), haproxyConfig('10.0.1.1', POD_IPS))
  writeFileSync(join(folder, 'nginx.conf'), nginxConfig(folder, '10.0.1.1', POD_IPS))
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
  writeFileSync(join(manifests, 'all.json'), listOf(measuredService(vip, POD_IPS)))
  const daemon = start([
    process.execPath,
    join(ROOT, 'dist/cli/main.js'),
    ...['run', '--manifests', manifests, '--proxy-mode', 'userspace'],
    ...['--userspace-capture', capture, '--userspace-relay', relay],
    ...['--hostname-override', 'perf', '--cluster-cidr', '10.244.0.0/16', '--log-level=error'],
    ...['--healthz-bind-address=', '--metrics-bind-address='],
  ])
  list.push({
    name: `kube-sluice ${capture} ${relay}`,
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
function dnat(node) {
  return {
    before: () => loadRules(node, ['nft', '-f', '-'], kernelRules('10.96.0.1', POD_IPS)),
    after: () => loadRules(node, ['nft', 'delete', 'table', 'ip', 'perf'], ''),
  }
}

async function measure(place, rounds, seconds) {
  const { contenders } = place
  for (const contender of contenders) {
    contender.before?.()
    await ready(place, contender)
    contender.after?.()
  }
  const results = await alternate(contenders, rounds, {
    measure: async (contender, isWarmUp) => {
      contender.before?.()
      const figures = await measureOne(place, contender, isWarmUp ? 1 : seconds)
      contender.after?.()
      return figures
    },
    brief,
  })
  return contenders.map(({ name }) => ({ name, ...results.get(name) }))
}

function brief(figures) {
  const { connectionsPerSecond, p99Micros, gigabitsPerSecond } = figures
  return `${Math.round(connectionsPerSecond)} connections/s, p99 ${p99Micros} µs, ${gigabitsPerSecond.toFixed(1)} Gbit/s`
}

async function measureOne(place, contender, seconds) {
  const { client, generator } = place
  const [host, port] = contender.http
  const cpuBefore = cpuSeconds(contender.pids).all
  const { requests, perSecond } = await openConnections(place, client, contender.http, seconds)
  const cpuConnections = cpuSeconds(contender.pids).all - cpuBefore
  const count = String(RATE * seconds)
  const latency = JSON.parse(
    await output(place, client, [generator, host, String(port), String(RATE), count]),
  )
  const bulkBefore = cpuSeconds(contender.pids).all
  const { bytes, gigabitsPerSecond } = await moveBytes(place, client, contender.bulk, seconds)
  const cpuBulk = cpuSeconds(contender.pids).all - bulkBefore
  const hasProcess = contender.pids.length > 0
  return {
    connectionsPerSecond: perSecond,
    cpuMicrosPerConnection: hasProcess ? (cpuConnections * 1e6) / requests : NaN,
    p50Micros: latency.p50Us,
    p99Micros: latency.p99Us,
    gigabitsPerSecond,
    cpuSecondsPerGib: hasProcess ? cpuBulk / (bytes / 2 ** 30) : NaN,
  }
}

/** Waits until the contender answers; each try takes up to 3 s. */
async function ready(place, { name, http: [host, port] }) {
  const probe = [place.generator, host, String(port), '1000', '1']
  await eventually(`${name} does not answer at ${host}:${port}`, async () => {
    return JSON.parse(await output(place, place.client, probe)).completed === 1
  })
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
