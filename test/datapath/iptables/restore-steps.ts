import t from 'tap'

import { steppedText } from '../../../src/datapath/iptables/restore-steps.js'
import { restoreText } from '../../../src/datapath/iptables/restore-text.js'
import { fullPlan, rulesetOf } from '../../../src/datapath/iptables/ruleset.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'
import { RULESET_OPTIONS } from '../../fixtures/ruleset-options.js'

/** So many Services of two endpoints, with a node port. */
function planOf(services: number) {
  const states = Array.from({ length: services }, (_, i) =>
    portState(
      servicePort({
        name: `s-${i}`,
        clusterIp: `10.96.${i >> 8}.${i & 255}`,
        nodePort: 30_000 + i,
      }),
      [1, 2].map((net) => endpoint(`10.24${net}.${i >> 8}.${i & 255}`, 80)),
    ),
  )
  const plan = fullPlan(rulesetOf(snapshotOf(states), RULESET_OPTIONS))
  return { ...plan, nat: { ...plan.nat, stale: ['KUBE-SEP-AAAAAAAAAAAAAAAA'] } }
}

const isRule = (line: string) => line.startsWith('-A ')

t.test('a small change is one transaction', async (t) => {
  const plan = planOf(3)
  t.equal(steppedText(plan), restoreText(plan))
})

t.test('a large one is several, with the same rules', async (t) => {
  const plan = planOf(800)
  const whole = restoreText(plan)
  const stepped = steppedText(plan)
  t.ok(stepped.split('COMMIT').length > 4)
  t.strictSame(
    stepped.split('\n').filter(isRule).sort(),
    whole.split('\n').filter(isRule).sort(),
    'none is lost, none is there twice',
  )
  t.match(stepped, /-X KUBE-SEP-AAAAAAAAAAAAAAAA\nCOMMIT\n$/)

  const done = new Set<string>()
  let isInOrder = true
  for (const transaction of stepped.split('COMMIT\n')) {
    if (transaction.startsWith('*filter')) continue
    const own = [...transaction.matchAll(/^:(\S+)/gm)].map(([, name = '']) => name)
    for (const name of own) done.add(name)
    const targets = [...transaction.matchAll(/ -j (KUBE-\S+)/g)].map(([, name = '']) => name)
    isInOrder &&= targets.every((name) => done.has(name))
  }
  t.ok(isInOrder, 'a chain is written before, or with, those that jump to it')
})

t.test('the rules of a chain stay in their order', async (t) => {
  const plan = planOf(800)
  const [chain] = plan.nat.chains.filter(({ name }) => name.startsWith('KUBE-SVC-'))
  const lines = steppedText(plan).split('\n')
  t.strictSame(
    lines.filter((line) => line.startsWith(`-A ${chain?.name ?? ''} `)),
    chain?.rules.map((rule) => `-A ${chain.name} ${rule}`),
  )
})
