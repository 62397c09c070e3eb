import t from 'tap'

import { isEmptyPlan, restoreText } from '../../../src/datapath/iptables/restore-text.js'
import {
  fullPlan,
  LARGE_CLUSTER_ENDPOINTS,
  partialPlan,
  rulesetOf,
} from '../../../src/datapath/iptables/ruleset.js'
import type { ServicePortState } from '../../../src/model/snapshot.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'
import { RULESET_OPTIONS } from '../../fixtures/ruleset-options.js'

const web = servicePort({ name: 'web', clusterIp: '10.96.0.1' })
const api = servicePort({ name: 'api', clusterIp: '10.96.0.2', nodePort: 30_001 })
const [one, two, three] = [1, 2, 3].map((last) => endpoint(`10.244.0.${last}`, 80))
const state = (port: typeof web, ...endpoints: (typeof one)[]): ServicePortState =>
  portState(
    port,
    endpoints.map((each) => each!),
  )

t.test('everything, in one transaction of two tables', async (t) => {
  const text = restoreText(fullPlan(rulesetOf(snapshotOf([state(web, one)]), RULESET_OPTIONS)))
  const lines = text.split('\n')
  t.equal(lines[0], '*filter')
  t.equal(lines.filter((line) => line === 'COMMIT').length, 2)
  for (const line of lines.filter((each) => each.startsWith('-A'))) {
    const [, chain = ''] = line.split(' ')
    t.ok(lines.includes(`:${chain} - [0:0]`), `${chain} is declared`)
  }
  t.match(text, /-A KUBE-POSTROUTING -m mark ! --mark 0x00004000\/0x00004000 -j RETURN\n/)
  const services = lines.filter((line) => line.startsWith('-A KUBE-SERVICES'))
  t.match(
    services.at(-1),
    /NOTE: this must be the last rule.*LOCAL ! -d 127\.0\.0\.0\/8 -j KUBE-NODEPORTS/,
  )
})

t.test('a change of endpoints writes the chains that differ and nothing else', async (t) => {
  const api1 = state(api, one)
  const before = rulesetOf(snapshotOf([state(web, one, two), api1]), RULESET_OPTIONS)
  const after = rulesetOf(snapshotOf([state(web, one, three), api1], 2), RULESET_OPTIONS, before)
  const plan = partialPlan(before, after)
  t.equal(plan.filter.chains.length, 0)
  const names = plan.nat.chains.map(({ name }) => name)
  t.match(names, [/^KUBE-SVC-/, /^KUBE-SEP-/])
  t.match(plan.nat.stale, [/^KUBE-SEP-/])
  const text = restoreText(plan)
  t.ok(text.indexOf(`:${plan.nat.stale[0]!} `) < text.indexOf('-A '), 'emptied before it goes')
  t.match(text, new RegExp(`-X ${plan.nat.stale[0]!}\nCOMMIT\n$`))
})

t.test('nothing to do is no text at all', async (t) => {
  const states = [state(web, one), state(api, two)]
  const before = rulesetOf(snapshotOf(states), RULESET_OPTIONS)
  const after = rulesetOf(snapshotOf(states, 2), { ...RULESET_OPTIONS }, before)
  const plan = partialPlan(before, after)
  t.ok(isEmptyPlan(plan))
  t.equal(restoreText(plan), '')
})

t.test('a Service that goes takes its chains with it, and the rules that led there', async (t) => {
  const before = rulesetOf(snapshotOf([state(web, one), state(api, two)]), RULESET_OPTIONS)
  const after = rulesetOf(snapshotOf([state(web, one)], 2), RULESET_OPTIONS, before)
  const text = restoreText(partialPlan(before, after))
  t.match(text, /^-X KUBE-EXT-/m)
  t.match(text, /^-A KUBE-SERVICES .*demo\/web/m)
  t.notMatch(text, /demo\/api/)
})

t.test('the other family is left alone', async (t) => {
  const v6 = servicePort({ name: 'six', clusterIp: 'fd00::1', ipFamily: 'IPv6' })
  const rules = rulesetOf(snapshotOf([state(v6)]), RULESET_OPTIONS)
  t.equal(rules.parts.size, 0)
})

t.test('other options, and a cluster that grows large, make all rules anew', async (t) => {
  const before = rulesetOf(snapshotOf([state(web, one)]), RULESET_OPTIONS)
  const changed = rulesetOf(before.snapshot, { ...RULESET_OPTIONS, masqueradeAll: true }, before)
  t.not(changed.options, before.options)
  const many = Array.from({ length: LARGE_CLUSTER_ENDPOINTS + 1 }, (_, i) =>
    endpoint(`10.1.${i >> 8}.${i & 255}`, 80),
  )
  const large = rulesetOf(
    snapshotOf([state(web, one), state(api, ...many)], 2),
    RULESET_OPTIONS,
    before,
  )
  t.ok(large.options.isLarge)
  t.not(large.parts.get(web.id), before.parts.get(web.id))
})
