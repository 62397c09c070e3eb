/** docs/annotations.md against the code: every annotation, its default, a good and a bad value. */
import { readFileSync } from 'node:fs'
import t from 'tap'

import { SERVICE_ANNOTATIONS } from '../../src/cli/annotation-readers.js'
import { OPTIONS, type OptionRow } from '../../src/config/options.js'
import { stayProblems } from '../../src/datapath/auto/stay-annotation.js'
import { endpointWeights } from '../../src/model/endpoint-weights.js'
import type { ObjectProblem } from '../../src/model/snapshot.js'
import {
  BALANCER_DEFAULTS,
  BALANCER_PARAMETERS,
  readBalancerSettings,
} from '../../src/policy/balancer/settings.js'
import { firstByteProblems } from '../../src/policy/health/first-byte.js'
import { PROBE_TYPES } from '../../src/policy/health/health-check.js'
import { HEALTH_SETTINGS } from '../../src/policy/health/health-settings.js'
import { parseHealthCheck } from '../../src/policy/health/parse-health-check.js'
import { servicePort } from '../fixtures/endpoint.js'
import { DEFAULTS } from '../fixtures/health.js'
import { ROOT } from '../fixtures/markdown.js'

interface Row {
  readonly name: string
  /** As they are written: `all`, or names; undefined in a table without that column. */
  readonly checks: string | undefined
  readonly without: string
  readonly good: string
  readonly bad: string
}

const page = readFileSync(`${ROOT}docs/annotations.md`, 'utf8')
const rows: Row[] = [...page.matchAll(/^\| `([a-z-]+)` .*\|$/gm)].map(([line, name = '']) => {
  const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim())
  const [bad = '', good = '', without = ''] = cells.slice(0, -1).reverse()
  const checks = cells.length === 8 ? cells[2] : undefined
  return { name, checks, without, good: textOf(good), bad: textOf(bad) }
})

/** What stands in backquotes. */
function textOf(cell: string): string {
  return /^`(.*)`$/.exec(cell)?.[1] ?? cell
}

/** What the program finds wrong with the value. */
function problemsOf({ name, checks }: Row, value: string): readonly ObjectProblem[] {
  if (name === 'weights') {
    const problems: ObjectProblem[] = []
    endpointWeights({ 'kube-sluice.io/weights': value }, (field, message) => {
      problems.push({ object: '', field, message })
    })
    return problems
  }
  const type = checks === undefined || checks === '' || checks === 'all' ? 'http' : checks
  const annotations =
    name.startsWith('health-check-') || name === 'health-check'
      ? { 'health-check': type.split(', ')[0] ?? '', [name]: value }
      : { [name]: value }
  const port = servicePort({ annotations })
  const health = { ...DEFAULTS, execDirectory: '/etc/probes' }
  const command = name === 'health-check-command' ? 'passive is used' : undefined
  return [
    ...stayProblems(port),
    ...firstByteProblems(port),
    ...readBalancerSettings(port, BALANCER_DEFAULTS).problems,
    ...parseHealthCheck(port, health).problems,
  ].filter(({ message }) => command === undefined || !message.includes(command))
}

t.test('the page has every annotation once, and no other', async (t) => {
  const known = [
    ...SERVICE_ANNOTATIONS.names,
    ...[...BALANCER_PARAMETERS.keys()].map((name) => `balancer-${name}`),
    ...[...HEALTH_SETTINGS.keys()].map((name) => `health-check-${name}`),
    'weights',
  ]
  t.strictSame(rows.map(({ name }) => name).sort(), known.sort())
})

t.test('good values are taken, bad ones are a problem each', async (t) => {
  for (const row of rows) {
    t.strictSame(problemsOf(row, row.good), [], `${row.name}: ${row.good}`)
    t.equal(problemsOf(row, row.bad).length, 1, `${row.name}: ${row.bad}`)
  }
})

t.test('a setting of health checks is for the checks that the page says', async (t) => {
  for (const { name, checks } of rows) {
    const setting = HEALTH_SETTINGS.get(name.replace('health-check-', ''))
    if (setting === undefined) continue
    const written = checks === 'all' ? [...PROBE_TYPES] : checks?.split(', ')
    t.strictSame([...(written ?? [])].sort(), [...(setting.types ?? PROBE_TYPES)].sort(), name)
  }
})

t.test('where an option is the default, there is such an option', async (t) => {
  const flags = Object.values<OptionRow>(OPTIONS).map(({ flag }) => `--${flag}`)
  const named = rows.map(({ without }) => textOf(without)).filter((text) => text.startsWith('--'))
  t.strictSame(
    named.filter((flag) => !flags.includes(flag)),
    [],
  )
  t.ok(named.length >= 14, `${named.length} options`)
})
