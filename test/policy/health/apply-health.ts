import fc from 'fast-check'
import t from 'tap'
import { applyHealth } from '../../../src/policy/health/apply-health.js'
import { endpoint, portState, servicePort } from '../../fixtures/endpoint.js'

const port = servicePort()
const endpoints = ['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4'].map((ip, index) =>
  endpoint(ip, 80, { isLocal: index < 2 }),
)
const down =
  (...ips: string[]) =>
  ({ ip }: { ip: string }) => ({ isUp: !ips.includes(ip) })
const ipsOf = (list: readonly { ip: string }[]) => list.map(({ ip }) => ip.slice(-1)).join('')

t.test('nothing is down: the state is the same object', async (t) => {
  const state = portState(port, endpoints)
  const applied = applyHealth(state, () => undefined, 50)
  t.equal(applied.state, state)
  t.equal(applied.isPanicking, false)
})

t.test('what is down is left out of the sets, and stays in the list of endpoints', async (t) => {
  const { state, isPanicking } = applyHealth(portState(port, endpoints), down('10.1.0.4'), 50)
  t.equal(ipsOf(state.cluster), '123')
  t.equal(ipsOf(state.local), '12')
  t.equal(ipsOf(state.reachable), '123')
  t.equal(state.endpoints.length, 4)
  t.equal(isPanicking, false)
})

t.test('half of them down is no panic, more than half is', async (t) => {
  const half = applyHealth(portState(port, endpoints), down('10.1.0.1', '10.1.0.3'), 50)
  t.equal(ipsOf(half.state.cluster), '24')
  t.equal(half.isPanicking, false)
  const more = applyHealth(portState(port, endpoints), down('10.1.0.1', '10.1.0.3', '10.1.0.4'), 50)
  t.equal(ipsOf(more.state.cluster), '1234')
  t.equal(more.isPanicking, true)
})

t.test('each set is judged by itself', async (t) => {
  const { state, isPanicking } = applyHealth(
    portState(port, endpoints),
    down('10.1.0.1', '10.1.0.2'),
    50,
  )
  t.equal(ipsOf(state.cluster), '34')
  t.equal(ipsOf(state.local), '12', 'no local one is healthy: all local ones')
  t.equal(ipsOf(state.reachable), '1234')
  t.equal(isPanicking, true)
})

t.test('without a threshold the last healthy one serves alone, but none is never', async (t) => {
  const one = applyHealth(portState(port, endpoints), down('10.1.0.1', '10.1.0.2', '10.1.0.3'), 0)
  t.equal(ipsOf(one.state.cluster), '4')
  const none = applyHealth(portState(port, endpoints), () => ({ isUp: false }), 0)
  t.equal(ipsOf(none.state.cluster), '1234')
})

t.test(
  'conditions come first: what only serves on while it terminates is left alone',
  async (t) => {
    const terminating = endpoints.map((one) => ({ ...one, isReady: false, isTerminating: true }))
    const state = portState(port, terminating)
    t.equal(applyHealth(state, () => ({ isUp: false }), 50).state, state)
  },
)

t.test('never empty, never more than before, order kept, below the threshold all', async () => {
  const flags = fc.array(fc.record({ isUp: fc.boolean(), isLocal: fc.boolean() }), { minLength: 1 })
  fc.assert(
    fc.property(flags, fc.integer({ min: 0, max: 100 }), (list, percent) => {
      const all = list.map(({ isLocal }, i) => endpoint(`10.1.${i}.1`, 80, { isLocal }))
      const isUp = new Map(all.map(({ id }, i) => [id, list[i]!.isUp]))
      const before = portState(port, all)
      const { state } = applyHealth(before, ({ id }) => ({ isUp: isUp.get(id)! }), percent)
      return (['cluster', 'local'] as const).every((set) => {
        const healthy = before[set].filter(({ id }) => isUp.get(id))
        const isPanic = healthy.length === 0 || healthy.length * 100 < before[set].length * percent
        const expected = isPanic ? before[set] : healthy
        return JSON.stringify(state[set]) === JSON.stringify(expected)
      })
    }),
  )
})
