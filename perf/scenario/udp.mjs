/**
 * UDP in userspace mode against its peers: no proxy, one kernel DNAT rule, nginx stream. The processes
 * all run at the same time, idle; the load goes to one after the other, round by round, in an order that
 * turns. What is compared is medians of one run.
 *
 *   client 10.0.1.2 -- 10.0.1.1 node (the contenders) -- 10.244.N.2 three pods (load/udp-echo.c)
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startDaemon } from '../daemon.mjs'
import { cpuSeconds } from '../load.mjs'
import { compileLoad, eventually, inPlace, loadRules, output } from '../place.mjs'
import { clientNodeAndPods } from '../pod-network.mjs'
import { alternate } from '../rounds.mjs'
import { median, ratio, spread, table } from '../statistics.mjs'

const POD_IPS = [1, 2, 3].map((pod) => `10.244.${pod}.2`)
const [VIP, OUR_VIP, PORT, POD_PORT] = ['10.96.0.1', '10.96.1.1', 53, 5353]
/** Clients of the closed loop, requests of each under way, and how many begin anew each time. */
const [CLIENTS, WINDOW, FRESH] = [64, 2, 64]
const [OPEN_CLIENTS, RATE] = [256, 10_000]

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      seconds: { type: 'string', default: '3' },
      json: { type: 'string' },
      capture: { type: 'string', default: 'anyip' },
    },
  })
  return inPlace(async (place) => {
    const { client, node, pods } = await clientNodeAndPods(place, POD_IPS)
    const echo = compileLoad(place.folder, 'udp-echo')
    for (const pod of pods) {
      place.namespaces.spawn(pod, [echo, String(POD_PORT)], { stdio: 'ignore' })
    }
    const lab = {
      ...place,
      client,
      generator: compileLoad(place.folder, 'udp-requests'),
      contenders: await contendersOn(place, node, values.capture),
    }
    const results = await measure(lab, Number(values.rounds), Number(values.seconds))
    report(results)
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results, undefined, 2))
  })
}

/** Each: name, where requests go to, pids whose CPU time is its cost. */
async function contendersOn(place, node, capture) {
  const { namespaces, folder } = place
  const config = join(folder, 'nginx.conf')
  writeFileSync(config, nginxConfig(folder))
  const nginx = namespaces.spawn(node, ['nginx', '-c', config], { stdio: 'ignore' })
  const { child } = await startDaemon(place, node, {
    items: ourObjects(),
    mode: 'userspace',
    flags: ['--userspace-capture', capture],
  })
  return [
    { name: 'direct', at: [POD_IPS[0], POD_PORT], pids: [] },
    { name: 'kernel DNAT', at: [VIP, PORT], pids: [], ...kernelRule(node) },
    { name: 'nginx stream', at: ['10.0.1.1', 8053], pids: [nginx.pid] },
    { name: `kube-sluice ${capture}`, at: [OUR_VIP, PORT], pids: [child.pid] },
  ]
}

/** There only while it is measured: it would track every packet of the namespace. */
function kernelRule(node) {
  const pods = POD_IPS.map((pod, index) => `${index} : ${pod} . ${POD_PORT}`).join(', ')
  const rules = `table ip perf {
  chain prerouting {
    type nat hook prerouting priority dstnat
    ip daddr ${VIP} udp dport ${PORT} dnat ip addr . port to numgen inc mod ${POD_IPS.length} map { ${pods} }
  }
}
`
  return {
    before: () => loadRules(node, ['nft', '-f', '-'], rules),
    after: () => loadRules(node, ['nft', 'delete', 'table', 'ip', 'perf'], ''),
  }
}

/** One worker. Sessions end when they are idle as long as ours may be without an answer. */
function nginxConfig(folder) {
  const servers = POD_IPS.map((ip) => `server ${ip}:${POD_PORT};`).join(' ')
  return `load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log /dev/null;
worker_rlimit_nofile 20000;
events { worker_connections 16384; }
stream {
  upstream dns { ${servers} }
  server { listen 10.0.1.1:8053 udp; proxy_timeout 30s; proxy_pass dns; }
  server { listen 10.0.1.1:8054 udp; proxy_timeout 30s; proxy_responses 1; proxy_pass dns; }
}
`
}

