/** When everything is written, when only what changed, and what is put back: on a fake of the tools. */
import t from 'tap'

import { FamilyRules, type RuleGlance } from '../../../src/datapath/iptables/family-rules.js'
import { IptablesProxier } from '../../../src/datapath/iptables/iptables-proxier.js'
import { LARGE_CLUSTER_ENDPOINTS } from '../../../src/datapath/iptables/ruleset.js'
import { NO_RULE_METRICS } from '../../../src/observe/rule-metrics.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'
import { RULESET_OPTIONS } from '../../fixtures/ruleset-options.js'
import { FakeClock } from '../../fixtures/fake-clock.js'

const HOUR_MS = 3_600_000

/** Knows which rules of built-in chains and canaries are there; takes every restore. */
class FakeTools {
  readonly restores: string[] = []
  readonly jumps = new Set<string>()
  variant = 'legacy'
  /** Number of `-C`. */
  looks = 0
  /** What `-C` ends with when it cannot look. */
  lockStatus: number | undefined

  readonly run = async (tool: string, args: readonly string[], input = '') => {
    const result = (status: number, stdout = '') => ({ status, stdout, stderr: '' })
    if (args[0] === '--version') return result(0, `iptables v1.8.9 (${this.variant})\n`)
    this.looks += Number(args.includes('-C'))
    if (tool.endsWith('-restore')) {
      this.restores.push(input)
      for (const [, hook = '', rule = ''] of input.matchAll(/^-(?:I|A) (\S+) (?:1 )?(.*)$/gm)) {
        this.jumps.add(`${hook} ${rule.replaceAll('"', '')}`)
      }
      return result(0)
    }
    const at = args.indexOf('-C')
    if (at < 0) return result(0)
    if (this.lockStatus !== undefined) return result(this.lockStatus)
    return result(this.jumps.has(args.slice(at + 1).join(' ')) ? 0 : 1)
  }
}

function cluster(endpoints: number, generation = 1) {
  const all = Array.from({ length: endpoints }, (_, i) =>
    endpoint(`10.244.${i >> 8}.${i & 255}`, 80),
  )
  const port = servicePort({ name: 'web', clusterIp: '10.96.0.1' })
  return snapshotOf([portState(port, all)], generation)
}

function setUp(glance?: RuleGlance) {
  const clock = new FakeClock()
  const tools = new FakeTools()
  const warnings: string[] = []
  const warn = (message: string) => warnings.push(message)
  const proxier = new IptablesProxier({
    clock,
    families: ['IPv4'],
    rulesOf: () =>
      new FamilyRules({
        ...{ run: tools.run, clock, warn, tool: 'iptables', metrics: NO_RULE_METRICS, glance },
      }),
    optionsOf: () => RULESET_OPTIONS,
    deleteStaleFlows: async () => undefined,
    warn,
  })
  t.teardown(() => proxier.close())
  const take = () => tools.restores.splice(0).join('')
  return { clock, tools, warnings, proxier, take }
}

t.test('first everything, then what changed, and nothing for nothing', async (t) => {
  const { proxier, take } = setUp()
  await proxier.sync(cluster(2))
  t.match(take(), /:KUBE-PROXY-CANARY[^]*:KUBE-POSTROUTING[^]*-I PREROUTING 1 /)
  await proxier.sync(cluster(3, 2))
  const change = take()
  t.match(change, /^\*nat\n:KUBE-SVC-/)
  t.notMatch(change, /KUBE-POSTROUTING|KUBE-SERVICES|filter/)
  await proxier.sync(cluster(3, 3))
  t.equal(take(), '')
})

t.test('everything again after an hour, but not in a large cluster', async (t) => {
  for (const [size, isWhole] of [
    [2, true],
    [LARGE_CLUSTER_ENDPOINTS + 1, false],
  ] as const) {
    const { proxier, take, clock } = setUp()
    await proxier.sync(cluster(size))
    take()
    await clock.advance(HOUR_MS)
    await proxier.sync(cluster(size, 2))
    t.equal(take().includes(':KUBE-POSTROUTING'), isWhole, `${size} endpoints`)
  }
})

