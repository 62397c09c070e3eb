// The three measurements, each with the CPU time that the contender's own processes used meanwhile.
import { runCommand } from '../../lib/run-command.mjs'
import { cpuSeconds } from '../../lib/cpu-time.mjs'
import { HTTP_PORT, IPERF_PORT } from './ports.mjs'

/** wrk's connections: enough to keep every contender busy, few enough that none queues for long. */
const CONCURRENCY = 64
/** iperf3's parallel streams. */
const STREAMS = 4
/** What a tool may take on top of the time that it measures for. */
const TOOL_SLACK_MS = 10_000
const BYTES_PER_GIB = 2 ** 30

/**
 * What is measured. `digits`: after the point.
 *
 * @typedef {'connectionsPerSecond' | 'cpuUsPerConnection' | 'p50Ms' | 'p99Ms' | 'gibPerSecond' | 'cpuSecondsPerGib'} MetricName
 * @type {Readonly<Record<MetricName, { readonly title: string, readonly digits: number }>>}
 */
export const METRICS = {
  connectionsPerSecond: { title: 'connections/s', digits: 0 },
  cpuUsPerConnection: { title: 'CPU us/connection', digits: 1 },
  p50Ms: { title: 'p50 ms, new connection', digits: 3 },
  p99Ms: { title: 'p99 ms, new connection', digits: 3 },
  gibPerSecond: { title: 'throughput GiB/s', digits: 2 },
  cpuSecondsPerGib: { title: 'CPU s/GiB', digits: 3 },
}

/**
 * @typedef {object} Load
 * @property {string} client namespace that the load comes from
 * @property {string} generator path of new-connections
 * @property {number} seconds of each measurement
 * @property {number} ratePerSecond of the latency measurement
 * @property {AbortSignal} signal
 */

/** @typedef {import('./contenders.mjs').Running} Running */
/** @typedef {Partial<Record<MetricName, number>> & { failures: number }} Sample */

/** In the order in which they are taken. */
export const MEASUREMENTS = [measureConnections, measureLatency, measureThroughput]

/**
 * Whether three connections in a row are answered.
 *
 * @param {Running} running
 * @param {Load} load
 * @returns {Promise<boolean>}
 */
export async function isReady(running, load) {
  const output = await inClient(load, [load.generator, running.address, `${HTTP_PORT}`, '100', '3'])
  return JSON.parse(output).completed === 3
}

/**
 * wrk, closed loop: as many new connections as the contender can do, one request on each.
 *
 * @param {Running} running
 * @param {Load} load
 * @returns {Promise<Sample>}
 */
export async function measureConnections(running, load) {
  const url = `http://${running.address}:${HTTP_PORT}/`
  const options = ['-t1', `-c${CONCURRENCY}`, `-d${load.seconds}s`, '-H', 'Connection: close']
  const { output, cpu } = await withCpuTime(running, () => inClient(load, ['wrk', ...options, url]))
  const connections = Number(/(\d+) requests in/.exec(output)?.[1] ?? 0)
  const perSecond = Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1] ?? 0)
  const errors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output)
  const failures = (errors ?? []).slice(1).reduce((sum, text) => sum + Number(text), 0)
  if (connections === 0) throw new Error(`wrk made no connection: ${output.trim()}`)
  return {
    connectionsPerSecond: perSecond,
    cpuUsPerConnection: cpu === undefined ? undefined : (cpu * 1e6) / connections,
    failures,
  }
}

/**
 * new-connections.c, open loop: the same rate for every contender, from when a connection was due to
 * the first byte of its answer.
 *
 * @param {Running} running
 * @param {Load} load
 * @returns {Promise<Sample>}
 */
async function measureLatency(running, load) {
  const { ratePerSecond, seconds, generator } = load
  const rate = [`${ratePerSecond}`, `${ratePerSecond * seconds}`]
  const command = /** @type {const} */ ([generator, running.address, `${HTTP_PORT}`, ...rate])
  const { completed, failed, p50Us, p99Us } = JSON.parse(await inClient(load, command))
  if (completed === 0) throw new Error('no connection of the latency measurement was answered')
  return { p50Ms: p50Us / 1000, p99Ms: p99Us / 1000, failures: failed }
}

/**
 * iperf3, from the endpoint to the client (-R): Services answer more than they are asked.
 *
 * @param {Running} running
 * @param {Load} load
 * @returns {Promise<Sample>}
 */
async function measureThroughput(running, load) {
  const { seconds } = load
  const options = ['-p', `${IPERF_PORT}`, '-R', '-P', `${STREAMS}`, '-t', `${seconds}`, '-J']
  const command = /** @type {const} */ (['iperf3', '-c', running.address, ...options])
  const { output, cpu } = await withCpuTime(running, () => inClient(load, command))
  const { bytes, seconds: took } = JSON.parse(output).end.sum_received
  const gib = bytes / BYTES_PER_GIB
  return {
    gibPerSecond: gib / took,
    cpuSecondsPerGib: cpu === undefined ? undefined : cpu / gib,
    failures: 0,
  }
}

/**
 * CPU time is undefined for what has no process: the kernel's own forwarding.
 *
 * @param {Running} running
 * @param {() => Promise<string>} run
 * @returns {Promise<{ output: string, cpu: number | undefined }>}
 */
async function withCpuTime(running, run) {
  const pids = running.pids()
  const before = cpuSeconds(pids)
  const output = await run()
  return { output, cpu: pids.length === 0 ? undefined : cpuSeconds(pids) - before }
}

/**
 * @param {Load} load
 * @param {readonly [string, ...string[]]} command
 * @returns {Promise<string>}
 */
function inClient({ client, seconds, signal }, command) {
  const timeoutMs = seconds * 1000 + TOOL_SLACK_MS
  return runCommand(['ip', 'netns', 'exec', client, ...command], { timeoutMs, signal })
}