function ourObjects() {
  const ports = [{ name: 'dns', port: PORT, protocol: 'UDP' }]
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'perf' },
      spec: { clusterIP: OUR_VIP, ports },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'perf', labels: { 'kubernetes.io/service-name': 'perf' } },
      addressType: 'IPv4',
      ports: [{ name: 'dns', port: POD_PORT, protocol: 'UDP' }],
      endpoints: POD_IPS.map((ip) => ({ addresses: [ip] })),
    },
  ]
}

async function measure(lab, rounds, seconds) {
  const { contenders } = lab
  for (const contender of contenders) {
    contender.before?.()
    await eventually(`${contender.name} does not answer`, async () => {
      return (await load(lab, contender, ['closed', 1, 0.2, 1])).received > 0
    })
    contender.after?.()
  }
  const results = await alternate(contenders, rounds, {
    measure: async (contender, isWarmUp) => {
      contender.before?.()
      const figures = await measureOne(lab, contender, isWarmUp ? 1 : seconds)
      contender.after?.()
      return figures
    },
    brief: ({ perSecond, lossPercent, freshPerSecond, p99Micros }) =>
      `${Math.round(perSecond)} requests/s (${lossPercent.toFixed(2)} % lost), ${Math.round(freshPerSecond)} sessions/s, p99 ${p99Micros} µs`,
  })
  return contenders.map(({ name }) => ({ name, ...results.get(name) }))
}

/** What load/udp-requests.c prints, and the processor time of the contender meanwhile. */
async function load({ generator, client, ...place }, { at, pids }, [loop, clients, seconds, last]) {
  const before = cpuSeconds(pids).all
  const numbers = [clients, seconds, last].map(String)
  const text = await output(place, client, [generator, at[0], String(at[1]), loop, ...numbers])
  const result = JSON.parse(text)
  const cpuMicros = ((cpuSeconds(pids).all - before) * 1e6) / result.received
  return { ...result, cpuMicros: pids.length > 0 ? cpuMicros : NaN }
}

async function measureOne(lab, contender, seconds) {
  const closed = await load(lab, contender, ['closed', CLIENTS, seconds, WINDOW])
  const open = await load(lab, contender, ['open', OPEN_CLIENTS, seconds, RATE])
  const [host, port] = contender.at
  const fresh = { ...contender, at: [host, port === 8053 ? 8054 : port] }
  const sessions = await load(lab, fresh, ['fresh', FRESH, Math.min(seconds, 1), 1])
  return {
    perSecond: closed.perSecond,
    cpuMicros: closed.cpuMicros,
    lossPercent: lossOf(closed),
    p50Micros: open.p50Us,
    p99Micros: open.p99Us,
    openLossPercent: lossOf(open),
    freshPerSecond: sessions.perSecond,
    freshCpuMicros: sessions.cpuMicros,
    freshLossPercent: lossOf(sessions),
  }
}

function lossOf({ sent, received }) {
  return (100 * (sent - received)) / sent
}

function report(results) {
  const nginx = results.find(({ name }) => name === 'nginx stream')
  const head = [
    ...['', 'requests/s', '/nginx', 'CPU µs each', 'lost %', 'p50 µs', 'p99 µs', 'lost %'],
    ...['sessions/s', '/nginx', 'CPU µs each', 'lost %'],
  ]
  const rows = results.map((one) => [
    one.name,
    spread(one.perSecond, 0),
    ratio(one.perSecond, nginx.perSecond),
    spread(one.cpuMicros, 1),
    median(one.lossPercent).toFixed(2),
    String(median(one.p50Micros)),
    spread(one.p99Micros, 0),
    median(one.openLossPercent).toFixed(2),
    spread(one.freshPerSecond, 0),
    ratio(one.freshPerSecond, nginx.freshPerSecond),
    spread(one.freshCpuMicros, 1),
    median(one.freshLossPercent).toFixed(2),
  ])
  console.log(`\n${table([head, ...rows])}\n`)
  console.log(
    `Medians [min..max]; ratios are medians of the rounds. ${cpus().length} processors, Node ${process.version}. A request is 64 bytes there and back, so two datagrams that are relayed.`,
  )
  console.log(
    `requests/s: ${CLIENTS} clients with ${WINDOW} under way each; latency: open loop at ${RATE}/s from ${OPEN_CLIENTS} clients, from when a request was due; sessions/s: ${FRESH} clients, each request from a new port.`,
  )
}