t.test('a large cluster has no comments on endpoints', async (t) => {
  const { proxier, take } = setUp()
  await proxier.sync(cluster(LARGE_CLUSTER_ENDPOINTS))
  t.match(take(), / -> 10\.244\.0\.1:80"/)
  await proxier.sync(cluster(LARGE_CLUSTER_ENDPOINTS + 1, 2))
  const text = take()
  t.match(text, /^-A KUBE-SEP-\S+ -s 10\.244\.0\.1 -j KUBE-MARK-MASQ$/m)
  t.notMatch(text, / -> 10\.244/)
})

t.test('a jump that somebody has removed is back without a change of a Service', async (t) => {
  const { proxier, take, clock, tools } = setUp()
  await proxier.sync(cluster(2))
  take()
  const [gone = ''] = [...tools.jumps].filter((jump) => jump.startsWith('PREROUTING'))
  tools.jumps.delete(gone)
  await clock.advance(45_000)
  t.equal(
    take(),
    '*nat\n-I PREROUTING 1 -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\nCOMMIT\n',
  )
})

t.test('a lock that somebody holds for too long is no flushed table', async (t) => {
  const { proxier, take, clock, tools, warnings } = setUp()
  await proxier.sync(cluster(2))
  take()
  tools.lockStatus = 4
  await clock.advance(45_000)
  t.equal(take(), '')
  t.match(warnings[0], /^rules could not be repaired, the next sync tries: iptables .*exit 4/)
  t.notMatch(warnings.join('\n'), /somebody has flushed/)
})

t.test('a canary that is gone brings everything back', async (t) => {
  const { proxier, take, clock, tools, warnings } = setUp()
  await proxier.sync(cluster(2))
  take()
  tools.jumps.clear()
  await clock.advance(1000)
  t.match(take(), /:KUBE-PROXY-CANARY[^]*:KUBE-POSTROUTING[^]*-I PREROUTING 1 /)
  t.match(warnings, [/somebody has flushed iptables rules/])
})

t.test('a glance at nf_tables tells of each flush, and no tool is run for it', async (t) => {
  const rules = { mangle: 1, nat: 1, filter: 1 }
  const { proxier, take, clock, tools, warnings } = setUp({
    countRules: (table, chain) => {
      t.equal(chain, 'KUBE-PROXY-CANARY')
      return rules[table]
    },
    legacySize: () => t.fail('legacy') as never,
  })
  tools.variant = 'nf_tables'
  await proxier.sync(cluster(2))
  take()
  await clock.advance(300)
  const { looks } = tools
  await clock.advance(20_000)
  t.equal(tools.looks, looks, 'nothing is looked for')
  for (let flush = 1; flush <= 5; flush++) {
    rules.nat = 0
    await clock.advance(250)
    t.match(take(), /:KUBE-PROXY-CANARY[^]*:KUBE-POSTROUTING/, `flush ${flush}`)
    t.equal(warnings.length, flush)
    rules.nat = 1
    await clock.advance(250)
    t.equal(take(), '')
  }
})

t.test('legacy tables are looked at when their size is another', async (t) => {
  let size = 1
  const { proxier, take, clock, tools, warnings } = setUp({
    countRules: () => t.fail('nf_tables') as never,
    legacySize: (table) => `${table} ${size}`,
  })
  await proxier.sync(cluster(2))
  take()
  await clock.advance(300)
  const { looks } = tools
  await clock.advance(20_000)
  t.equal(tools.looks, looks, 'nothing is looked for')
  size++
  await clock.advance(1000)
  t.equal(tools.looks, looks + 3, 'somebody else has added a rule: one look')
  await clock.advance(5000)
  t.equal(tools.looks, looks + 3)
  for (let flush = 1; flush <= 5; flush++) {
    tools.jumps.clear()
    size++
    await clock.advance(250)
    t.match(take(), /:KUBE-PROXY-CANARY[^]*:KUBE-POSTROUTING/, `flush ${flush}`)
    t.equal(warnings.length, flush)
  }
})
