/**
 * How long a small cluster waits for a node: from the start of the process to its first sync in force
 * and to the first connection through it, mode by mode, each start in a namespace without rules.
 *
 *   node (namespace): kube-sluice, a client, and the endpoints at addresses of its loopback device
 *
 * `--restart` measures the second start in a namespace, with the rules of the first one there.
 */
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { listOf, podConfig } from '../peers.mjs'
import { inPlace, output, ROOT } from '../place.mjs'
import { alternate } from '../rounds.mjs'
import { spread, table } from '../statistics.mjs'
import { manifestsOf } from '../daemon.mjs'

const VIP = '10.96.1.1'
const PODS = ['10.244.1.2', '10.244.2.2']
const ENDPOINTS = 1000
const START_TIMEOUT_MS = 30_000

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export async function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      modes: { type: 'string', default: 'nfqueue,nftables,iptables,userspace' },
      rounds: { type: 'string', default: '5' },
      restart: { type: 'boolean', default: false },
      json: { type: 'string' },
    },
  })
  return inPlace(async (place) => {
    const manifests = join(place.folder, 'manifests')
    mkdirSync(manifests)
    writeFileSync(join(manifests, 'all.json'), listOf(manifestsOf(VIP, PODS, ENDPOINTS)))
    let number = 0
    const measure = async ({ name }) => {
      const node = await addNode(place, ++number)
      if (values.restart) await start(place, node, { mode: name, manifests })
      return start(place, node, { mode: name, manifests })
    }
    const brief = ({ verdictMs }) => `first verdict after ${Math.round(verdictMs)} ms`
    const modes = values.modes.split(',').map((name) => ({ name }))
    const results = await alternate(modes, Number(values.rounds), { measure, brief })
    const rows = [...results].map(([name, { startingMs, inForceMs, verdictMs, rssMiB }]) => [
      name,
      ...[startingMs, inForceMs, verdictMs].map((times) => spread(times, 0)),
      spread(rssMiB, 0),
    ])
    const head = ['', 'mode started ms', 'in force ms', 'first verdict ms', 'RSS MiB']
    console.log(`\n${table([head, ...rows])}`)
    if (values.json !== undefined) {
      writeFileSync(values.json, JSON.stringify(Object.fromEntries(results), undefined, 2))
    }
  })
}

async function addNode({ namespaces, folder }, number) {
  const node = await namespaces.add(`start${number}`)
  await namespaces.configure(
    node,
    PODS.map((pod) => `addr add ${pod}/32 dev lo`),
  )
  const config = join(folder, `${node}.conf`)
  writeFileSync(config, podConfig(folder, node))
  namespaces.spawn(node, ['nginx', '-c', config], { stdio: 'ignore' })
  await namespaces.configure(node, ['route add 10.96.0.0/16 dev lo'])
  return node
}

/** Starts the proxy, connects, and kills it: what it made stays. */
async function start(place, node, { mode, manifests }) {
  const startedMs = performance.now()
  const child = place.namespaces.spawn(
    node,
    [
      process.execPath,
      join(ROOT, 'dist/cli/main.js'),
      ...['run', '--proxy-mode', mode, '--manifests', manifests],
      ...['--hostname-override', 'perf', '--cluster-cidr', '10.0.0.0/8'],
      ...['--healthz-bind-address=', '--metrics-bind-address='],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS)
  const ended = once(child, 'exit')
  const result = {}
  for await (const line of createInterface({ input: child.stderr })) {
    if (line.includes('"starting"')) result.startingMs = performance.now() - startedMs
    if (!line.includes('"in force"')) continue
    result.inForceMs = performance.now() - startedMs
    break
  }
  if (result.inForceMs === undefined) throw new Error(`perf: ${mode} did not start`)
  // A shell's own connect: to start anything larger would take longer than what is measured.
  await output(place, node, ['bash', '-c', `exec 3<>/dev/tcp/${VIP}/80`])
  result.verdictMs = performance.now() - startedMs
  const status = await output(place, node, ['cat', `/proc/${child.pid}/status`])
  result.rssMiB = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
  clearTimeout(timer)
  child.kill('SIGKILL')
  await ended
  return result
}
