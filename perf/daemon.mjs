/** Our own proxy on a node of a scenario, and what its log tells of syncs. */
import { once } from 'node:events'
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { listOf, measuredService, service, slice } from './peers.mjs'
import { ROOT } from './place.mjs'

const ENDPOINTS_PER_SERVICE = 100
const SYNC_TIMEOUT_MS = 120_000

/** The measured Service, and as many others as make up the number of endpoints. */
export function manifestsOf(vip, pods, endpoints) {
  const items = measuredService(vip, pods)
  for (let number = 0, left = endpoints - pods.length; left > 0; number++) {
    const ips = Array.from(
      { length: Math.min(left, ENDPOINTS_PER_SERVICE) },
      (_, i) => `10.${128 + (number >> 8)}.${number & 255}.${i + 1}`,
    )
    left -= ips.length
    const name = `other-${number}`
    items.push(service(name, `10.97.${number >> 8}.${number & 255}`, { http: 80 }))
    items.push(slice(name, 'http', ips, 8080))
  }
  return items
}

/** Starts the proxy; resolves after its first sync. Rejects when it ends or takes two minutes. */
export async function startDaemon({ namespaces, folder }, node, { items, mode, flags = [] }) {
  const manifests = join(folder, node)
  mkdirSync(manifests, { recursive: true })
  const write = (file, objects) => {
    writeFileSync(join(folder, file), listOf(objects))
    renameSync(join(folder, file), join(manifests, file))
  }
  write('all.json', items)
  const child = namespaces.spawn(
    node,
    [
      process.execPath,
      ...(process.env['PERF_NODE_OPTIONS'] ?? '').split(' ').filter(Boolean),
      join(ROOT, 'dist/cli/main.js'),
      ...['run', '--proxy-mode', mode, '--manifests', manifests],
      ...['--hostname-override', 'perf', '--cluster-cidr', '10.0.0.0/8'],
      ...['--healthz-bind-address=', '--metrics-bind-address=', '--log-level=debug', ...flags],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  const syncs = []
  let rest = ''
  let log = ''
  child.stderr.on('data', (chunk) => {
    log = (log + String(chunk)).slice(-2000)
    const lines = (rest + String(chunk)).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      if (line.includes('"in force"')) syncs.push(JSON.parse(line).tookMs)
    }
  })
  /** Milliseconds that the sync of this number (from 0) took, when it is over. */
  const sync = async (number) => {
    const signal = AbortSignal.timeout(SYNC_TIMEOUT_MS)
    while (syncs.length <= number) {
      if (child.exitCode !== null) throw new Error(`perf: the proxy on ${node} ended: ${log}`)
      await once(child.stderr, 'data', { signal })
    }
    return syncs[number]
  }
  await sync(0)
  return { child, write, sync }
}
