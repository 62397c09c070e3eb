import t from 'tap'
import { AffinityTable } from '../../src/policy/affinity.js'
import { EndpointPicker } from '../../src/policy/endpoint-picker.js'
import { SlowStart } from '../../src/policy/slow-start.js'
import { BALANCER_DEFAULTS } from '../../src/policy/balancer/settings.js'
import { endpoint, portState, servicePort, snapshotOf } from '../fixtures/endpoint.js'
import { FakeClock } from '../fixtures/fake-clock.js'

const [a, b] = [endpoint('10.1.0.1'), endpoint('10.1.0.2')]

t.test('who is there first is warm; who comes warms in a straight line', async (t) => {
  const start = new SlowStart({ slowStartMs: 1000, slowStartFloor: 10 })
  start.setEndpoints([a], 0)
  t.equal(start.warmthOf(a), 1)
  start.setEndpoints([a, b], 5000)
  t.equal(start.warmthOf(b), 0.1)
  t.notOk(start.isDue(5010))
  t.ok(start.isDue(5500))
  t.equal(start.warmthOf(b), 0.55)
  t.equal(start.warmthOf(a), 1)
  t.ok(start.isDue(6000))
  t.equal(start.warmthOf(b), 1)
  t.notOk(start.isDue(99_999), 'nobody is warming')
})

t.test('who comes back begins anew', async (t) => {
  const start = new SlowStart({ slowStartMs: 1000, slowStartFloor: 20 })
  start.setEndpoints([a, b], 0)
  start.setEndpoints([a], 10)
  start.setEndpoints([a, b], 20)
  t.equal(start.warmthOf(b), 0.2)
})

t.test('off: nobody is noticed, also not when it is switched on', async (t) => {
  const start = new SlowStart({ slowStartMs: 0, slowStartFloor: 10 })
  start.setEndpoints([a], 0)
  start.setEndpoints([a, b], 1)
  t.equal(start.warmthOf(b), 1)
  start.setOptions({ slowStartMs: 1000, slowStartFloor: 10 })
  start.setEndpoints([a, b], 2)
  t.equal(start.warmthOf(b), 1)
})

for (const name of ['round-robin', 'weighted-round-robin', 'random-two'] as const) {
  t.test(`${name}: a new endpoint gets its part of the picks and no more`, async (t) => {
    const clock = new FakeClock()
    let turn = 0
    const picker = new EndpointPicker({
      affinity: new AffinityTable({ maxClients: 10 }),
      clock,
      random: () => (turn = (turn + 0.618_033_988_749) % 1),
      balancers: { ...BALANCER_DEFAULTS, name, slowStartMs: 10_000 },
    })
    const port = servicePort()
    const connection = {
      servicePortId: port.id,
      kind: 'cluster-ip',
      source: 'other',
      clientIp: '10.0.0.5',
      clientPort: 1,
    } as const
    const shareOfB = () => {
      let count = 0
      for (let i = 0; i < 1000; i++) {
        const picked = picker.pick(connection, [])
        if (picked.verdict === 'endpoint' && picked.endpoint.id === b.id) count++
      }
      return count / 1000
    }
    picker.update(snapshotOf([portState(port, [a])]))
    picker.update(snapshotOf([portState(port, [a, b])], 2))
    t.ok(Math.abs(shareOfB() - 0.1 / 1.1) < 0.03)
    await clock.advance(5000)
    t.ok(Math.abs(shareOfB() - 0.55 / 1.55) < 0.03)
    await clock.advance(5000)
    t.ok(Math.abs(shareOfB() - 0.5) < 0.03)
  })
}
