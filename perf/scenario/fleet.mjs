/**
 * What one machine cannot hold: 5,000 nodes, 10,000 Services, 250,000 endpoints. Part reckoning, part
 * simulation in virtual time, with the real Backoff, SyncRunner, decoder and model where they decide.
 *
 *   control   what the API servers send to all nodes, and what a node spends on it (measured here)
 *   latency   from an event on the node to all in force, by the shortest time between two syncs
 *   restart   an API server goes away for a while: requests that come back, and when
 *   relist    every node must list anew: bytes, and how long the network takes
 *   probes    all nodes probe all endpoints, or only a share
 *
 * Assumptions are printed with the figures. Options change them.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Backoff } from '../../dist/lib/backoff.js'
import { ClusterState } from '../../dist/model/cluster-state.js'
import { ProbeScope } from '../../dist/policy/health/probe-scope.js'
import { REFLECTOR_TIMING } from '../../dist/source/kubernetes/reflector.js'
import { receivedObject } from '../../dist/source/kubernetes/watched-resource.js'
import { SyncRunner } from '../../dist/sync/sync-runner.js'
import { serviceObject, sliceObject } from '../fleet/cluster-objects.mjs'
import { VirtualClock } from '../fleet/virtual-clock.mjs'
import { exponential, seededRandom } from '../random.mjs'
import { median, table } from '../statistics.mjs'

const WATCHES = 3 // Services, EndpointSlices, the own Node
const CONNECT_TIMEOUT_MS = 1000
const MEASURED_EVENTS = 2000
const LATENCY_SECONDS = 300
const SCALE = 20

const DEFAULTS = {
  ...{ nodes: 5000, services: 10_000, endpoints: 250_000, 'api-servers': 3 },
  ...{ 'changes-per-second': 50, 'api-delay-ms': 20, 'sync-ms': 5, 'restart-seconds': 15 },
  ...{ 'api-gigabits': 10, 'probe-interval': 10, 'probe-micros': 40 },
  ...{ 'services-in-use': 20, 'probe-share': 0.1, seed: 1 },
}

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export async function run(args) {
  const names = Object.keys(DEFAULTS)
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' }]))
  const { values } = parseArgs({
    args: [...args],
    options: { ...options, json: { type: 'string' } },
  })
  const given = Object.fromEntries(
    names.map((name) => [name, Number(values[name] ?? DEFAULTS[name])]),
  )
  const wrong = names.find((name) => !(given[name] > 0))
  if (wrong !== undefined) {
    console.error(`perf: --${wrong} ${values[wrong]}: a number above 0`)
    return 2
  }
  const random = seededRandom(given.seed)
  const result = {
    assumptions: given,
    control: control(given),
    latency: await latency(given, random),
    restart: restart(given, random),
    probes: probes(given),
  }
  report(result)
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(result, undefined, 1))
  return 0
}

/** Bytes of an event and of all there is, and the time that a node takes for an event, measured on this machine. */
function control(given) {
  const perService = Math.max(1, Math.round(given.endpoints / given.services))
  const event = (turn) =>
    JSON.stringify({
      type: 'MODIFIED',
      object: sliceObject(turn % given.services, perService, turn),
    })
  const eventBytes = event(1).length
  const listBytes = given.services * (eventBytes + JSON.stringify(serviceObject(1)).length)
  const perSecond = given['changes-per-second']
  return {
    endpointsPerSlice: perService,
    eventBytes,
    listBytes,
    nodeBytesPerSecond: perSecond * eventBytes,
    apiServerBytesPerSecond: (perSecond * eventBytes * given.nodes) / given['api-servers'],
    relistSecondsAtFullRate:
      (listBytes * given.nodes * 8) / given['api-servers'] / (given['api-gigabits'] * 1e9),
    ...nodeCost(given, event, perService),
  }
}

