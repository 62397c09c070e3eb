/**
 * One mode and one size, in a network namespace of its own (perf/scenario/sync.mjs starts it): prints
 * one line of JSON. Full: from a Snapshot to all in force in an empty kernel; change: one endpoint gets
 * another address. Times in ms, compute is part of the whole.
 */
import { performance } from 'node:perf_hooks'
import { loadRunConfig } from '../dist/config/load.js'
import { rulesetOptions } from '../dist/datapath/iptables/ruleset-options.js'
import { fullPlan, partialPlan, rulesetOf } from '../dist/datapath/iptables/ruleset.js'
import { restoreText } from '../dist/datapath/iptables/restore-text.js'
import { startIptables } from '../dist/datapath/iptables/start.js'
import { desiredState, PartCache } from '../dist/datapath/ipvs/desired-state.js'
import { layoutOptionsReader } from '../dist/datapath/nftables/layout-options.js'
import { diffLayouts, replaceAll } from '../dist/datapath/nftables/layout-diff.js'
import { computeLayout } from '../dist/datapath/nftables/layout.js'
import { layoutText } from '../dist/datapath/nftables/nftables-proxier.js'
import { startNftables } from '../dist/datapath/nftables/start.js'
import { commandRunner } from '../dist/kernel/command.js'
import { probeCapabilities } from '../dist/kernel/probe-capability.js'
import { systemClock } from '../dist/lib/clock.js'
import { ClusterState } from '../dist/model/cluster-state.js'
import { NO_RULE_METRICS } from '../dist/observe/rule-metrics.js'
import { markLayoutOf } from '../dist/packet/mark-layout.js'
import { median } from './statistics.mjs'

const ENDPOINTS = 10
const CHANGES = 7
const [mode = '', sizeText = '', variant = ''] = process.argv.slice(2)
const size = Number(sizeText)
const config = loadRunConfig(['--manifests', '.', '--cluster-cidr', '10.128.0.0/9'])
const ipOf = (first, n) => `10.${first + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`

function sliceOf(i, shift = 0) {
  const addresses = Array.from({ length: ENDPOINTS }, (_, j) =>
    ipOf(128, i * ENDPOINTS + j + (j === 0 ? shift : 0)),
  )
  const metadata = {
    namespace: 'perf',
    name: `s-${i}-1`,
    labels: { 'kubernetes.io/service-name': `s-${i}` },
  }
  return {
    type: 'apply',
    key: `perf/s-${i}-1`,
    current: {
      kind: 'EndpointSlice',
      object: {
        metadata,
        addressType: 'IPv4',
        ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
        endpoints: addresses.map((address) => ({ addresses: [address] })),
      },
    },
  }
}

function serviceOf(i) {
  return {
    type: 'apply',
    key: `perf/s-${i}`,
    current: {
      kind: 'Service',
      object: {
        metadata: { namespace: 'perf', name: `s-${i}` },
        spec: {
          clusterIP: ipOf(96, i + 1),
          ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }],
        },
      },
    },
  }
}

const state = new ClusterState({ nodeName: 'node-a' })
for (let i = 0; i < size; i++) state.apply([serviceOf(i), sliceOf(i)])
const snapshot = state.snapshot()
const changed = Array.from({ length: CHANGES }, (_, k) => {
  const i = Math.floor((size * (k + 1)) / (CHANGES + 1))
  // An address that no other Service has.
  state.apply([sliceOf(i, ENDPOINTS * size + k)])
  return state.snapshot()
})

const facts = { node: snapshot.node, localAddresses: [], passesInvalid: false }
const layoutOptions = layoutOptionsReader(config, () => [], markLayoutOf(config.nfqueue.markMask))
const bytesOf = (text) => Buffer.byteLength(text)
/** Of one Snapshot after another: what is loaded, its size, and what the next one is computed from. */
const COMPUTE = {
  iptables: (next, before) => {
    const rules = rulesetOf(next, rulesetOptions('IPv4', config, facts), before)
    const plan = before === undefined ? fullPlan(rules) : partialPlan(before, rules)
    return { made: rules, bytes: bytesOf(restoreText(plan)) }
  },
  nftables: (next, before) => {
    const layout = computeLayout(next, 'IPv4', layoutOptions(next.node), before)
    // As netlink has it; for its size in bytes it would have to be text.
    if (before === undefined) replaceAll(layout)
    else diffLayouts(before, layout)
    return { made: layout, bytes: undefined }
  },
  ipvs: (next, before) => {
    const cache = before ?? new PartCache()
    const options = {
      family: 'IPv4',
      nodePortAddresses: [],
      ownAddresses: new Set(),
      nodeIps: [],
      defaultScheduler: 'rr',
    }
    desiredState(next, options, cache)
    return { made: cache, bytes: undefined }
  },
}

const timed = (work) => {
  const startedMs = performance.now()
  const result = work()
  return { result, ms: performance.now() - startedMs }
}
const full = timed(() => COMPUTE[mode](snapshot, undefined))
let { made } = full.result
const changes = changed.map((next) => {
  const { result, ms } = timed(() => COMPUTE[mode](next, made))
  made = result.made
  return { ms, bytes: result.bytes }
})
const fullBytes =
  full.result.bytes ??
  (mode === 'nftables'
    ? bytesOf(layoutText(computeLayout(snapshot, 'IPv4', layoutOptions(snapshot.node), undefined)))
    : undefined)

const whole = mode === 'ipvs' ? {} : await inKernel()
console.log(
  JSON.stringify({
    mode: `${mode}${variant}`,
    services: size,
    fullComputeMs: full.ms,
    fullBytes,
    changeComputeMs: median(changes.map(({ ms }) => ms)),
    changeBytes: changes[0]?.bytes,
    ...whole,
    peakMiB: process.resourceUsage().maxRSS / 1024,
  }),
)
process.exit(0)

async function inKernel() {
  const run = commandRunner()
  const kernel = { ...(await probeCapabilities(run)), iptablesVariant: variant }
  const context = {
    config,
    kernel,
    plugin: undefined,
    run,
    clock: systemClock,
    localAddresses: () => [],
    log: { info: () => undefined, warn: (message) => console.error(message) },
    metrics: NO_RULE_METRICS,
    onFailure: (error) => console.error(error),
    onEjection: () => undefined,
    onSwitch: () => undefined,
  }
  const { datapath } = mode === 'iptables' ? startIptables(context) : startNftables(context)
  const sync = async (next) => {
    const startedMs = performance.now()
    await datapath.sync(next)
    return performance.now() - startedMs
  }
  const fullMs = await sync(snapshot)
  const times = []
  for (const next of changed) times.push(await sync(next))
  await datapath.close()
  return { fullMs, changeMs: median(times) }
}
