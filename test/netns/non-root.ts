/**
 * The userspace overlay as its Pod runs it: a user that is not root, two capabilities that the file
 * with-net-caps of the image gives, and no others in its bounding set.
 */
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parse } from 'yaml'

import { metricsOf } from '../fixtures/metrics.js'
import { reach, serve } from '../fixtures/reach.js'
import { rootOnly, service, slice, startCluster } from '../fixtures/test-cluster.js'

const at = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const MAIN = at('dist/cli/main.js')
const OVERLAY = at('deploy/kustomize/overlays/userspace')
const START_MS = 60_000
/** linux/capability.h: CAP_NET_BIND_SERVICE is bit 10, CAP_NET_ADMIN bit 12. */
const BOTH = (1n << 10n) | (1n << 12n)

interface Container {
  readonly command: readonly string[]
  readonly securityContext: {
    readonly runAsUser: number
    readonly runAsGroup: number
    readonly allowPrivilegeEscalation: boolean
    readonly capabilities: { readonly add: readonly string[] }
  }
}

function containerOf(file: string): Container {
  const { spec } = parse(readFileSync(file, 'utf8')) as {
    spec: { template: { spec: { containers: [Container] } } }
  }
  return spec.template.spec.containers[0]
}

const container = containerOf(join(OVERLAY, 'daemonset.yaml'))
const { runAsUser, runAsGroup, capabilities } = container.securityContext
const names = capabilities.add.map((name) => `+${name.toLowerCase()}`).join()
const identity = [
  ...['setpriv', '--reuid', String(runAsUser), '--regid', String(runAsGroup), '--clear-groups'],
  // As a container runtime leaves it, after one more step: nothing is permitted, two are in bounds.
  ...['--inh-caps=-all', `--bounding-set=-all,${names}`, '--', 'env'],
  // The test runner's own loader writes to a folder of root's.
  ...['-u', 'NODE_OPTIONS'],
] as const

/** Why this cannot be tried here, or false. */
function obstacle(): string | false {
  if (rootOnly !== false) return rootOnly
  if (!existsSync('/usr/sbin/setcap')) return 'setcap is not there; install libcap2-bin'
  const { status } = spawnSync(identity[0], [...identity.slice(1), 'test', '-r', MAIN])
  return status === 0 ? false : `another user cannot read ${dirname(MAIN)}`
}

t.test('the overlay runs without root', { skip: obstacle(), timeout: 170_000 }, async (t) => {
  const cluster = await startCluster(1)
  t.teardown(() => cluster.close())
  await serve(cluster.pods[0]!, 'pod-1', cluster.podIp(1), 8080)
  const port = { port: 80, protocol: 'TCP', nodePort: 30_080 }
  cluster.write([
    service('web', { clusterIP: '10.96.0.10', type: 'NodePort', ports: [port] }),
    slice('web', [cluster.podIp(1)]),
  ])
  chmodSync(cluster.folder, 0o755)
  const tools = imageTools()
  t.teardown(() => {
    rmSync(tools, { recursive: true })
  })
  const configMap = parse(readFileSync(join(OVERLAY, 'config-map.yaml'), 'utf8')) as {
    data: Record<string, string>
  }
  writeFileSync(join(tools, 'config.yaml'), configMap.data['config.yaml'] ?? '')
  const [command, ...words] = container.command.map((word) =>
    word.startsWith('/opt/kube-sluice/') ? word.replace('/opt/kube-sluice/', at('')) : word,
  )
  const netns = cluster.namespaces.names.find((name) => name.endsWith('-node'))!
  const child = cluster.namespaces.spawn(
    netns,
    [
      ...([...identity, `PATH=${tools}:${process.env['PATH']}`] as [string, ...string[]]),
      ...[command!, ...words, 'run', '--hostname-override', 'node-a'],
      ...['--config', join(tools, 'config.yaml'), '--manifests', cluster.folder],
    ],
    { stdio: ['ignore', 'inherit', 'pipe'], env: { PATH: process.env['PATH'] } },
  )
  t.teardown(() => child.kill('SIGKILL'))
  const log = await inForce(child)

  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  t.match(status, new RegExp(`^Uid:(\\s+${runAsUser}){4}$`, 'm'), 'not root')
  for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb']) {
    const value = BigInt(`0x${new RegExp(`^${set}:\\s+(\\w+)$`, 'm').exec(status)?.[1] ?? '0'}`)
    t.equal(value, BOTH, `${set}: NET_ADMIN and NET_BIND_SERVICE, and nothing else`)
  }
  t.match(await reach(cluster.client, { host: '10.96.0.10' }), /^pod-1/, 'port 80')
  t.match(await reach(cluster.client, { host: '10.0.1.1', port: 30_080 }), /^pod-1/)
  t.equal((await metricsOf(cluster))('kube_sluice_sync_warnings'), 0)
  const routes = () => cluster.onNode('ip', 'route', 'show', 'table', 'local', 'proto', '75')
  t.match(await routes(), /^local 10\.96\.0\.10 dev lo/)
  child.kill('SIGTERM')
  await once(child, 'exit')
  t.equal(child.exitCode, 0)
  t.equal(await routes(), '', 'it takes its routes away')
  // The kubelet has set it already in a Pod.
  const lines = log()
    .split('\n')
    .filter((line) => !line.includes('oom_score_adj'))
  t.notMatch(lines.join('\n'), /EPERM|EACCES|not permitted/)
})

t.test(
  'with no new privileges it would have none: so the overlay allows them',
  {
    skip: obstacle(),
  },
  async (t) => {
    t.equal(container.securityContext.allowPrivilegeEscalation, true)
    const tools = imageTools()
    t.teardown(() => {
      rmSync(tools, { recursive: true })
    })
    const end = container.command.indexOf('--')
    const [, ...flags] = container.command.slice(0, end)
    const [command, ...rest] = [...identity, join(tools, 'with-net-caps'), ...flags, '--', 'true']
    t.equal(spawnSync(command, rest).status, 0)
    const refused = spawnSync(command, ['--no-new-privs', ...rest])
    t.not(refused.status, 0)
  },
)

/** A folder with what the Dockerfile puts into the image for this: setpriv, with capabilities. */
function imageTools(): string {
  const dockerfile = readFileSync(at('deploy/Dockerfile'), 'utf8')
  const [, source = '', target = ''] = /install -m 0755 (\S+) (\S+)/.exec(dockerfile) ?? []
  const [, caps = '', file = ''] = /setcap (\S+) (\S+)/.exec(dockerfile) ?? []
  if (target === '' || target !== file)
    throw new Error('the Dockerfile has no file with capabilities')
  const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-test-'))
  chmodSync(folder, 0o755)
  const copy = join(folder, 'with-net-caps')
  copyFileSync(source, copy)
  chmodSync(copy, 0o755)
  execFileSync('/usr/sbin/setcap', [caps, copy])
  return folder
}

/** Resolves with what it logs once it serves. */
async function inForce(child: ChildProcess): Promise<() => string> {
  let text = ''
  child.stderr!.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const signal = AbortSignal.timeout(START_MS)
  while (!text.includes('"msg":"in force"')) {
    if (child.exitCode !== null) throw new Error(`it ended: ${text}`)
    await once(child.stderr!, 'data', { signal })
  }
  return () => text
}
