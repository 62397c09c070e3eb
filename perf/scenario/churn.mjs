/**
 * A large cluster against the tests' API server: memory, start, and how long a change takes.
 *
 *   API server --TLS--> kube-sluice --> nftables of a namespace --> `nft monitor`
 *
 * Churn gives an endpoint a new address; the time runs from when the API server has it to when the
 * kernel announces the element. Memory is resident set size, looked at every second.
 */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { NetworkNamespaces } from '../../dist/kernel/netns.js'
import { compileFixture } from '../compile-fixture.mjs'
import { median } from '../statistics.mjs'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const FIRST_SYNC_MS = 170_000

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
      seconds: { type: 'string', default: '170' },
      json: { type: 'string' },
      heap: { type: 'string' },
    },
  })
  if (process.getuid?.() !== 0) {
    console.error('perf: network namespaces need root')
    return 1
  }
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-churn-'))
  const namespaces = new NetworkNamespaces(`ks-churn-${process.pid}`)
  try {
    const result = await measure(namespaces, folder, values)
    console.log(JSON.stringify(result, undefined, 1))
    if (values.json !== undefined) writeFileSync(values.json, JSON.stringify(result, undefined, 1))
    return 0
  } finally {
    await namespaces.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(namespaces, folder, values) {
  const node = await namespaces.add('node')
  await namespaces.configure(node, ['link set lo up'])
  const api = await startApi(namespaces, node, folder)
  const load = {
    services: Number(values.services),
    endpoints: Number(values.endpoints),
    perSlice: Number(values['per-slice']),
  }
  await api.call({ do: 'fill', load })
  const arrivals = watchKernel(namespaces, node)
  const startedMs = Date.now()
  const proxy = startProxy(namespaces, node, { folder, port: api.port, values })
  await proxy.inForce
  const result = {
    ...load,
    mode: values.mode,
    firstSyncMs: Date.now() - startedMs,
    rssMiBFirst: rssMiB(proxy.child.pid),
  }
  await sleep(5000)
  result.rssMiBSettled = rssMiB(proxy.child.pid)
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

/** Address -> when the kernel announced its element. */
function watchKernel(namespaces, node) {
  const arrivals = new Map()
  const monitor = namespaces.spawn(node, ['stdbuf', '-oL', 'nft', 'monitor', 'new', 'elements'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  createInterface({ input: monitor.stdout }).on('line', (line) => {
    for (const [address] of line.matchAll(/172\.\d+\.\d+\.\d+/g)) {
      if (!arrivals.has(address)) arrivals.set(address, Date.now())
    }
  })
  return arrivals
}

function startProxy(namespaces, node, { folder, port, values }) {
  const kubeconfig = join(folder, 'kubeconfig')
  const named = (name, kind, object) => [{ name, [kind]: object }]
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      'current-context': 'perf',
      contexts: named('perf', 'context', { cluster: 'perf', user: 'perf' }),
      clusters: named('perf', 'cluster', {
        server: `https://127.0.0.1:${port}`,
        'insecure-skip-tls-verify': true,
      }),
      users: named('perf', 'user', {}),
    }),
  )
  const command = [process.execPath, MAIN, 'run', '--kubeconfig', kubeconfig]
  const flags = ['--hostname-override', 'node-a', '--proxy-mode', values.mode]
  const child = namespaces.spawn(node, [...command, ...flags], {
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  let log = ''
  const inForce = new Promise((resolve, reject) => {
    setTimeout(reject, FIRST_SYNC_MS, new Error('no first sync')).unref()
    child.stderr.on('data', (chunk) => {
      log = (log + chunk).slice(-20_000)
      if (log.includes('in force')) resolve()
    })
    child.once('exit', () => reject(new Error(`the proxy ended: ${log}`)))
  })
  return { child, inForce }
}

async function startApi(namespaces, node, folder) {
  const script = compileFixture('api-server-process', join(folder, 'api'))
  const child = namespaces.spawn(node, [process.execPath, '--max-old-space-size=2048', script], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const tls = certificate(folder)
  let nextId = 1
  const call = async (what) => {
    const id = nextId++
    child.send({ ...what, id })
    for (;;) {
      const [answer] = await once(child, 'message')
      if (answer.id !== id) continue
      if (answer.error !== undefined) throw new Error(answer.error)
      return answer.state
    }
  }
  const { port } = await call({ do: 'start', options: { tls } })
  return { call, port }
}

function certificate(folder) {
  const file = (name) => join(folder, name)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const output = ['-keyout', file('key'), '-out', file('cert')]
  const args = ['req', '-x509', ...key, ...output, '-days', '1', '-subj', '/CN=perf']
  execFileSync('openssl', args, { stdio: 'pipe' })
  const cert = readFileSync(file('cert'), 'utf8')
  return { key: readFileSync(file('key'), 'utf8'), cert, ca: cert }
}

const rssMiB = (pid) => statusMiB(pid, 'VmRSS')
const peakMiB = (pid) => statusMiB(pid, 'VmHWM')

/** The process that `ip netns exec` became. */
function statusMiB(pid, field) {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1] ?? 0) / 102.4) / 10
}
