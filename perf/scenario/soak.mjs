/**
 * Twenty minutes' worth of churn in three: by default ten changes a second of 10,000 Services and 100,000
 * endpoints, nearly seven times as fast, while every 45 s all connections to the API server
 * break and, every second time, it forgets its history. Says pass or fail:
 *
 *   - memory is flat: what is reachable on the heap after a full collection is at the end at most FLAT
 *     times what it was after a first sixth, which warms up. Resident set size goes up and down
 *     with what waits to be collected: its medians, thirds of the rest compared, are told, not judged;
 *   - in the end the kernel's slots are what the API server has;
 *   - no sync has failed.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import {
  collectedMiB,
  inNode,
  loadOf,
  peakMiB,
  rssMiB,
  startApi,
  startProxy,
} from '../cluster-lab.mjs'
import { median } from '../statistics.mjs'

/** A change of a slice of 100 endpoints that were kept would be some 10 kB, all of them more than the heap. */
const FLAT = 1.08
const DISTURB_SECONDS = 45
/** The pauses after broken connections grow to twice 30 s when they follow each other. */
const SETTLE_MS = 100_000

/** @param {readonly string[]} args @returns {Promise<number>} exit status: 0 for pass */
export async function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      services: { type: 'string', default: '10000' },
      endpoints: { type: 'string', default: '100000' },
      'per-slice': { type: 'string', default: '100' },
      mode: { type: 'string', default: 'nfqueue' },
      changes: { type: 'string', default: '12000' },
      seconds: { type: 'string', default: '180' },
      json: { type: 'string' },
    },
  })
  return inNode(async (place) => {
    const result = await soak(place, values)
    console.log(JSON.stringify({ ...result, samples: undefined }, undefined, 1))
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(result))
    const faults = faultsOf(result)
    console.log(faults.length === 0 ? 'soak: pass' : `soak: FAIL: ${faults.join('; ')}`)
    return faults.length === 0 ? 0 : 1
  })
}

async function soak(place, values) {
  const load = loadOf(values)
  const seconds = Number(values.seconds)
  const api = await startApi(place)
  await api.call({ do: 'fill', load })
  const proxy = startProxy(place, { port: api.port, mode: values.mode })
  await proxy.inForce
  const { pid } = proxy.child
  const perSecond = Number(values.changes) / seconds
  const plan = { perSecond, disturbEverySeconds: DISTURB_SECONDS }
  await api.call({ do: 'churn', plan: { ...plan, seconds: seconds / 6 } })
  const warm = collectedMiB(place)
  const samples = []
  const timer = setInterval(() => samples.push(rssMiB(pid)), 1000)
  await api.call({ do: 'churn', plan: { ...plan, seconds: (seconds / 6) * 5 } })
  clearInterval(timer)
  const end = await compared(place, api)
  const collected = collectedMiB(place)
  const third = Math.floor(samples.length / 3)
  const result = {
    ...load,
    mode: values.mode,
    changes: Number(values.changes),
    seconds,
    heapMiBWarm: warm.heap,
    heapMiBEnd: collected.heap,
    rssMiBWarm: warm.rss,
    rssMiBEnd: collected.rss,
    rssMiBFirstThird: median(samples.slice(0, third)),
    rssMiBLastThird: median(samples.slice(-third)),
    rssMiBPeak: peakMiB(pid),
    ...end,
    failedSyncs: proxy.failedSyncs(),
    samples,
  }
  proxy.child.kill('SIGKILL')
  return result
}

function faultsOf({ heapMiBWarm, heapMiBEnd, pairs, missing, surplus, failedSyncs }) {
  const growth = heapMiBEnd / heapMiBWarm
  return [
    ...(growth <= FLAT ? [] : [`the heap grew by ${((growth - 1) * 100).toFixed(1)} %`]),
    ...(pairs > 0 && missing + surplus === 0
      ? []
      : [`of ${pairs} pairs of VIP and endpoint ${missing} are missing, ${surplus} too many`]),
    ...(failedSyncs === 0 ? [] : [`${failedSyncs} syncs failed`]),
  ]
}

/** The kernel's slots against the API server's objects, once they are the same or SETTLE_MS have passed. */
async function compared(place, api) {
  const endedMs = Date.now()
  const { pairs } = await api.call({ do: 'pairs' })
  const deadline = Date.now() + SETTLE_MS
  for (;;) {
    const found = pairsInKernel(place)
    const missing = pairs.filter((pair) => !found.has(pair)).length
    const surplus = found.size + missing - pairs.length
    if (missing + surplus === 0 || Date.now() > deadline) {
      return { pairs: pairs.length, missing, surplus, settledMs: Date.now() - endedMs }
    }
    await sleep(1000)
  }
}

/** `10.96.0.1 10.0.0.1` for each slot. */
function pairsInKernel({ node }) {
  const list = ['nft', 'list', 'map', 'ip', 'kube-sluice', 'vip-slots']
  const { stdout } = spawnSync('ip', ['netns', 'exec', node, ...list], {
    encoding: 'utf8',
    maxBuffer: 256 << 20,
  })
  const pairs = new Set()
  for (const [, vip, endpoint] of stdout.matchAll(/(\S+) \. tcp \. 80 \. \S+ : (\S+) \. 8080/g)) {
    pairs.add(`${vip} ${endpoint}`)
  }
  return pairs
}
