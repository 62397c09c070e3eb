import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ManifestSource } from '../../../src/source/manifests/manifest-source.js'
import type { ClusterChange } from '../../../src/source/cluster-source.js'

const service = (name: string, port: unknown = 80) => `apiVersion: v1
kind: Service
metadata:
  name: ${name}
spec:
  clusterIP: 10.96.0.1
  ports:
    - port: ${String(port)}
`

class Watched {
  readonly batches: (readonly ClusterChange[])[] = []
  readonly warnings: string[] = []

  /** Resolves when the condition holds, within 5 s. */
  async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = Date.now() + 5000
    while (!holds()) {
      if (Date.now() > deadline) throw new Error(`not within 5 s: ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  /** Names of what is in force, with the port. */
  get inForce(): string[] {
    const objects = new Map<string, string>()
    for (const change of this.batches.flat()) {
      if (change.type === 'delete') objects.delete(change.key)
      else if (change.current.kind === 'Service') {
        const port = change.current.object.spec?.ports?.[0]?.port
        objects.set(change.key, `${change.key}:${port ?? ''}`)
      }
    }
    return [...objects.values()].sort()
  }
}

async function watch(t: Test, path: string): Promise<Watched> {
  const watched = new Watched()
  const source = new ManifestSource({ path })
  t.teardown(() => source.close())
  await source.start({
    onChanges: (changes) => watched.batches.push(changes),
    onWarning: (message) => watched.warnings.push(message),
  })
  return watched
}

function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'kube-sluice-manifests-'))
  t.teardown(() => {
    rmSync(path, { recursive: true })
  })
  return path
}

t.test('a folder of documents, Lists and JSON; other kinds and files are left alone', async (t) => {
  const path = folder(t)
  writeFileSync(join(path, 'a.yaml'), `${service('one')}---\n${service('two')}---\nkind: Pod\n`)
  const item = { kind: 'Service', metadata: { name: 'three', namespace: 'n' }, spec: {} }
  writeFileSync(join(path, 'b.json'), JSON.stringify({ kind: 'List', items: [item] }))
  writeFileSync(join(path, 'c.txt'), service('four'))
  writeFileSync(join(path, '.d.yaml'), service('five'))
  const watched = await watch(t, path)
  t.strictSame(watched.inForce, ['default/one:80', 'default/two:80', 'n/three:'])
  t.strictSame(watched.warnings, [])
})

t.test('edits, new files, renames over and deletions take effect', async (t) => {
  const path = folder(t)
  const file = join(path, 'a.yaml')
  const watched = await watch(t, path)
  t.strictSame(watched.batches, [[]], 'an empty folder is a complete list')
  writeFileSync(file, service('one'))
  await watched.until('the new file', () => watched.inForce.join() === 'default/one:80')
  writeFileSync(join(path, 'new'), service('one', 81))
  renameSync(join(path, 'new'), file)
  await watched.until('the rename', () => watched.inForce.join() === 'default/one:81')
  rmSync(file)
  await watched.until('the deletion', () => watched.inForce.length === 0)
})

t.test('a broken document is reported with file, line and field; the rest works', async (t) => {
  const path = folder(t)
  const file = join(path, 'a.yaml')
  writeFileSync(file, `${service('one')}---\n${service('two')}`)
  const watched = await watch(t, path)
  writeFileSync(file, `${service('one', 'http')}---\n${service('two', 82)}`)
  await watched.until('the edit', () => watched.inForce.includes('default/two:82'))
  t.strictSame(watched.inForce, ['default/one:80', 'default/two:82'])
  t.equal(watched.warnings.length, 1)
  t.ok(
    watched.warnings[0]?.startsWith(
      `${file}:8: Service default/one: spec.ports[0].port: must be an integer from 1 to 65535, is "http"`,
    ),
    watched.warnings[0] ?? 'no warning',
  )
  writeFileSync(file, `${service('one')}---\nkind: {Service\n---\n${service('three')}`)
  await watched.until('the syntax error', () => watched.warnings.length > 1)
  t.match(watched.warnings[1], /a\.yaml:1\d: /)
  t.ok(watched.inForce.includes('default/two:82'), 'it may be what cannot be read')
  writeFileSync(file, service('one'))
  await watched.until('the repair', () => watched.inForce.join() === 'default/one:80')
})

t.test('a file that is being written does not lose its objects', async (t) => {
  const path = folder(t)
  const file = join(path, 'a.yaml')
  writeFileSync(file, service('one'))
  const watched = await watch(t, path)
  writeFileSync(file, '')
  await new Promise((resolve) => setTimeout(resolve, 100))
  writeFileSync(file, service('one', 81))
  await watched.until('the edit', () => watched.inForce.join() === 'default/one:81')
  t.notOk(watched.batches.flat().some(({ type }) => type === 'delete'))
  writeFileSync(file, '')
  await watched.until('it stays empty', () => watched.inForce.length === 0)
})

t.test('a mounted ConfigMap: the folder behind the link is swapped', async (t) => {
  const path = folder(t)
  for (const [version, port] of [
    ['v1', 80],
    ['v2', 81],
  ] as const) {
    mkdirSync(join(path, version))
    writeFileSync(join(path, version, 'a.yaml'), service('one', port))
  }
  symlinkSync('v1', join(path, '..data'))
  symlinkSync('..data/a.yaml', join(path, 'a.yaml'))
  const watched = await watch(t, path)
  t.strictSame(watched.inForce, ['default/one:80'])
  symlinkSync('v2', join(path, '..new'))
  renameSync(join(path, '..new'), join(path, '..data'))
  await watched.until('the swap', () => watched.inForce.join() === 'default/one:81')
})

t.test('an object in two files: the first by name counts, a warning names both', async (t) => {
  const path = folder(t)
  writeFileSync(join(path, 'a.yaml'), service('one', 80))
  writeFileSync(join(path, 'b.yaml'), service('one', 81))
  const watched = await watch(t, path)
  t.strictSame(watched.inForce, ['default/one:80'])
  t.match(watched.warnings[0], /b\.yaml: Service default\/one is in .*a\.yaml too/)
})

t.test('a path that is not there is one line that helps', async (t) => {
  const source = new ManifestSource({ path: '/nonexistent/manifests' })
  t.teardown(() => source.close())
  await t.rejects(source.start({ onChanges: () => undefined, onWarning: () => undefined }), {
    code: 'ERR_MANIFEST',
    message: /\/nonexistent\/manifests.*name a file or folder/,
  })
})
