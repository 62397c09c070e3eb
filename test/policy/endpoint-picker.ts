import t from 'tap'
import { AffinityTable } from '../../src/policy/affinity.js'
import { BALANCER_DEFAULTS } from '../../src/policy/balancer/settings.js'
import { EJECTION_DEFAULTS } from '../../src/policy/health/outlier-ejection.js'
import { EndpointPicker, type NewConnection } from '../../src/policy/endpoint-picker.js'
import { endpoint, portState, servicePort, snapshotOf } from '../fixtures/endpoint.js'
import { FakeClock } from '../fixtures/fake-clock.js'

const [a, b, c] = ['10.1.0.1', '10.1.0.2', '10.1.0.3'].map((ip) => endpoint(ip))
const port = servicePort()
const sticky = servicePort({ affinityTimeoutSeconds: 10 })

const connection = (clientIp = '10.0.0.5'): NewConnection => ({
  servicePortId: port.id,
  kind: 'cluster-ip',
  source: 'other',
  clientIp,
  clientPort: 40000,
})

function setUp() {
  const clock = new FakeClock()
  const picker = new EndpointPicker({
    affinity: new AffinityTable({ maxClients: 100 }),
    clock,
    random: () => 0,
  })
  const pick = (from = connection(), tried = [] as readonly (typeof a & object)[]) => {
    const picked = picker.pick(from, tried)
    return picked.verdict === 'endpoint' ? picked.endpoint.ip : picked.verdict
  }
  return { clock, picker, pick }
}

t.test('a Service port that is not there, or has no endpoints, rejects', async (t) => {
  const { picker, pick } = setUp()
  t.equal(pick(), 'reject')
  picker.update(snapshotOf([portState(port, [])]))
  t.equal(pick(), 'reject')
  picker.update(snapshotOf([portState(port, [a!])]))
  t.equal(pick(), a!.ip)
  picker.update(snapshotOf([]))
  t.equal(pick(), 'reject')
})

t.test('a Local policy with endpoints elsewhere only drops', async (t) => {
  const { picker, pick } = setUp()
  const local = servicePort({ internalPolicyLocal: true })
  picker.update(snapshotOf([portState(local, [a!])]))
  t.equal(pick(), 'drop')
})

t.test('a change of another Service does not disturb the turn', async (t) => {
  const { picker, pick } = setUp()
  const state = portState(port, [a!, b!, c!])
  picker.update(snapshotOf([state]))
  t.equal(pick(), a!.ip)
  picker.update(snapshotOf([state, portState(servicePort({ name: 'other' }), [a!])], 2))
  t.equal(pick(), b!.ip)
})

t.test('affinity: the client stays, others go on in turn', async (t) => {
  const { clock, picker, pick } = setUp()
  picker.update(snapshotOf([portState(sticky, [a!, b!, c!])]))
  t.equal(pick(), a!.ip)
  picker.connected(connection(), a!)
  t.equal(pick(), a!.ip)
  t.equal(pick(connection('10.0.0.6')), b!.ip)
  await clock.advance(9_999)
  t.equal(pick(), a!.ip)
  await clock.advance(1)
  t.equal(pick(), c!.ip, 'the time-out runs from the last connection')
})

t.test('affinity: an endpoint that is gone or did not answer frees its client', async (t) => {
  const { picker, pick } = setUp()
  picker.update(snapshotOf([portState(sticky, [a!, b!, c!])]))
  picker.connected(connection(), c!)
  t.equal(pick(connection(), [c!]), a!.ip, 'tried already')
  picker.connectFailed(connection(), c!)
  t.equal(pick(), b!.ip)
  picker.connected(connection(), c!)
  picker.update(snapshotOf([portState(sticky, [a!, b!])], 2))
  t.not(pick(), c!.ip)
})

t.test('an endpoint that failed is passed over until it answers again', async (t) => {
  const { clock, picker, pick } = setUp()
  picker.update(snapshotOf([portState(port, [a!, b!, c!])]))
  picker.connectFailed(connection(), b!)
  t.strictSame(
    [pick(), pick(), pick(), pick()].filter((ip) => ip === b!.ip),
    [],
  )
  await clock.advance(1000)
  const next = [pick(), pick(), pick()]
  t.equal(next.filter((ip) => ip === b!.ip).length <= 1, true)
  picker.answered(connection(), b!)
  t.ok([pick(), pick(), pick()].includes(b!.ip))
})

t.test('it is used all the same when nothing else is left', async (t) => {
  const { picker, pick } = setUp()
  picker.update(snapshotOf([portState(port, [a!, b!])]))
  picker.connectFailed(connection(), b!)
  t.equal(pick(connection(), [a!]), b!.ip)
  t.equal(pick(connection(), [a!, b!]), 'exhausted')
})

