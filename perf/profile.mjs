/**
 * `npm run perf:doctor|perf:flame|perf:bubbleprof|perf:heap|perf:record [-- --mode MODE --seconds N]`
 *
 * The real daemon under load, looked at by a tool of clinic (npm), or by perf(1) with Node's map of
 * compiled functions. docs/profiling.md says how to read what comes out.
 *
 *   client --wrk or iperf3--> node: `kube-sluice run` under the tool --> two pods
 *
 * Load `connections` is as many as there can be, `trickle` 100 a second, for a tool that keeps a stack
 * for each asynchronous operation. `churn` gives one endpoint of many another address five times a
 * second; it is what costs in the modes that only write rules. Reports are left in perf/results/.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { isRecorderHere, startRecorder } from './profile/record.mjs'
import { moveBytes, openConnections } from './load.mjs'
import { listOf, measuredService, service, slice } from './peers.mjs'
import { compileLoad, inPlace, output, ROOT } from './place.mjs'
import { clientNodeAndPods } from './pod-network.mjs'

const PRELOAD = ['--require', join(ROOT, 'perf/profile/flush-before-exit.cjs')]
/** The command of clinic, and words for node in front of the daemon's. */
const TOOLS = {
  doctor: { clinic: 'doctor', node: PRELOAD },
  flame: { clinic: 'flame', node: [] },
  bubbleprof: { clinic: 'bubbleprof', node: PRELOAD },
  heap: { clinic: 'heapprofiler', node: PRELOAD },
  record: {},
}
const MODES = ['userspace', 'nfqueue', 'iptables', 'ipvs', 'nftables']
const LOADS = ['connections', 'trickle', 'bulk', 'churn']
const TRICKLE_PER_SECOND = 100
const PODS = ['10.244.1.2', '10.244.2.2']
const VIP = '10.96.1.1'
const START_MS = 60_000
/** clinic makes its page after the daemon's end: a minute for a long bubbleprof. */
const REPORT_MS = 240_000
const CHURN_EVERY_MS = 200
const RESULTS = join(ROOT, 'perf/results')
const CLINIC = join(ROOT, 'perf/node_modules/.bin/clinic')

/** Without these clinic asks whether it may report its use, and looks for a newer version. */
const QUIET_CLINIC = { NO_INSIGHT: '1', NO_UPDATE_NOTIFIER: '1' }

const [toolName, ...words] = process.argv.slice(2)
process.exit(await profile(toolName, words))

async function profile(name, args) {
  const settings = settingsOf(name, args)
  if (typeof settings === 'string') {
    console.error(`perf: ${settings}`)
    return 2
  }
  const problem = settings.tool.clinic === undefined ? perfMissing() : installClinic()
  if (problem !== undefined) {
    console.error(`perf: ${problem}`)
    return 1
  }
  mkdirSync(RESULTS, { recursive: true })
  return inPlace(async (place) => {
    const { client, node } = await clientNodeAndPods(place, PODS)
    const manifests = writeManifests(place.folder, settings.endpoints)
    const run = await startDaemon(place, node, manifests, settings)
    console.error(`perf: ${settings.load} for ${settings.seconds} s, mode ${settings.mode}`)
    await putLoad({ place, client, manifests, settings })
    console.log(await run.report())
  })
}

/** What the words say, or the one line that says what is wrong with them. */
function settingsOf(name, args) {
  const tool = Object.hasOwn(TOOLS, name ?? '') ? TOOLS[name] : undefined
  if (tool === undefined) return `no tool "${name}"; there is: ${Object.keys(TOOLS).join(', ')}`
  let values
  try {
    values = parseArgs({
      args,
      options: {
        mode: { type: 'string', default: 'nfqueue' },
        seconds: { type: 'string', default: '20' },
        load: { type: 'string' },
        endpoints: { type: 'string', default: '1000' },
      },
    }).values
  } catch (error) {
    return `${error.message.split('.')[0]}; there is: --mode, --seconds, --load, --endpoints`
  }
  const { mode } = values
  if (!MODES.includes(mode)) return `--mode ${mode}: one of ${MODES.join(', ')}`
  const decides = mode === 'userspace' || mode === 'nfqueue'
  const most = name === 'bubbleprof' ? 'trickle' : 'connections'
  const load = values.load ?? (decides ? most : 'churn')
  if (!LOADS.includes(load)) return `--load ${load}: one of ${LOADS.join(', ')}`
  const [seconds, endpoints] = [Number(values.seconds), Number(values.endpoints)]
  // openConnections() and moveBytes() give up after a minute.
  if (!(seconds >= 1 && seconds <= 50)) return `--seconds ${values.seconds}: from 1 to 50`
  if (!(endpoints >= 2)) return `--endpoints ${values.endpoints}: 2 or more`
  return { name, tool, mode, load, seconds, endpoints }
}

/** clinic has hundreds of packages of its own, so only who profiles installs it. */
function installClinic() {
  if (existsSync(CLINIC)) return undefined
  console.error('perf: installing clinic into perf/node_modules (a minute)')
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error']
  const { status } = spawnSync('npm', args, { cwd: join(ROOT, 'perf'), stdio: 'inherit' })
  return status === 0 ? undefined : 'npm ci in perf/ failed; see above'
}

