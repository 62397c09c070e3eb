/** Configuration files and the built program. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const KUBEADM = fileURLToPath(new URL('../fixtures/kubeadm-kube-proxy.yaml', import.meta.url))
const run = (...args: string[]) =>
  spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout: 20_000 })

const folder = mkdtempSync(join(tmpdir(), 'kube-sluice-test-'))
t.teardown(() => {
  rmSync(folder, { recursive: true })
})

t.test('check --config checks a file by itself', async (t) => {
  const { status, stdout } = run('check', '--config', KUBEADM)
  t.equal(status, 0)
  t.match(stdout, /kubeadm-kube-proxy.yaml: valid\n$/)
})

t.test('a bad file is exit status 2, one line a problem', async (t) => {
  const file = join(folder, 'bad.yaml')
  writeFileSync(
    file,
    'apiVersion: kube-sluice.io/v1alpha1\nkind: KubeSluiceConfiguration\nlogLevl: info\nudpTimeout: 0s\n',
  )
  for (const command of ['run', 'check']) {
    const { status, stderr } = run(command, '--config', file)
    t.equal(status, 2, command)
    t.strictSame(stderr.trim().split('\n'), [
      `kube-sluice: ${file}:3: KubeSluiceConfiguration logLevl is not a known field; did you mean logLevel?`,
      `kube-sluice: ${file}:4: KubeSluiceConfiguration udpTimeout "0s" is 0s, and must be from 1s to 596h`,
    ])
  }
})

t.test('--write-config-to writes what is in force, which is a valid file', async (t) => {
  const file = join(folder, 'written.yaml')
  const { status, stdout } = run(
    ...['run', '--config', KUBEADM, '--manifests', '/m', '--write-config-to', file],
  )
  t.equal(status, 0)
  t.equal(stdout, `wrote ${file}\n`)
  t.match(readFileSync(file, 'utf8'), /kind: KubeProxyConfiguration[^]*\n---\n[^]*manifests: \/m\n/)
  t.equal(run('check', '--config', file).status, 0)
})