/** Microseconds to parse one event, to take it into a model of the whole cluster, and to make the Snapshot. */
function nodeCost({ services, 'changes-per-second': perSecond }, event, perService) {
  const state = new ClusterState({ nodeName: 'node-1' })
  for (let number = 0; number < services; number++) {
    take(state, 'Service', serviceObject(number))
    take(state, 'EndpointSlice', sliceObject(number, perService))
  }
  state.snapshot()
  const lines = Array.from({ length: MEASURED_EVENTS }, (_, turn) => event(turn + 1))
  const samples = lines.map((line) => {
    const startMs = performance.now()
    take(state, 'EndpointSlice', JSON.parse(line).object)
    state.snapshot()
    return (performance.now() - startMs) * 1000
  })
  const microsPerEvent = median(samples.slice(MEASURED_EVENTS / 4))
  return { microsPerEvent, shareOfCore: (microsPerEvent * perSecond) / 1e6 }
}

function take(state, kind, object) {
  const { key, current } = receivedObject(kind, object)
  state.apply([{ type: 'apply', key, current }])
}

/** The real SyncRunner under events at random times, each sync taking as long as was said. */
async function latency(given, random) {
  const rows = []
  for (const minIntervalMs of [0, 50, 100, 1000]) {
    const clock = new VirtualClock()
    const waiting = []
    const waits = []
    let syncs = 0
    const runner = new SyncRunner({
      ...{ clock, minIntervalMs, periodMs: 30_000, retryMs: 500, onError: () => undefined },
      sync: () => {
        syncs++
        const taken = waiting.splice(0)
        return new Promise((resolve) => {
          clock.after(given['sync-ms'], () => {
            for (const sinceMs of taken) waits.push(clock.nowMs() - sinceMs)
            resolve()
          })
        })
      },
    })
    const next = () => {
      const sinceMs = clock.nowMs()
      clock.after(exponential(random, given['api-delay-ms']), () => {
        waiting.push(sinceMs)
        runner.request()
      })
      clock.after(exponential(random, 1000 / given['changes-per-second']), next)
    }
    next()
    await clock.runUntil(LATENCY_SECONDS * 1000)
    waits.sort((a, b) => a - b)
    const at = (share) => waits[Math.floor(waits.length * share)]
    rows.push({
      ...{
        minIntervalMs,
        p50Ms: at(0.5),
        p99Ms: at(0.99),
        syncsPerSecond: syncs / LATENCY_SECONDS,
      },
      shareOfCore: (syncs * given['sync-ms']) / (LATENCY_SECONDS * 1000),
    })
  }
  return rows
}

/**
 * One of the API servers restarts: its nodes' watches break at once. Each backs off by itself; a try
 * that the balancer in front sends to the dead one fails after a second.
 */
function restart(given, random) {
  const { nodes, 'api-servers': servers, 'restart-seconds': downSeconds } = given
  const watches = Math.round((nodes / servers) * WATCHES)
  const {
    backoffInitialMs: initialMs,
    backoffMaxMs: maxMs,
    backoffResetMs: resetMs,
  } = REFLECTOR_TIMING
  const requests = []
  const backAt = []
  for (let watch = 0; watch < watches; watch++) {
    let nowMs = 0
    const backoff = new Backoff({ initialMs, maxMs, resetMs }, { nowMs: () => nowMs }, random)
    for (;;) {
      nowMs += backoff.next()
      requests.push(nowMs)
      const isDown = nowMs < downSeconds * 1000 && random() < 1 / servers
      if (!isDown) break
      nowMs += CONNECT_TIMEOUT_MS
    }
    backAt.push(nowMs)
  }
  backAt.sort((a, b) => a - b)
  const bins = new Map()
  for (const atMs of requests)
    bins.set(Math.floor(atMs / 100), (bins.get(Math.floor(atMs / 100)) ?? 0) + 1)
  return {
    watches,
    requests: requests.length,
    busiestRequestsPerSecond: Math.max(...bins.values()) * 10,
    p50BackMs: backAt[Math.floor(watches * 0.5)],
    p99BackMs: backAt[Math.floor(watches * 0.99)],
    allBackMs: backAt.at(-1),
  }
}