t.test(
  'another balancer by annotation: from the next pick on, with the counts as they are',
  async (t) => {
    const { picker, pick } = setUp()
    picker.update(snapshotOf([portState(port, [a!, b!])]))
    for (let i = 0; i < 3; i++) picker.opened(port.id, a!)
    picker.opened(port.id, b!)
    t.equal(picker.balancerOf(port.id), 'round-robin')
    const least = servicePort({ annotations: { balancer: 'least-connections' } })
    picker.update(snapshotOf([portState(least, [a!, b!])], 2))
    t.equal(picker.balancerOf(port.id), 'least-connections')
    t.strictSame([pick(), pick(), pick()], [b!.ip, b!.ip, b!.ip])
    picker.opened(port.id, b!)
    picker.opened(port.id, b!)
    picker.closed(port.id, a!)
    t.equal(pick(), a!.ip)
  },
)

t.test('an endpoint that comes back has the connections that it still has', async (t) => {
  const { picker, pick } = setUp()
  const least = servicePort({ annotations: { balancer: 'least-connections' } })
  picker.update(snapshotOf([portState(least, [a!, b!])]))
  picker.opened(port.id, a!)
  picker.opened(port.id, a!)
  picker.update(snapshotOf([portState(least, [b!])], 2))
  picker.closed(port.id, a!)
  picker.opened(port.id, b!)
  picker.opened(port.id, b!)
  picker.update(snapshotOf([portState(least, [a!, b!])], 3))
  t.equal(pick(), a!.ip)
  picker.opened(port.id, a!)
  picker.opened(port.id, a!)
  t.equal(pick(), b!.ip, 'three to two')
})

t.test('a changed weight reaches the balancer without a change of the set', async (t) => {
  const { picker, pick } = setUp()
  const weighted = servicePort({ annotations: { balancer: 'weighted-round-robin' } })
  picker.update(snapshotOf([portState(weighted, [a!, b!])]))
  picker.update(snapshotOf([portState(weighted, [{ ...a!, weight: 9 }, b!])], 2))
  const picks = Array.from({ length: 100 }, () => pick()).filter((ip) => ip === a!.ip)
  t.ok(Math.abs(picks.length - 90) <= 2)
})

t.test('what is foreseen comes true, and asking changes nothing', async (t) => {
  const { clock, picker, pick } = setUp()
  const hashed = servicePort({ annotations: { balancer: 'maglev' }, affinityTimeoutSeconds: 10 })
  picker.update(snapshotOf([portState(hashed, [a!, b!, c!])]))
  const foreseen = picker.foresee(connection())
  t.match(foreseen, { pinned: undefined, ejected: [] })
  t.equal(pick(), foreseen.pick?.split(':')[0])
  picker.connected(connection(), a!)
  await clock.advance(4000)
  t.match(picker.foresee(connection()).pinned, { endpointId: a!.id, leftMs: 6000 })

  picker.update(snapshotOf([portState(port, [a!, b!])], 2))
  t.equal(picker.foresee(connection()).pick, undefined, 'round robin goes by its turn')
  picker.connectFailed(connection(), a!)
  await clock.advance(400)
  t.same(picker.foresee(connection()).ejected, [{ endpointId: a!.id, leftMs: 600 }])
  await clock.advance(600)
  for (let i = 0; i < 3; i++) {
    t.same(picker.foresee(connection()).ejected, [{ endpointId: a!.id, leftMs: 0 }])
  }
  t.equal(pick(), a!.ip, 'the trial is still to come')
})

t.test(
  'other defaults: balancers, patience and ejection of Services that say nothing',
  async (t) => {
    const balancers = { ...BALANCER_DEFAULTS }
    const ejection = { ...EJECTION_DEFAULTS }
    const told: string[] = []
    const picker = new EndpointPicker({
      affinity: new AffinityTable({ maxClients: 100 }),
      clock: new FakeClock(),
      random: () => 0,
      balancers,
      ejection,
      onEjection: (id, { ip }, isEjected) => told.push(`${id} ${ip} ${isEjected}`),
    })
    const own = servicePort({
      name: 'own',
      annotations: { balancer: 'maglev', 'health-check': 'passive' },
    })
    picker.update(snapshotOf([portState(port, [a!, b!]), portState(own, [a!, b!])]))
    for (const { id } of [port, own]) {
      picker.latency(id, b!, 1)
      picker.connectFailed({ ...connection(), servicePortId: id }, a!)
    }
    Object.assign(balancers, { name: 'least-connections' })
    picker.reconfigure()
    t.equal(picker.balancerOf(port.id), 'least-connections')
    t.equal(picker.balancerOf(own.id), 'maglev')
    t.ok(picker.isFailing(port.id, a!), 'nothing else is forgotten')
    Object.assign(ejection, { byDefault: false, patienceMs: 500 })
    picker.reconfigure()
    t.notOk(picker.isFailing(port.id, a!))
    t.ok(picker.isFailing(own.id, a!))
    t.same(told, [
      `${port.id} ${a!.ip} true`,
      `${own.id} ${a!.ip} true`,
      `${port.id} ${a!.ip} false`,
    ])
    picker.latency(own.id, b!, 1)
    t.equal(picker.patienceMs(own.id, b!), 500)
    t.equal(picker.patienceMs(port.id, b!), undefined)
  },
)
