/**
 * Idle connections through the userspace relay: how many are held, and what each costs of the memory of the
 * process. The kernel's own buffers are not in it. Each takes two descriptors of the proxy: 50,000 need a limit of
 * 101,000 open files, hard (`ulimit -Hn`), or CAP_SYS_RESOURCE; with --uml they are held on a kernel that allows it.
 *
 *   client 10.0.1.2 -- 10.0.1.1 node (the proxy) -- 10.244.1.2 pod
 */
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { service, slice, listOf } from '../peers.mjs'
import { runInUml } from '../in-uml.mjs'
import { inPlace, link, MANY_CONNECTIONS, ROOT } from '../place.mjs'
import { table } from '../statistics.mjs'

const VIP = '10.96.1.1'
const PEER = join(import.meta.dirname, '../load/idle-peer.mjs')
const OPEN_TIMEOUT_MS = 200_000
const SETTLE_MS = 3000
const IGNORED = { stdio: 'ignore' }

/** @param {readonly string[]} args @returns {Promise<number>} exit status */
export function run(args) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      connections: { type: 'string', default: '50000' },
      relays: { type: 'string', default: 'splice,node' },
      uml: { type: 'boolean', default: false },
    },
  })
  if (values.uml) {
    const { connections, relays } = values
    return runInUml(['idle', `--connections=${connections}`, `--relays=${relays}`])
  }
  return inPlace(async (place) => {
    const names = await setUp(place)
    const rows = []
    for (const relay of values.relays.split(',')) {
      rows.push(await measure(place, names, relay, Number(values.connections)))
    }
    const head = ['relay', 'asked for', 'open', 'RSS before MiB', 'after MiB', 'bytes each']
    console.log(`\n${table([head, ...rows])}\n`)
  })
}

/** @returns {Promise<{client: string, node: string, pod: string}>} names of the namespaces */
async function setUp({ namespaces, folder }) {
  const names = {}
  for (const name of ['client', 'node', 'pod']) {
    names[name] = await namespaces.add(name)
    await namespaces.sysctl(names[name], { ...MANY_CONNECTIONS, 'net.ipv4.ip_forward': '1' })
  }
  const { client, node, pod } = names
  await link(namespaces, [client, 'eth0', '10.0.1.2/24'], [node, 'client', '10.0.1.1/24'])
  await link(namespaces, [pod, 'eth0', '10.244.1.2/24'], [node, 'pod', '10.244.1.1/24'])
  await namespaces.configure(client, ['route add default via 10.0.1.1'])
  await namespaces.configure(pod, ['route add default via 10.244.1.1'])
  const items = [service('idle', VIP, { http: 80 }), slice('idle', 'http', ['10.244.1.2'], 8080)]
  mkdirSync(join(folder, 'manifests'))
  writeFileSync(join(folder, 'manifests/all.json'), listOf(items))
  namespaces.spawn(pod, [process.execPath, PEER, 'serve', '8080'], IGNORED)
  return names
}

async function measure({ namespaces, folder }, { client, node }, relay, connections) {
  const daemon = namespaces.spawn(
    node,
    [
      ...[process.execPath, join(ROOT, 'dist/cli/main.js'), 'run', '--proxy-mode', 'userspace'],
      ...['--manifests', join(folder, 'manifests'), '--hostname-override', 'perf'],
      ...['--userspace-capture', 'anyip', '--userspace-relay', relay, '--log-level=error'],
      ...['--healthz-bind-address=', '--metrics-bind-address='],
    ],
    IGNORED,
  )
  const peer = (count) => [process.execPath, PEER, 'hold', VIP, '80', String(count)]
  const [status] = await once(
    namespaces.spawn(client, [process.execPath, PEER, 'await', VIP, '80'], IGNORED),
    'exit',
  )
  if (status !== 0) throw new Error(`${relay}: nothing is served at ${VIP}`)
  // So that what is compiled and allocated once is there before.
  const few = namespaces.spawn(client, peer(500), { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(few.stdout, 'data', { signal: AbortSignal.timeout(OPEN_TIMEOUT_MS) })
  few.kill()
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const before = rssBytes(daemon.pid)
  const many = namespaces.spawn(client, peer(connections), { stdio: ['ignore', 'pipe', 'inherit'] })
  const signal = AbortSignal.timeout(OPEN_TIMEOUT_MS)
  const open = Number(String((await once(many.stdout, 'data', { signal }))[0]))
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const after = rssBytes(daemon.pid)
  for (const child of [many, daemon]) {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  const mib = (bytes) => (bytes / 2 ** 20).toFixed(0)
  const each = ((after - before) / open).toFixed(0)
  return [relay, String(connections), String(open), mib(before), mib(after), each]
}

function rssBytes(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
}