/** Probes by every node of every endpoint, and by those that use it plus a share of the others. */
function probes(given) {
  const { nodes, services, endpoints } = given
  const share = given['probe-share'] / 100
  const interval = given['probe-interval']
  const users = (nodes * given['services-in-use']) / services
  const inUse = (given['services-in-use'] * endpoints) / services
  const cost = (perSecond) => (perSecond * given['probe-micros']) / 1e6
  const row = (name, ofNode, perEndpoint) => ({
    name,
    nodeEndpoints: ofNode,
    nodePerSecond: ofNode / interval,
    nodeShareOfCore: cost(ofNode / interval),
    endpointPerSecond: perEndpoint / interval,
    allPerSecond: (ofNode * nodes) / interval,
  })
  return {
    rows: [
      row('every node, every endpoint', endpoints, nodes),
      row('used on the node', inUse, users),
      row(
        `used, and ${given['probe-share']} % of the rest`,
        inUse + endpoints * share,
        users + nodes * share,
      ),
    ],
    ...shares(given),
  }
}

/**
 * How even the shares are that ProbeScope gives: the busiest node to the mean, and the endpoints that
 * fell to no node, in a fleet of a twentieth of the nodes and endpoints and twenty times the share, where
 * both means are the same.
 */
function shares({ nodes, endpoints, 'probe-share': percent }) {
  const count = Math.max(1, Math.round(nodes / SCALE))
  const options = { scope: 'traffic', sharePercent: Math.min(100, percent * SCALE) }
  const scopes = Array.from({ length: count }, (_, node) => {
    return new ProbeScope({ ...options, nodeName: `node-${node}`, readTraffic: () => () => 0 })
  })
  const load = new Int32Array(count)
  const all = Math.round(endpoints / SCALE)
  let unprobed = 0
  for (let endpoint = 0; endpoint < all; endpoint++) {
    const id = `10.0.${endpoint >> 8}.${endpoint & 255}:8080`
    const probers = scopes.flatMap((scope, node) => (scope.includes('other', id) ? [node] : []))
    for (const node of probers) load[node]++
    if (probers.length === 0) unprobed++
  }
  const mean = load.reduce((sum, one) => sum + one, 0) / count
  return { busiestToMean: Math.max(...load) / mean, unprobedShare: unprobed / all }
}

function report({ assumptions, control: c, latency: rows, restart: r, probes: p }) {
  const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`
  const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 2 : 0)} %`
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`
  console.log(
    `assumed: ${Object.entries(assumptions)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}\n`,
  )
  console.log(`control  an event is ${c.eventBytes} bytes (${c.endpointsPerSlice} endpoints a slice), all there is ${mb(c.listBytes)}
         each node gets ${mb(c.nodeBytesPerSecond)}/s, each API server sends ${mb(c.apiServerBytesPerSecond)}/s
         a node takes ${c.microsPerEvent.toFixed(0)} µs an event (measured): ${percent(c.shareOfCore)} of a core\n`)
  const head = ['latency: shortest time between syncs', 'p50 ms', 'p99 ms', 'syncs/s', 'of a core']
  const lines = rows.map((row) => [
    `${row.minIntervalMs} ms`,
    row.p50Ms.toFixed(0),
    row.p99Ms.toFixed(0),
    row.syncsPerSecond.toFixed(1),
    percent(row.shareOfCore),
  ])
  console.log(`${table([head, ...lines])}\n`)
  console.log(`restart  ${r.watches} watches break; ${r.requests} requests come, ${r.busiestRequestsPerSecond}/s in the busiest 100 ms
         back: half after ${seconds(r.p50BackMs)}, 99 % after ${seconds(r.p99BackMs)}, all after ${seconds(r.allBackMs)}; nothing is listed anew
relist   if all histories are gone: ${seconds(c.relistSecondsAtFullRate * 1000)} at the API servers' full rate of the network\n`)
  const cells = p.rows.map((row) => [
    row.name,
    row.nodeEndpoints.toFixed(0),
    row.nodePerSecond.toFixed(0),
    percent(row.nodeShareOfCore),
    row.endpointPerSecond.toFixed(2),
    row.allPerSecond.toFixed(0),
  ])
  const columns = [
    'probes',
    'endpoints/node',
    'probes/s/node',
    'of a core',
    'probes/s/endpoint',
    'all/s',
  ]
  console.log(table([columns, ...cells]))
  console.log(
    `shares: the busiest node has ${p.busiestToMean.toFixed(1)} times the mean; ${percent(p.unprobedShare)} of the endpoints are nobody's`,
  )
}
