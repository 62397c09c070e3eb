/** What the scenarios with the tests' API server share: it, the proxy, and who watches the kernel. */
import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { compileFixture } from './compile-fixture.mjs'
import { inPlace, ROOT } from './place.mjs'

const MAIN = join(ROOT, 'dist/cli/main.js')
const FIRST_SYNC_MS = 170_000

/**
 * Runs the work on a namespace that is a node: `{ namespaces, node, folder }`; see inPlace().
 * @returns {Promise<number>} exit status: what the work returns
 */
export function inNode(work) {
  return inPlace(async ({ namespaces, folder }) => {
    return work({ namespaces, node: await namespaces.add('node'), folder })
  })
}

/** Of the options that these scenarios have in common. */
export function loadOf(values) {
  return {
    services: Number(values.services),
    endpoints: Number(values.endpoints),
    perSlice: Number(values['per-slice']),
  }
}

/**
 * Address -> when the kernel announced its element. Begun after the first sync: that brings more than
 * `nft monitor` can take, which then says nothing any more.
 */
export function watchKernel({ namespaces, node }) {
  const arrivals = new Map()
  const monitor = namespaces.spawn(node, ['stdbuf', '-oL', 'nft', 'monitor', 'new', 'elements'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  createInterface({ input: monitor.stdout }).on('line', (line) => {
    for (const [address] of line.matchAll(/172\.\d+\.\d+\.\d+/g)) {
      if (!arrivals.has(address)) arrivals.set(address, Date.now())
    }
  })
  return arrivals
}

export function startProxy({ namespaces, node, folder }, { port, mode }) {
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
  const flags = ['--hostname-override', 'node-a', '--proxy-mode', mode, '--profiling']
  const child = namespaces.spawn(node, [...command, ...flags], {
    stdio: ['ignore', 'inherit', 'pipe'],
  })
  let log = ''
  let failedSyncs = 0
  const inForce = new Promise((resolve, reject) => {
    setTimeout(reject, FIRST_SYNC_MS, new Error('no first sync')).unref()
    child.stderr.on('data', (chunk) => {
      log = (log + chunk).slice(-20_000)
      failedSyncs += String(chunk).split('sync failed').length - 1
      // Not the lines about failures: what was in force stays.
      if (log.includes('"in force"')) resolve()
    })
    child.once('exit', () => reject(new Error(`the proxy ended: ${log}`)))
  })
  return { child, inForce, failedSyncs: () => failedSyncs }
}

export async function startApi({ namespaces, node, folder }) {
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

/** Of a Node that does nothing yet. */
export function nodeStartMiB() {
  const script = 'process.stdout.write(String(process.memoryUsage.rss() / 2 ** 20))'
  return Number(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }))
}

export const rssMiB = (pid) => statusMiB(pid, 'VmRSS')
export const peakMiB = (pid) => statusMiB(pid, 'VmHWM')

/** MiB reachable on the heap and resident, after a full collection in the proxy. */
export function collectedMiB({ node }) {
  const request = 'GET /debug/memory?collect HTTP/1.0\\r\\n\\r\\n'
  const script = `exec 3<>/dev/tcp/127.0.0.1/10249 && printf '${request}' >&3 && cat <&3`
  const { stdout } = spawnSync('ip', ['netns', 'exec', node, 'bash', '-c', script], {
    encoding: 'utf8',
  })
  const { heapUsed, external, rss } = JSON.parse(stdout.slice(stdout.indexOf('\r\n\r\n')))
  const mib = (bytes) => Math.round(bytes / 104_857.6) / 10
  return { heap: mib(heapUsed + external), rss: mib(rss) }
}

/** The process that `ip netns exec` became. */
function statusMiB(pid, field) {
  const text = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(new RegExp(`${field}:\\s+(\\d+)`).exec(text)?.[1] ?? 0) / 102.4) / 10
}
