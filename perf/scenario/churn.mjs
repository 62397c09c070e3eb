/**
 * A large cluster against the tests' API server: memory, start, and how long a change takes.
 *
 *   API server --TLS--> kube-sluice --> nftables of a namespace --> `nft monitor`
 *
 * Churn gives an endpoint a new address; the time runs from when the API server has it to when the
 * kernel announces the element. Memory is resident set size, looked at every second; `rssMiBBeyondNode` is
 * without what a Node that has just started takes, most of which is its program file.
 */
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import {
  inNode,
  loadOf,
  nodeStartMiB,
  peakMiB,
  rssMiB,
  startApi,
  startProxy,
  watchKernel,
} from '../cluster-lab.mjs'
import { median } from '../statistics.mjs'

/** The proxy gives back what the load left, the last of it after two or three times 6.5 s. */
const SETTLE_MS = 25_000

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export async function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      services: { type: 'string', default: '10000' },
      endpoints: { type: 'string', default: '100000' },
      'per-slice': { type: 'string', default: '100' },
      mode: { type: 'string', default: 'nfqueue' },
      rate: { type: 'string', default: '70' },
      seconds: { type: 'string', default: '60' },
      json: { type: 'string' },
    },
  })
  return inNode(async (place) => {
    const result = await measure(place, values)
    console.log(JSON.stringify(result, undefined, 1))
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(result, undefined, 1))
    if (result.changes === undefined || result.arrived > 0) return 0
    console.error('perf: the kernel announced none of the changes')
    return 1
  })
}

async function measure(place, values) {
  const api = await startApi(place)
  const load = loadOf(values)
  await api.call({ do: 'fill', load })
  const startedMs = Date.now()
  const proxy = startProxy(place, { port: api.port, mode: values.mode })
  await proxy.inForce
  const result = {
    ...load,
    mode: values.mode,
    firstSyncMs: Date.now() - startedMs,
    rssMiBFirst: rssMiB(proxy.child.pid),
  }
  const arrivals = watchKernel(place)
  await sleep(SETTLE_MS)
  result.rssMiBSettled = rssMiB(proxy.child.pid)
  result.rssMiBBeyondNode = Math.round((result.rssMiBSettled - nodeStartMiB()) * 10) / 10
  const seconds = Number(values.seconds)
  if (seconds > 0) {
    Object.assign(result, await churn({ api, proxy, arrivals, rate: Number(values.rate), seconds }))
  }
  result.rssMiBPeak = peakMiB(proxy.child.pid)
  proxy.child.kill('SIGKILL')
  return result
}

async function churn({ api, proxy, arrivals, rate, seconds }) {
  const samples = []
  const timer = setInterval(() => samples.push(rssMiB(proxy.child.pid)), 1000)
  const { times } = await api.call({ do: 'churn', plan: { perSecond: rate, seconds } })
  await sleep(2000)
  clearInterval(timer)
  const seen = times.flatMap(([address, atMs]) =>
    arrivals.has(address) ? [arrivals.get(address) - atMs] : [],
  )
  seen.sort((a, b) => a - b)
  const third = Math.floor(samples.length / 3)
  return {
    changes: times.length,
    arrived: seen.length,
    p50Ms: seen[Math.floor(seen.length * 0.5)],
    p99Ms: seen[Math.floor(seen.length * 0.99)],
    maxMs: seen.at(-1),
    rssMiBFirstThird: median(samples.slice(0, third)),
    rssMiBLastThird: median(samples.slice(-third)),
  }
}
