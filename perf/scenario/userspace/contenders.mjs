// Who competes: how each is started in its lane, and at which address the client finds it.
import { spawnSync } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCommand } from '../../lib/run-command.mjs'
import { haproxyConfig, manifests, nftRules, nginxStreamConfig } from './config-files.mjs'
import { processesIn } from './testbed.mjs'

/** @typedef {import('./testbed.mjs').Lane} Lane */
/** @typedef {import('./testbed.mjs').Testbed} Testbed */

const TOOL_TIMEOUT_MS = 10_000
const PROGRAM = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const LOG_TAIL_CHARACTERS = 600

/**
 * @typedef {object} Start
 * @property {Testbed} testbed
 * @property {Lane} lane
 * @property {string} folder its own, for configuration and log
 */

/**
 * @typedef {object} Contender
 * @property {string} name
 * @property {string} about what it is, one line
 * @property {boolean} isDefault whether it takes part without being asked for
 * @property {(start: Start) => Promise<readonly [string, ...string[]] | undefined>} prepare configures its
 *   node; returns the program to run there, if there is one
 * @property {boolean} [isDirect] the client goes to the first pod, not to the VIP
 */

/**
 * @typedef {object} Running
 * @property {Contender} contender
 * @property {string} address that the client connects to
 * @property {() => number[]} pids of its processes
 * @property {() => string | undefined} failure why it is not running, if so
 */

/** @type {readonly Contender[]} */
const PEERS = [
  {
    name: 'direct',
    about: 'no proxy: the client connects to one pod, the node forwards',
    isDefault: true,
    isDirect: true,
    prepare: async () => undefined,
  },
  {
    name: 'kernel-dnat',
    about: 'one nftables rule: dnat to numgen inc mod 3 map',
    isDefault: true,
    prepare: async ({ lane, folder }) => {
      const file = write(folder, 'rules.nft', nftRules(lane))
      const command = /** @type {const} */ (['ip', 'netns', 'exec', lane.node, 'nft', '-f', file])
      await runCommand(command, { timeoutMs: TOOL_TIMEOUT_MS })
      return undefined
    },
  },
  {
    name: 'haproxy',
    about: `${version('haproxy', '-v', /version (\S+)/)}, mode tcp, nbthread 1, splice`,
    isDefault: true,
    prepare: async ({ testbed, lane, folder }) => {
      await addVip(testbed, lane)
      return ['haproxy', '-db', '-f', write(folder, 'haproxy.cfg', haproxyConfig(lane))]
    },
  },
  {
    name: 'nginx',
    about: `${version('nginx', '-v', /nginx\/(\S+)/)}, stream, worker_processes 1`,
    isDefault: true,
    prepare: async ({ testbed, lane, folder }) => {
      await addVip(testbed, lane)
      const file = write(folder, 'nginx.conf', nginxStreamConfig(lane, folder))
      return ['nginx', '-p', folder, '-e', 'stderr', '-c', file]
    },
  },
]

/**
 * All contenders. `otherProgram`: the dist/cli/main.js of another build, to compare with.
 *
 * @param {string | undefined} otherProgram
 * @returns {readonly Contender[]}
 */
export function allContenders(otherProgram) {
  return [
    ...PEERS,
    kubeSluice('sluice-anyip', 'anyip', PROGRAM),
    { ...kubeSluice('sluice-tproxy', 'tproxy', PROGRAM), isDefault: false },
    { ...kubeSluice('sluice-redirect', 'redirect', PROGRAM), isDefault: false },
    ...(otherProgram === undefined ? [] : [kubeSluice('sluice-other', 'anyip', otherProgram)]),
  ]
}

/**
 * Configures the contender's node and starts its program.
 *
 * @param {Contender} contender
 * @param {Start} start
 * @returns {Promise<Running>}
 */
export async function startContender(contender, start) {
  const { testbed, lane, folder } = start
  mkdirSync(folder)
  const command = await contender.prepare(start)
  const address = contender.isDirect ? lane.pods[0] : lane.vip
  if (command === undefined) {
    return { contender, address, pids: () => [], failure: () => undefined }
  }
  const log = join(folder, 'log')
  const child = testbed.spawn(lane.node, command, openSync(log, 'a'))
  return {
    contender,
    address,
    pids: () => processesIn(lane.node),
    failure: () =>
      child.exitCode === null && child.signalCode === null
        ? undefined
        : `it ended (${child.exitCode ?? child.signalCode}): ${readFileSync(log, 'utf8').trim().slice(-LOG_TAIL_CHARACTERS)}`,
  }
}

/**
 * @param {string} name
 * @param {string} capture
 * @param {string} program
 * @returns {Contender}
 */
function kubeSluice(name, capture, program) {
  return {
    name,
    about: `kube-sluice, userspace mode, ${capture} capture, ${program === PROGRAM ? 'this build' : program}`,
    isDefault: true,
    prepare: async ({ lane, folder }) => {
      const objects = join(folder, 'manifests')
      mkdirSync(objects)
      write(objects, 'perf.yaml', manifests(lane))
      const options = {
        manifests: objects,
        'proxy-mode': 'userspace',
        'userspace-capture': capture,
        'hostname-override': 'perf-node',
        'healthz-bind-address': '127.0.0.1:10256',
        'metrics-bind-address': '127.0.0.1:10249',
      }
      const flags = Object.entries(options).flatMap(([flag, value]) => [`--${flag}`, value])
      return [process.execPath, program, 'run', ...flags]
    },
  }
}

/**
 * Programs that do not capture a VIP themselves get it as an address of their node.
 *
 * @param {Testbed} testbed
 * @param {Lane} lane
 */
async function addVip(testbed, { node, vip }) {
  await testbed.configure(node, [`addr add ${vip}/32 dev lo`])
}

/** @type {(folder: string, name: string, text: string) => string} */
function write(folder, name, text) {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

/** @type {(program: string, flag: string, pattern: RegExp) => string} */
function version(program, flag, pattern) {
  const { stdout, stderr } = spawnSync(program, [flag], { encoding: 'utf8' })
  return `${program} ${pattern.exec(`${stdout}${stderr}`)?.[1] ?? '(not found)'}`
}
