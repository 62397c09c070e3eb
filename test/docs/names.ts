/** Flags, annotations, metrics, commands and errors that the documentation names are in the program. */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'

import { generatedFiles } from '../../src/cli/generated-files.js'
import { KUBE_PROXY_ONLY } from '../../src/config/kube-proxy-only.js'
import { COMMAND_NAMES, OPTIONS, type OptionRow } from '../../src/config/options.js'
import { ERROR_CODES } from '../../src/lib/errors.js'
import { BALANCER_PARAMETERS } from '../../src/policy/balancer/settings.js'
import { HEALTH_SETTINGS } from '../../src/policy/health/health-settings.js'
import { markdownFiles, ROOT } from '../fixtures/markdown.js'

const files = markdownFiles()
const rows = Object.values<OptionRow>(OPTIONS)
const FLAGS = new Set([
  'help',
  'version',
  ...rows.flatMap(({ flag, kubeProxy = [] }) => [flag, ...kubeProxy.map((one) => one.flag)]),
  ...KUBE_PROXY_ONLY.map(({ flag }) => flag),
])
/** Flags that stand in code alone though they are of somebody else. */
const OTHERS: ReadonlyMap<string, string> = new Map([
  ['cleanup', 'kube-proxy'],
  ['max-semi-space-size', 'node'],
  ['expose-gc', 'node'],
  ['semi-space-growth-factor', 'node'],
  ['compact-on-every-full-gc', 'node'],
  ['skip-phases', 'kubeadm'],
  ['disable-kube-proxy', 'k3s'],
])
const isPerf = (path: string): boolean => path.startsWith('perf/') || path === 'docs/profiling.md'
/** Of `npm run perf`, which its pages name alone: what its programs look for. */
const PERF = readdirSync(`${ROOT}perf`, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.mjs') && !name.includes('node_modules'))
  .map((name) => readFileSync(`${ROOT}perf/${name}`, 'utf8'))
  .join('\n')
/** Begins a command of ours; what comes before it (`docker run ...`) is somebody else's. */
const OURS = new RegExp(
  `(?:^|[\\s/(])(?:kube-sluice|dist/cli/main\\.js)(?::[\\w.]+)? ((?:${COMMAND_NAMES.join('|')})\\b.*)$`,
)

/** Flags in a piece of code that must be ours. */
function ourFlags(code: string): string[] {
  const mine = code.startsWith('--') ? code : OURS.exec(code)?.[1]
  if (mine === undefined) return []
  // What is behind a pipe or a comment is no part of the command.
  const command = mine.split(/ [|#] |;|&&|\$\(/)[0] ?? ''
  return [...command.matchAll(/(?:^|[\s[(|])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)(-?(?:\.\.\.|\*))?/g)]
    .filter(([, , more]) => more === undefined)
    .map(([, flag = '']) => flag)
}

t.test('every flag is in the table of options', async (t) => {
  let count = 0
  const unknown = files.flatMap(({ path, spans, codeLines }) => {
    const flags = [...spans, ...codeLines].flatMap((code) => ourFlags(code.trim()))
    count += flags.length
    return flags
      .filter((flag) => !FLAGS.has(flag) && !OTHERS.has(flag))
      .filter((flag) => !isPerf(path) || !new RegExp(`(?:--|['".]|\\b)${flag}\\b`).test(PERF))
      .map((flag) => `${path}: --${flag}`)
  })
  t.same(unknown, [])
  t.ok(count > 300, `${count} flags looked at`)
})

t.test('which flags are looked at', async (t) => {
  t.same(ourFlags('kubectl -n x run --image i -- kube-sluice status --watch | grep --color x'), [
    'watch',
  ])
  t.same(ourFlags('--proxy-mode auto|nfqueue'), ['proxy-mode'])
  t.same(ourFlags('iptables-restore --noflush'), [])
  t.same(ourFlags('--fallback-... --ejection-*'), [])
})

t.test('every command is one of the program', async (t) => {
  const named = files.flatMap(({ path, spans, codeLines }) =>
    [...spans, ...codeLines].flatMap((code) => {
      const word = /^\s*(?:node )?(?:kube-sluice|dist\/cli\/main\.js) ([a-z]\w*)/.exec(code)?.[1]
      return word === undefined ? [] : [[path, word] as const]
    }),
  )
  t.same(
    named.filter(([, word]) => !(COMMAND_NAMES as readonly string[]).includes(word)),
    [],
  )
  t.ok(named.length > 20)
})

t.test('every npm script is in package.json', async (t) => {
  const { scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')) as {
    scripts: Readonly<Record<string, string>>
  }
  const named = files.flatMap(({ path, text }) =>
    [...text.matchAll(/npm run ([\w:]+)/g)].map(([, name = '']) => [path, name] as const),
  )
  t.same(
    named.filter(([, name]) => scripts[name] === undefined),
    [],
  )
})

t.test('every annotation is one that is read', async (t) => {
  const KNOWN = new Set([
    'blancer', // the example of a slip
    'v1alpha1', // the API group of our configuration file
    'balancer',
    'health-check',
    'stay-in-userspace',
    'first-byte-timeout',
    'weights',
    ...[...BALANCER_PARAMETERS.keys()].map((name) => `balancer-${name}`),
    ...[...HEALTH_SETTINGS.keys()].map((name) => `health-check-${name}`),
  ])
  const named = files.flatMap(({ path, text }) =>
    [...text.matchAll(/kube-sluice\.io\/([a-z0-9]+(?:-[a-z0-9]+)*)(-\.\.\.|-<|-SETTING)?/g)]
      .filter(([, , more]) => more === undefined)
      .map(([, name = '']) => [path, name] as const),
  )
  t.same(
    named.filter(([, name]) => !KNOWN.has(name)),
    [],
  )
  t.ok(named.length > 12, `${named.length} annotations looked at`)
})

t.test('every metric is exported, every error in the catalogue', async (t) => {
  const page = generatedFiles()['docs/metrics.md'] ?? ''
  const metrics = [...page.matchAll(/^\| `(\w+)` /gm)].map(([, name = '']) => name)
  const isMetric = (name: string): boolean =>
    metrics.includes(name.replace(/_(?:bucket|sum|count)$/, '')) ||
    // `kube_sluice_mode_*`
    (name.endsWith('_') && metrics.some((metric) => metric.startsWith(name)))
  const unknown = files.flatMap(({ path, text }) => [
    ...[...text.matchAll(/\b(?:kube_sluice|kubeproxy)_[a-z_]+/g)]
      .filter(([name]) => !isMetric(name))
      .map(([name]) => `${path}: ${name}`),
    ...[...text.matchAll(/\bERR_[A-Z_]+\b/g)]
      .filter(([code]) => !(ERROR_CODES as readonly string[]).includes(code))
      .map(([code]) => `${path}: ${code}`),
  ])
  t.same(unknown, [])
  t.ok(metrics.length > 50, `${metrics.length} metrics`)
})
