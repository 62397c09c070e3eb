/**
 * All balancers on the same connections to unequal endpoints, in virtual time: no network, no
 * machine, the same figures everywhere. What is real are the balancers, as they are in dist/.
 *
 * Ten endpoints serve one connection at a time, first come first served: four do 100 a second, four
 * 75 and two 50, with exponential service times. Connections come at random (Poisson), from 2,000
 * clients, through four nodes that each have a balancer of their own and see their own connections
 * only. An endpoint's connect time is that of the network: 0.2 ms for half of them, 1 ms for the rest
 * (all that peak-ewma gets to know).
 *
 *   equal     all weights 1, 55 % of the capacity
 *   weighted  weights in proportion to the speed, 80 % of the capacity
 *   brown-out as equal, but one fast endpoint serves a tenth as fast from second 60 to 90
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { BALANCER_NAMES, createBalancer } from '../../dist/policy/balancer/registry.js'
import { BALANCER_DEFAULTS } from '../../dist/policy/balancer/settings.js'
import { barChart } from '../bar-chart.mjs'
import { exponential, seededRandom } from '../random.mjs'
import { table } from '../statistics.mjs'
import { TimeHeap } from '../time-heap.mjs'

const SPEEDS = [100, 100, 100, 100, 75, 75, 75, 75, 50, 50]
const NODES = 4
const CLIENTS = 2000
const WARM_UP_MS = 10_000
const NAMES = BALANCER_NAMES

const SCENARIOS = [
  { name: 'equal', utilisation: 0.55, isWeighted: false, slows: false },
  { name: 'weighted', utilisation: 0.8, isWeighted: true, slows: false },
  { name: 'brown-out', utilisation: 0.55, isWeighted: false, slows: true },
]

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export async function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '120' },
      seed: { type: 'string', default: '1' },
      svg: { type: 'string' },
      json: { type: 'string' },
    },
  })
  const results = SCENARIOS.map((scenario) => ({
    ...scenario,
    rows: NAMES.map((name) => ({
      name,
      ...simulate(name, scenario, Number(values.seconds) * 1000, Number(values.seed)),
    })),
  }))
  for (const { name, utilisation, rows } of results) {
    console.log(`\n${name}: ${(utilisation * 100).toFixed(0)} % of the capacity`)
    console.log(table([HEAD, ...rows.map(rowOf)]))
  }
  if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(results, undefined, 2))
  if (values.svg !== undefined) writeFileSync(values.svg, chartOf(results))
  return 0
}

const HEAD = ['balancer', 'latency p50 ms', 'p99 ms', 'load p50', 'p99', 'busiest/mean']

function rowOf({ name, p50, p99, load50, load99, busiest }) {
  return [
    name,
    p50.toFixed(1),
    p99.toFixed(1),
    load50.toFixed(2),
    load99.toFixed(2),
    busiest.toFixed(2),
  ]
}

/** One run: the latencies of its connections, and the load that each met where it went. */
function simulate(name, { utilisation, isWeighted, slows }, endMs, seed) {
  const random = seededRandom(seed)
  const endpoints = SPEEDS.map((speed, i) => ({
    id: `10.0.0.${i + 1}:80`,
    ip: `10.0.0.${i + 1}`,
    port: 80,
    weight: isWeighted ? speed / 25 : 1,
  }))
  const settings = { ...BALANCER_DEFAULTS, name, hashesPort: true }
  const nodes = Array.from({ length: NODES }, () => {
    const balancer = createBalancer(settings)
    balancer.setEndpoints(endpoints)
    return balancer
  })
  const busyUntil = new Float64Array(SPEEDS.length)
  const open = new Int32Array(SPEEDS.length)
  const total = new Int32Array(SPEEDS.length)
  const rate = (SPEEDS.reduce((a, b) => a + b) * utilisation) / 1000
  const ends = new TimeHeap()
  const latencies = []
  const loads = []
  for (let nowMs = 0; nowMs < endMs; nowMs += exponential(random, 1 / rate)) {
    for (let end = ends.popUntil(nowMs); end !== undefined; end = ends.popUntil(nowMs)) {
      open[end.index]--
      end.balancer.onClose?.(endpoints[end.index])
    }
    const balancer = nodes[Math.floor(random() * NODES)]
    const client = Math.floor(random() * CLIENTS)
    const picked = balancer.pick(
      {
        clientIp: `10.1.${client >> 8}.${client & 255}`,
        clientPort: 1024 + Math.floor(random() * 60_000),
        nowMs,
        random: random(),
      },
      [],
    )
    const index = endpoints.indexOf(picked)
    balancer.onConnect?.(picked)
    balancer.onLatency?.(picked, index % 2 === 0 ? 0.2 : 1, nowMs)
    const isSlow = slows && index === 0 && nowMs >= 60_000 && nowMs < 90_000
    const serviceMs = exponential(random, (1000 / SPEEDS[index]) * (isSlow ? 10 : 1))
    const endsMs = Math.max(nowMs, busyUntil[index]) + serviceMs
    busyUntil[index] = endsMs
    open[index]++
    total[index]++
    ends.push({ atMs: endsMs, index, balancer })
    if (nowMs < WARM_UP_MS) continue
    latencies.push(endsMs - nowMs)
    loads.push((open[index] * 100) / SPEEDS[index])
  }
  const share = (index) => total[index] / SPEEDS[index]
  const shares = SPEEDS.map((_, index) => share(index))
  const mean = total.reduce((a, b) => a + b, 0) / SPEEDS.reduce((a, b) => a + b, 0)
  return {
    p50: quantile(latencies, 0.5),
    p99: quantile(latencies, 0.99),
    load50: quantile(loads, 0.5),
    load99: quantile(loads, 0.99),
    busiest: Math.max(...shares) / mean,
  }
}

function quantile(values, q) {
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))]
}

function chartOf(results) {
  return barChart({
    title: 'Latency of connections to unequal endpoints, milliseconds (log scale)',
    note: 'dark: median, light: 99th percentile; perf/scenario/balancers.mjs, seed 1, virtual time',
    groups: results.map(({ name, utilisation, rows }) => ({
      title: `${name}, ${(utilisation * 100).toFixed(0)} % of the capacity`,
      rows: rows.map(({ name: label, p50, p99 }) => ({ label, inner: p50, outer: p99 })),
    })),
  })
}
