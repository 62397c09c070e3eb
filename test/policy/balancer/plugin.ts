import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { AffinityTable } from '../../../src/policy/affinity.js'
import type { Balancer } from '../../../src/policy/balancer/balancer.js'
import { PluginGuard, pluginOf } from '../../../src/policy/balancer/plugin.js'
import { BALANCER_DEFAULTS } from '../../../src/policy/balancer/settings.js'
import { EndpointPicker } from '../../../src/policy/endpoint-picker.js'
import { loadBalancerPlugin } from '../../../src/policy/load-balancer-plugin.js'
import { context, countPicks, pool } from '../../fixtures/balancing.js'
import { portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'

const EXAMPLE = fileURLToPath(
  new URL('../../../deploy/examples/balancer-first.mjs', import.meta.url),
)
const set = pool(3)

function guardOf(own: object, nowMs: () => number = () => 0) {
  const warnings: string[] = []
  const guard = new PluginGuard({
    plugin: { name: 'mine', createBalancer: () => own as Balancer },
    limitMs: 2,
    nowMs,
    onWarning: (message) => warnings.push(message),
  })
  const balancer = guard.create()
  balancer.setEndpoints(set)
  return { guard, balancer, warnings }
}

t.test('a module that is no balancer is refused, with the reason', async (t) => {
  const whole = { setEndpoints: () => undefined, pick: () => undefined }
  const cases: readonly [object, RegExp][] = [
    [{}, /export const name/],
    [{ name: 'x' }, /createBalancer is missing/],
    [{ name: 'x', createBalancer: () => 1 }, /must return an object, returned 1/],
    [{ name: 'x', createBalancer: () => ({ pick: whole.pick }) }, /no method setEndpoints/],
    [{ name: 'x', createBalancer: () => ({ ...whole, onClose: 1 }) }, /onClose.*not a function/],
    [
      {
        name: 'x',
        createBalancer: () => {
          throw new Error('no')
        },
      },
      /has thrown: no/,
    ],
  ]
  for (const [exports, reason] of cases) {
    t.throws(() => pluginOf({ ...exports }, 'f.mjs'), { code: 'ERR_PLUGIN', message: reason })
  }
  t.equal(pluginOf({ name: 'x', createBalancer: () => whole }, 'f.mjs').name, 'x')
})

t.test('a file that is not there, or no module, is refused', async (t) => {
  await t.rejects(loadBalancerPlugin('/nowhere/x.mjs'), { code: 'ERR_PLUGIN' })
})

t.test('what throws or answers nonsense falls back to round robin for that pick', async (t) => {
  const answers = [
    () => {
      throw new Error('oops')
    },
    () => undefined,
    () => ({ id: 'stranger' }),
    () => Promise.resolve(set[0]),
    () => set[0],
  ]
  let turn = 0
  const { guard, balancer, warnings } = guardOf({
    setEndpoints: () => undefined,
    pick: () => answers[turn++ % answers.length]!(),
    onConnect: () => {
      throw new Error('oops')
    },
  })
  t.equal(countPicks(balancer, { picks: 100 }).size, 3)
  t.equal(guard.failures, 80)
  balancer.onConnect?.(set[0]!)
  t.equal(guard.failures, 81)
  t.equal(warnings.length, 1, 'only the first one is told')
  t.match(warnings[0], /plug-in "mine": pick has thrown: oops/)
  t.equal(balancer.name, 'plugin')
})

t.test('a slow one is passed over for that pick, and switched off when it goes on', async (t) => {
  let nowMs = 0
  let tookMs = 1
  const { guard, balancer, warnings } = guardOf(
    {
      setEndpoints: () => undefined,
      pick: () => {
        nowMs += tookMs
        return set[0]
      },
    },
    () => nowMs,
  )
  t.equal(countPicks(balancer, { picks: 50 }).size, 1)
  tookMs = 5
  t.equal(countPicks(balancer, { picks: 9 }).size, 3)
  t.equal(guard.isOff, false)
  tookMs = 1
  countPicks(balancer, { picks: 1000 })
  tookMs = 5
  countPicks(balancer, { picks: 1 })
  t.equal(guard.isOff, false, 'a thousand quick picks have made up for one')
  countPicks(balancer, { picks: 1 })
  t.equal(guard.isOff, true)
  t.equal(guard.overruns, 11)
  t.equal(countPicks(balancer, { picks: 99 }).size, 3)
  t.equal(guard.overruns, 11)
  t.equal(warnings.length, 1)
  t.match(warnings[0], /took 5\.0 ms, 11 were above 2 ms; it is switched off/)
  t.equal(balancer.name, 'plugin (round-robin)')
})

t.test('the example in the documentation is the one that is tested', async (t) => {
  const page = readFileSync(new URL('../../../docs/writing-a-balancer.md', import.meta.url), 'utf8')
  const text = readFileSync(EXAMPLE, 'utf8')
  t.ok(page.includes(text.trim()))
  t.ok(text.split('\n').length <= 31, 'thirty lines')
})

t.test('the example keeps the contract and does what it says', async (t) => {
  const plugin = await loadBalancerPlugin(EXAMPLE)
  const warnings: string[] = []
  const guard = new PluginGuard({
    plugin,
    limitMs: 1000,
    nowMs: () => 0,
    onWarning: (message) => warnings.push(message),
  })
  const balancer = guard.create()
  balancer.setEndpoints(set)
  const counts = countPicks(balancer, { picks: 250, staysOpen: true })
  t.strictSame([...counts.values()], [100, 100, 50])
  for (let i = 0; i < 30; i++) balancer.onClose?.(set[0]!)
  t.equal(balancer.pick(context(), []), set[0])
  const subset = fc.subarray([...set])
  fc.assert(
    fc.property(subset, subset, (members, tried) => {
      balancer.setEndpoints(members)
      const left = members.filter((one) => !tried.includes(one))
      const picked = balancer.pick(context(), tried)
      return left.length === 0 ? picked === undefined : left.includes(picked!)
    }),
  )
  t.strictSame(warnings, [])
  t.equal(guard.failures, 0)
})

t.test('another version takes over, without the past of the one before', async (t) => {
  const preferring = (index: number, fails: boolean) => ({
    name: 'mine',
    createBalancer: (): Balancer => ({
      name: 'mine',
      setEndpoints: () => undefined,
      pick: () => {
        if (fails) throw new Error(`version ${index}`)
        return set[index]
      },
    }),
  })
  let nowMs = 0
  const warnings: string[] = []
  const guard = new PluginGuard({
    plugin: preferring(0, true),
    limitMs: 2,
    nowMs: () => (nowMs += 1),
    onWarning: (message) => warnings.push(message),
  })
  const port = servicePort({ annotations: { balancer: 'plugin' } })
  const picker = new EndpointPicker({
    affinity: new AffinityTable({ maxClients: 1 }),
    clock: { nowMs: () => 0 },
    random: () => 0,
    balancers: { ...BALANCER_DEFAULTS, plugin: 'mine.mjs' },
    plugin: guard,
  })
  picker.update(snapshotOf([portState(port, set)]))
  const connection = {
    servicePortId: port.id,
    kind: 'cluster-ip',
    source: 'other',
    clientIp: '10.0.0.5',
    clientPort: 1,
  } as const
  const pick = () => {
    const picked = picker.pick(connection, [])
    return picked.verdict === 'endpoint' ? picked.endpoint.id : picked.verdict
  }
  t.equal(pick(), set[0]!.id)
  guard.isOff = true
  guard.replace(preferring(2, false))
  picker.renewPlugin()
  t.strictSame([pick(), pick()], [set[2]!.id, set[2]!.id])
  guard.replace(preferring(1, true))
  picker.renewPlugin()
  pick()
  pick()
  t.equal(warnings.length, 2, 'the first failure of each version is told')
  t.match(warnings, [/version 0/, /version 1/])
})