function perfMissing() {
  if (isRecorderHere()) return undefined
  return 'perf(1) is not here; Debian has it in the package linux-perf'
}

/** The Service under load and others of 100 endpoints each; `turn(n)` moves one endpoint of these. */
function writeManifests(folder, endpoints) {
  const manifests = join(folder, 'manifests')
  mkdirSync(manifests)
  const write = (name, items) => {
    // Renamed into place: the daemon watches, and must never read half a file.
    writeFileSync(join(folder, name), listOf(items))
    renameSync(join(folder, name), join(manifests, name))
  }
  const others = Math.ceil((endpoints - PODS.length) / 100)
  for (let number = 0; number < others; number++) {
    const subnet = `${number >> 8}.${number & 255}`
    const ips = Array.from({ length: 100 }, (_, i) => `10.128.${number & 255}.${i + 1}`)
    write(`other-${number}.json`, [
      service(`other-${number}`, `10.97.${subnet}`, { http: 80 }),
      slice(`other-${number}`, 'http', ips, 8080),
    ])
  }
  write('perf.json', measuredService(VIP, PODS))
  const turn = (count) => {
    const ips = Array.from({ length: 100 }, (_, i) => `10.128.0.${i + 1}`)
    ips[count % 100] = `10.129.0.${(count % 250) + 1}`
    write('other-0.json', [
      service('other-0', '10.97.0.0', { http: 80 }),
      slice('other-0', 'http', ips, 8080),
    ])
  }
  return { folder: manifests, turn }
}

/** Starts the daemon under the tool, waits for its first sync; `report()` ends it and says what came out. */
async function startDaemon({ namespaces, folder }, node, manifests, settings) {
  const { clinic } = settings.tool
  const label = `${settings.name}-${settings.mode}-${settings.load}-${stamp()}`
  const under =
    clinic === undefined
      ? [process.execPath, '--perf-basic-prof', '--interpreted-frames-native-stack']
      : [
          CLINIC,
          clinic,
          '--dest',
          RESULTS,
          '--name',
          label,
          '--',
          process.execPath,
          ...settings.tool.node,
        ]
  const child = namespaces.spawn(
    node,
    [
      ...[...under, join(ROOT, 'dist/cli/main.js'), 'run', '--proxy-mode', settings.mode],
      ...['--manifests', manifests.folder, '--hostname-override', 'perf'],
      ...['--cluster-cidr', '10.244.0.0/16', '--log-level=info'],
      ...['--healthz-bind-address=', '--metrics-bind-address='],
    ],
    {
      cwd: folder, // V8's profiler leaves its log where it was started
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...QUIET_CLINIC },
    },
  )
  const ended = new Promise((resolve) => child.once('close', resolve))
  let log = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => (log = (log + String(chunk)).slice(-20_000)))
  }
  const lastLine = () => log.trim().split('\n').slice(-3).join('\n')
  const deadline = Date.now() + START_MS
  while (!log.includes('"in force"')) {
    if (child.exitCode !== null || Date.now() > deadline) {
      throw new Error(`perf: the proxy did not come up: ${lastLine()}`)
    }
    await sleep(50)
  }
  const pid = daemonPid(child.pid)
  if (clinic === undefined)
    return startRecorder({ pid, file: join(RESULTS, `${label}.data`), ...settings })
  const report = async () => {
    process.kill(pid, 'SIGTERM')
    await Promise.race([ended, sleep(REPORT_MS, undefined, { ref: false })])
    const page = join(RESULTS, `${label}.clinic-${clinic}.html`)
    if (!existsSync(page)) throw new Error(`perf: no report: ${lastLine()}`)
    return `report: ${relative(process.cwd(), page)}`
  }
  return { report }
}

/** clinic's child, if it has one: the daemon itself. */
function daemonPid(pid) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  const all = children.split(' ').filter(Boolean).map(Number)
  return all.length === 0 ? pid : daemonPid(all[0])
}

async function putLoad({ place, client, manifests, settings }) {
  const { load, seconds } = settings
  if (load === 'connections') {
    const { requests, perSecond } = await openConnections(place, client, [VIP, 80], seconds)
    console.error(`perf: ${requests} connections, ${Math.round(perSecond)} a second`)
  } else if (load === 'trickle') {
    const generator = compileLoad(place.folder, 'new-connections')
    const count = String(TRICKLE_PER_SECOND * seconds)
    const words = [generator, VIP, '80', String(TRICKLE_PER_SECOND), count]
    const { completed } = JSON.parse(await output(place, client, words))
    console.error(`perf: ${completed} connections of ${count}`)
  } else if (load === 'bulk') {
    const { gigabitsPerSecond } = await moveBytes(place, client, [VIP, 5201], seconds)
    console.error(`perf: ${gigabitsPerSecond.toFixed(1)} Gbit/s`)
  } else {
    for (let count = 0; count < (seconds * 1000) / CHURN_EVERY_MS; count++) {
      manifests.turn(count)
      await sleep(CHURN_EVERY_MS)
    }
  }
}

function stamp() {
  return new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, '')
}
