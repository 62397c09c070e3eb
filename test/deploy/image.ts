/** What is in the container image, and that the program runs from there; without a container engine. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

import { ImageStages } from '../fixtures/image-stages.js'

const CHECKOUT = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '')

interface Lock {
  readonly packages: Readonly<
    Record<string, { readonly dev?: boolean; readonly optional?: boolean }>
  >
}

/** Not the test runner's own loaders. */
const env = { ...process.env, NODE_OPTIONS: '' }
const into = mkdtempSync(join(tmpdir(), 'kube-sluice-image-'))
t.teardown(() => {
  rmSync(into, { recursive: true, force: true })
})
const image = new ImageStages({ checkout: CHECKOUT, dockerfile: 'deploy/Dockerfile', into }).make()
const filesIn = (folder: string): string[] =>
  readdirSync(join(image, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath.slice(image.length + 1), entry.name))
    .sort()

function kubeSluice(...words: readonly string[]) {
  const main = join(image, 'dist', 'cli', 'main.js')
  return spawnSync(process.execPath, [main, ...words], { encoding: 'utf8', cwd: '/', env })
}

t.test('what must be there, and nothing beside it', async (t) => {
  t.strictSame(readdirSync(image).sort(), [
    'LICENSE',
    'deploy',
    'dist',
    'native',
    'node_modules',
    'package.json',
  ])
  t.strictSame(filesIn('native'), ['native/build/kube-sluice.node'])
  t.strictSame(
    filesIn('deploy'),
    readdirSync(join(CHECKOUT, 'deploy', 'examples')).map((name) => `deploy/examples/${name}`),
  )
  const dist = filesIn('dist')
  t.ok(dist.includes('dist/cli/main.js'))
  t.ok(dist.includes('dist/datapath/nfqueue/steering-worker.js'), 'what is started by its name')
  t.ok(dist.includes('dist/page/index.html'))
  t.strictSame(
    dist.filter((name) => !/\.(js|js\.map|html|css|svg)$/.test(name)),
    [],
    'no sources, and nothing of the compiler’s',
  )
})

t.test('the packages that it needs, and none for development', async (t) => {
  const lock = JSON.parse(readFileSync(join(CHECKOUT, 'package-lock.json'), 'utf8')) as Lock
  const inLock = Object.entries(lock.packages).filter(([path]) => path !== '')
  const needed = inLock.filter(([, { dev, optional }]) => dev !== true && optional !== true)
  t.ok(needed.length > 20)
  t.strictSame(
    needed.map(([path]) => path).filter((path) => !existsSync(join(image, path, 'package.json'))),
    [],
  )
  const development = inLock.filter(([, { dev }]) => dev === true)
  t.ok(development.length > 100)
  t.strictSame(
    development.map(([path]) => path).filter((path) => existsSync(join(image, path))),
    [],
  )
  const rawSocket = 'node_modules/raw-socket/build/Release/raw.node'
  t.equal(existsSync(join(image, rawSocket)), existsSync(join(CHECKOUT, rawSocket)))
})

t.test('the program runs from there', async (t) => {
  const { version } = JSON.parse(readFileSync(join(CHECKOUT, 'package.json'), 'utf8')) as {
    version: string
  }
  t.match(kubeSluice('--version'), { status: 0, stdout: `${version}\n` })
  const examples = join(image, 'deploy', 'examples')
  for (const mode of ['iptables', 'nftables', 'ipvs']) {
    const { status, stdout, stderr } = kubeSluice(
      ...['render', '--proxy-mode', mode, '--manifests', examples],
    )
    t.equal(status, 0, stderr)
    t.match(stdout, mode === 'nftables' ? /table ip kube-sluice/ : /KUBE-/)
  }
  const addon = join(image, 'native', 'build', 'kube-sluice.node')
  const load = spawnSync(process.execPath, ['-e', 'require(process.argv[1])', addon], { env })
  t.equal(load.status, 0, load.stderr.toString())
  const client = [
    '--input-type=module',
    '-e',
    'await import("./dist/source/kubernetes/cluster-access.js")',
  ]
  const imported = spawnSync(process.execPath, client, { cwd: image, env })
  t.equal(imported.status, 0, imported.stderr.toString())
})
