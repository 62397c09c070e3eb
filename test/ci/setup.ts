import t from 'tap'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import {
  compareBuild,
  installAdvice,
  installReason,
  isDebianLike,
  missingPackages,
  missingTools,
  nodeHeadersPrefix,
  nodeProblem,
  TASK_NAMES,
  taskNamed,
} from '../../.ci/decide.mjs'

t.test('the oldest Node that will do is 20.19', async (t) => {
  t.equal(nodeProblem('20.19.0'), undefined)
  t.equal(nodeProblem('22.0.0'), undefined)
  t.match(nodeProblem('20.18.3'), /^Node 20\.18\.3 is too old: kube-sluice needs 20\.19 or later/)
  t.match(nodeProblem('18.20.1'), /too old/)
})

t.test('every task has a row, and a word that is no task has none', async (t) => {
  t.same(TASK_NAMES, ['demo', 'test', 'check', 'perf'])
  t.equal(taskNamed('toString'), undefined)
  t.equal(taskNamed('check')?.packages.length, 0, 'checks need no system package')
  const perf = taskNamed('perf')?.packages.map(({ name }) => name) ?? []
  const test = taskNamed('test')?.packages.map(({ name }) => name) ?? []
  t.ok(perf.includes('iptables') && test.includes('iptables'), 'both need what is measured')
  t.ok(test.includes('clang') && !perf.includes('clang'), 'only test needs the fuzzer')
  t.ok(perf.includes('haproxy') && !test.includes('haproxy'), 'only perf needs the peers')
})

t.test('Debian and its relatives are known by os-release', async (t) => {
  const cases = [
    { name: 'Debian', text: 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n', expected: true },
    { name: 'Ubuntu', text: 'ID=ubuntu\nID_LIKE=debian\n', expected: true },
    { name: 'a relative of both', text: 'ID=mint\nID_LIKE="ubuntu debian"\n', expected: true },
    { name: 'Fedora', text: 'ID=fedora\nVERSION_ID=40\n', expected: false },
    { name: 'a file that is not there', text: '', expected: false },
    { name: 'another key with debian in it', text: 'VARIANT_ID=debian\n', expected: false },
  ]
  for (const { name, text, expected } of cases) t.equal(isDebianLike(text), expected, name)
})

const PACKAGES = [
  { name: 'ipset', probe: 'ipset' },
  { name: 'nftables', probe: 'nft' },
  { name: 'libc6-dev', probe: '/usr/include/stdio.h' },
]

t.test('a package counts as installed only when dpkg says so', async (t) => {
  const output = 'ipset 7.17-1 installed\nnftables  not-installed\nlibc6-dev 2.36 config-files\n'
  t.same(missingPackages(PACKAGES, output), ['nftables', 'libc6-dev'])
  t.same(missingPackages(PACKAGES, ''), ['ipset', 'nftables', 'libc6-dev'])
})

t.test('tools are looked for by command or by file', async (t) => {
  t.same(
    missingTools(PACKAGES, (probe) => probe !== 'nft'),
    ['nftables'],
  )
})

t.test('someone who may not install is told exactly what to type', async (t) => {
  const missing = ['nftables', 'ipset']
  t.equal(
    installAdvice({ missing, debianLike: true, isRoot: false }),
    'missing: type "sudo apt-get update && sudo apt-get install -y --no-install-recommends nftables ipset", then start again',
  )
  t.match(installAdvice({ missing, debianLike: true, isRoot: true }), /type "apt-get update && apt/)
  t.match(
    installAdvice({ missing, debianLike: false, isRoot: true }),
    /install what Debian calls nftables ipset/,
  )
})

t.test('npm ci runs only when node_modules is not what the lock file says', async (t) => {
  const tool = { version: '1.0.0', integrity: 'sha512-a' }
  const addon = { version: '2.0.0', integrity: 'sha512-b', optional: true, hasInstallScript: true }
  const lock = { packages: { '': {}, 'node_modules/tool': tool, 'node_modules/addon': addon } }
  const all = { packages: { 'node_modules/tool': tool, 'node_modules/addon': addon } }
  const withoutAddon = { packages: { 'node_modules/tool': tool } }
  const facts = { lock, installed: all, canBuildAddons: true, triedWithCompiler: false }
  const other = { packages: { 'node_modules/tool': { ...tool, version: '1.0.1' } } }
  const extra = { packages: { ...all.packages, 'node_modules/stray': tool } }
  const cases = [
    { name: 'all there', facts, expected: undefined },
    { name: 'a fresh clone', facts: { ...facts, installed: undefined }, expected: /missing/ },
    {
      name: 'another version',
      facts: { ...facts, installed: other },
      expected: /node_modules\/to/,
    },
    { name: 'a stray package', facts: { ...facts, installed: extra }, expected: /stray is not in/ },
    {
      name: 'an addon left out for want of a compiler',
      facts: { ...facts, installed: withoutAddon, canBuildAddons: false },
      expected: undefined,
    },
    {
      name: 'an addon left out, and a compiler has come since',
      facts: { ...facts, installed: withoutAddon },
      expected: /addon can be built now/,
    },
    {
      name: 'an addon that does not build even with a compiler',
      facts: { ...facts, installed: withoutAddon, triedWithCompiler: true },
      expected: undefined,
    },
  ]
  for (const { name, facts, expected } of cases) {
    const reason = installReason(facts)
    if (expected === undefined) t.equal(reason, undefined, name)
    else t.match(reason, expected, name)
  }
})

t.test('Node headers are taken from the first prefix that has them', async (t) => {
  const has = (path: string): boolean => path === '/usr/include/node/node_api.h'
  t.equal(nodeHeadersPrefix(['/opt/node', '/usr'], has), '/usr')
  t.equal(nodeHeadersPrefix(['/opt/node'], has), undefined)
})

t.test('outputs without a source are stale, and a lost output forces a full build', async (t) => {
  const sources = ['cli', 'cli/main.ts', 'lib/clock.ts']
  const outputs = ['cli', 'cli/main.js', 'cli/main.js.map', 'cli/old.js', 'cli/old.js.map']
  t.same(compareBuild(sources, [...outputs, 'lib/clock.js', '.tsbuildinfo']), {
    stale: ['cli/old.js', 'cli/old.js.map'],
    missing: false,
  })
  t.equal(compareBuild(sources, outputs).missing, true)
})

t.test('an unknown task ends with one line that names the tasks', async (t) => {
  const setup = fileURLToPath(new URL('../../.ci/setup.mjs', import.meta.url))
  const result = spawnSync(process.execPath, [setup, 'tests'], { encoding: 'utf8' })
  t.equal(result.status, 1)
  t.equal(result.stderr, 'set-up: unknown task "tests"; there are: demo, test, check, perf\n')
})
