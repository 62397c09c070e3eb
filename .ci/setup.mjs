// node .ci/setup.mjs [demo|test|check|perf]
//
// Brings a fresh clone to where the task can run: system packages, npm packages, the native addon,
// the compiled program. Each step runs only when it is needed and says so in one line on standard
// error. Needs nothing but Node; two set-ups at once take turns.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  installAdvice,
  installReason,
  isDebianLike,
  missingPackages,
  missingTools,
  nodeHeadersPrefix,
  nodeProblem,
  TASK_NAMES,
  taskNamed,
} from './decide.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const isRoot = process.getuid?.() === 0
const LOCK_WAIT_SECONDS = 900
const LOCKED = 'KUBE_SLUICE_SETUP_LOCKED'
/** Says that the last npm ci had what it takes to build an addon. */
const triedWithCompiler = join(root, 'node_modules', '.built-with-compiler')

const tooOld = nodeProblem(process.versions.node)
if (tooOld) fail(tooOld)
const name = process.argv[2] ?? 'test'
const task = taskNamed(name)
if (!task) fail(`unknown task "${name}"; there are: ${TASK_NAMES.join(', ')}`)

if (process.env[LOCKED] !== root) process.exit(runLocked())
installSystemPackages(task.packages)
installNpmPackages()
if (task.build) {
  step('native addon', process.execPath, ['native/build.mjs'])
  step('program', process.execPath, ['.ci/compile.mjs'])
}

/**
 * Runs this set-up again under flock(1): the kernel drops the lock when its holder ends, however
 * that happens, so no stale lock can be left behind. The file is outside of node_modules, which
 * npm ci removes.
 */
function runLocked() {
  const id = createHash('sha256').update(root).digest('hex').slice(0, 16)
  const lock = join(tmpdir(), `kube-sluice-setup-${process.getuid?.() ?? 0}-${id}.lock`)
  const result = spawnSync(
    'flock',
    [
      '-o',
      '-w',
      `${LOCK_WAIT_SECONDS}`,
      '-E',
      '75',
      lock,
      process.execPath,
      ...process.argv.slice(1),
    ],
    { stdio: 'inherit', env: { ...process.env, [LOCKED]: root } },
  )
  if (result.error) fail(`flock cannot be run (${result.error.message}); install util-linux`)
  if (result.status === 75) {
    fail(`another set-up of this folder has been running for ${LOCK_WAIT_SECONDS} s; end it first`)
  }
  return result.status ?? 1
}

function installSystemPackages(packages) {
  if (packages.length === 0) return
  const debianLike = isDebianLike(readText('/etc/os-release') ?? '')
  if (isRoot && debianLike) {
    const missing = missingPackages(packages, installedPackages(packages))
    if (missing.length === 0) return
    const installed =
      step('package lists', 'apt-get', ['update', '-q'], { optional: true }) &&
      step(
        `system packages ${missing.join(' ')}`,
        'apt-get',
        [
          'install',
          '-y',
          '-q',
          '--no-install-recommends',
          '-o',
          'DPkg::Lock::Timeout=120',
          ...missing,
        ],
        // Runlevel 1: no service that a package brings is started.
        { optional: true, env: { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' } },
      )
    if (installed) return
  }
  const missing = missingTools(packages, isThere)
  if (missing.length > 0) fail(installAdvice({ missing, debianLike, isRoot }))
}

function installedPackages(packages) {
  const names = packages.map((entry) => entry.name)
  const format = '${Package} ${Version} ${db:Status-Status}\n'
  // It exits 1 when it does not know one of the names; what it printed still counts.
  return spawnSync('dpkg-query', ['-W', '-f', format, ...names], { encoding: 'utf8' }).stdout ?? ''
}

function isThere(probe) {
  if (probe.startsWith('/')) return existsSync(probe)
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']
  return folders.some((folder) => folder !== '' && existsSync(join(folder, probe)))
}

function installNpmPackages() {
  const prefix = nodeHeadersPrefix([dirname(dirname(process.execPath)), '/usr'], existsSync)
  const canBuildAddons = prefix !== undefined && ['g++', 'make', 'python3'].every(isThere)
  const installed = readText(join(root, 'node_modules', '.package-lock.json'))
  const reason = installReason({
    lock: JSON.parse(readText(join(root, 'package-lock.json'))),
    installed: installed === undefined ? undefined : JSON.parse(installed),
    canBuildAddons,
    triedWithCompiler: existsSync(triedWithCompiler),
  })
  if (reason === undefined) return
  if (!canBuildAddons) {
    say('no compiler or no Node headers here: the optional package raw-socket is left out\n')
  }
  // node-gyp downloads headers unless it is told where they are; a folder that does not exist makes
  // the build of an optional package fail at once instead, and npm leaves that package out.
  const env = { npm_config_nodedir: prefix ?? join(root, 'no-node-headers') }
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const label = `npm packages (${reason})`
  if (!step(label, 'npm', args, { optional: true, env })) {
    step('npm packages, second try', 'npm', args, { env })
  }
  if (canBuildAddons) writeFileSync(triedWithCompiler, '')
}

/**
 * Runs a command quietly and prints its name and duration; its output only when it fails.
 * Returns whether it succeeded; ends the process when it did not and is not `optional`.
 */
function step(label, command, args, { optional = false, env = {} } = {}) {
  const startedAt = performance.now()
  say(label)
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const output = `${result.stdout ?? ''}${result.stderr ?? ''}`.trim()
  if (result.status === 0) {
    process.stderr.write(` (${seconds} s)\n`)
    return true
  }
  const cause = result.error?.message ?? `exit ${result.status ?? result.signal}`
  process.stderr.write(`: failed after ${seconds} s, ${cause}\n${output}\n`)
  if (!optional) fail(`${label} failed (${command} ${args.join(' ')}); its output is above`)
  return false
}

function readText(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}

function say(text) {
  process.stderr.write(`set-up: ${text}`)
}

function fail(message) {
  say(`${message}\n`)
  process.exit(1)
}
