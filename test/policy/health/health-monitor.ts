import t from 'tap'
import type { Endpoint } from '../../../src/model/endpoint.js'
import type { ServicePortState } from '../../../src/model/snapshot.js'
import { describeChange } from '../../../src/policy/health/describe-change.js'
import { HealthMonitor, type HealthChange } from '../../../src/policy/health/health-monitor.js'
import { ProbeScope } from '../../../src/policy/health/probe-scope.js'
import { healthy, unhealthy } from '../../../src/policy/health/probe/probe.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'
import { FakeClock } from '../../fixtures/fake-clock.js'
import { DEFAULTS } from '../../fixtures/health.js'

const ips = ['10.1.0.1', '10.1.0.2', '10.1.0.3']
const endpoints = ips.map((ip) => endpoint(ip))
const annotations = { 'health-check': 'tcp', 'health-check-interval': '1s' }
const port = servicePort({ annotations })

function setUp(defaults = DEFAULTS, scope?: ProbeScope) {
  const clock = new FakeClock()
  const dead = new Set<string>()
  const probed: string[] = []
  const changes: HealthChange[] = []
  const ended: string[] = []
  let stale = 0
  const monitor = new HealthMonitor({
    clock,
    wallClock: () => new Date(clock.nowMs()),
    random: () => 0.5,
    defaults,
    maxRunning: 100,
    panicPercent: 50,
    ...(scope === undefined ? {} : { scope }),
    startProbe: ({ ip, port: number }, done) => {
      probed.push(`${ip}:${number}`)
      setImmediate(() => {
        done(dead.has(ip) ? unhealthy('connection refused') : healthy('connected'))
      })
      return { cancel: () => 'connection' }
    },
    onChange: (change) => changes.push(change),
    onStale: () => stale++,
    endConnections: (_id, { id }) => ended.push(id),
  })
  const ipsOf = (state?: ServicePortState) => state?.cluster.map(({ ip }) => ip.slice(-1)).join('')
  const texts = () => changes.map((change) => describeChange(change).message)
  return { clock, dead, probed, changes, ended, monitor, ipsOf, texts, stale: () => stale }
}

const used = (monitor: HealthMonitor, snapshot: Parameters<HealthMonitor['apply']>[0]) =>
  monitor
    .apply(snapshot)
    .servicePorts.get(port.id)
    ?.cluster.map(({ ip }) => ip.slice(-1))
    .join('')

t.test(
  'an endpoint that fails is out within three seconds, and back after two successes',
  async (t) => {
    const { clock, dead, monitor, changes, texts, stale } = setUp()
    const input = snapshotOf([portState(port, endpoints)])
    t.equal(used(monitor, input), '123')
    await clock.advance(5000)
    t.equal(stale(), 0)
    dead.add('10.1.0.2')
    await clock.advance(2500)
    t.equal(stale(), 1)
    t.equal(used(monitor, input), '13')
    t.match(monitor.healthOf(port.id, '10.1.0.2:80'), {
      check: 'tcp',
      isUp: false,
      trend: 'down',
      reason: 'connection refused',
      since: Date,
    })
    await clock.advance(60_000)
    t.equal(stale(), 1, 'told once')
    dead.clear()
    await clock.advance(2500)
    t.equal(used(monitor, input), '123')
    t.strictSame(texts(), [
      'endpoint 10.1.0.2:80 of demo/echo is down, says its tcp check: connection refused',
      'endpoint 10.1.0.2:80 of demo/echo is up, says its tcp check: connected',
    ])
    t.equal(changes.length, 2)
    t.match(monitor.totals(), { wentDown: 1, cameUp: 1, unhealthyEndpoints: 0, probedEndpoints: 3 })
  },
)

t.test('only what changed is another object', async (t) => {
  const { clock, dead, monitor } = setUp()
  const other = portState(servicePort({ name: 'other', annotations }), [endpoint('10.2.0.1')])
  const input = snapshotOf([portState(port, endpoints), other])
  const first = monitor.apply(input)
  t.equal(monitor.apply(input), first)
  await clock.advance(3000)
  dead.add('10.1.0.1')
  await clock.advance(3000)
  const second = monitor.apply(input)
  t.equal(second.generation, first.generation + 1)
  const changed = [...first.servicePorts.differences(second.servicePorts)].map(({ key }) => key)
  t.strictSame(changed, [port.id])
  t.equal(monitor.apply(input), second)
  // The model changes elsewhere: what health took out stays out, and is the same object still.
  const third = monitor.apply(snapshotOf([input.servicePorts.get(port.id)!], 2))
  t.equal(third.servicePorts.get(port.id), second.servicePorts.get(port.id))
  t.equal(third.servicePorts.size, 1)
})

t.test('Services without probes pass through untouched', async (t) => {
  const { clock, monitor, probed } = setUp()
  const input = snapshotOf([portState(servicePort(), endpoints)])
  t.equal(monitor.apply(input).servicePorts, input.servicePorts)
  await clock.advance(60_000)
  t.strictSame(probed, [])
  t.equal(monitor.healthOf(servicePort().id, '10.1.0.1:80'), undefined)
})

t.test('too few healthy: all are used, and it is told', async (t) => {
  const { clock, dead, monitor, texts } = setUp()
  const input = snapshotOf([portState(port, endpoints)])
  monitor.apply(input)
  await clock.advance(3000)
  dead.add('10.1.0.1').add('10.1.0.2')
  await clock.advance(3000)
  t.equal(used(monitor, input), '123')
  t.equal(monitor.totals().panickingServicePorts, 1)
  dead.delete('10.1.0.1')
  await clock.advance(3000)
  t.equal(used(monitor, input), '13')
  t.equal(monitor.totals().panickingServicePorts, 0)
  t.match(
    texts().filter((text) => /health|healthy/.test(text)),
    [
      /too few endpoints of demo\/echo are healthy/,
      /enough endpoints of demo\/echo are healthy again/,
    ],
  )
})

t.test('only ready endpoints are probed, and nothing once they have gone', async (t) => {
  const { clock, monitor, probed } = setUp()
  const terminating = endpoint('10.1.0.9', 80, { isReady: false, isTerminating: true })
  monitor.apply(snapshotOf([portState(port, [endpoints[0]!, terminating])]))
  await clock.advance(5000)
  t.strictSame([...new Set(probed)], ['10.1.0.1:80'])
  monitor.apply(snapshotOf([], 2))
  const count = probed.length
  await clock.advance(60_000)
  t.equal(probed.length, count)
  t.equal(monitor.totals().probedEndpoints, 0)
})

t.test('an endpoint that is down and goes, and comes back, begins anew', async (t) => {
  const { clock, dead, monitor } = setUp()
  const input = snapshotOf([portState(port, endpoints)])
  monitor.apply(input)
  dead.add('10.1.0.2')
  await clock.advance(3000)
  t.equal(used(monitor, input), '13')
  monitor.apply(snapshotOf([portState(port, [endpoints[0]!, endpoints[2]!])], 2))
  t.equal(monitor.totals().unhealthyEndpoints, 0)
  t.equal(used(monitor, snapshotOf([portState(port, endpoints)], 3)), '123')
})

t.test('other settings of the check keep what is known of endpoints', async (t) => {
  const { clock, dead, monitor, probed } = setUp()
  monitor.apply(snapshotOf([portState(port, endpoints)]))
  dead.add('10.1.0.2')
  await clock.advance(3000)
  const other = servicePort({ annotations: { ...annotations, 'health-check-port': '9000' } })
  const changed = snapshotOf([portState(other, endpoints)], 2)
  t.equal(used(monitor, changed), '13')
  probed.length = 0
  await clock.advance(1000)
  t.ok(probed.length > 0 && probed.every((one) => one.endsWith(':9000')), probed.join())
  const passive = servicePort({ annotations: { 'health-check': 'passive' } })
  t.equal(used(monitor, snapshotOf([portState(passive, endpoints)], 3)), '123')
  probed.length = 0
  await clock.advance(10_000)
  t.strictSame(probed, [])
})

t.test('a port by name is looked up among the other ports of the Service', async (t) => {
  const { clock, monitor, probed } = setUp()
  const named = servicePort({
    portName: 'web',
    annotations: { ...annotations, 'health-check-port': 'admin', 'health-check.admin': 'none' },
  })
  const admin = servicePort({ portName: 'admin', annotations: named.annotations })
  const states = [portState(named, endpoints)]
  monitor.apply(snapshotOf(states))
  await clock.advance(500)
  t.strictSame(probed, [])
  t.match(monitor.healthOf(named.id, '10.1.0.1:80'), { reason: 'no port named admin there' })
  const adminEndpoints = ips.map((ip) => endpoint(ip, 9100))
  monitor.apply(snapshotOf([...states, portState(admin, adminEndpoints)], 2))
  await clock.advance(2000)
  t.strictSame([...new Set(probed)].sort(), ips.map((ip) => `${ip}:9100`).sort())
})

t.test(
  'connections of an endpoint that is down are ended after the grace, where it is wished',
  async (t) => {
    const { clock, dead, monitor, ended, stale } = setUp()
    const resets = servicePort({
      annotations: {
        ...annotations,
        'health-check-on-down': 'reset',
        'health-check-on-down-grace': '5s',
      },
    })
    const input = snapshotOf([portState(resets, endpoints)])
    monitor.apply(input)
    await clock.advance(2000)
    const failAndSync = async (ip: string, forMs: number) => {
      dead.add(ip)
      const before = stale()
      while (stale() === before) await clock.advance(100)
      monitor.apply(input)
      await clock.advance(forMs)
    }
    await failAndSync('10.1.0.2', 4000)
    t.strictSame(ended, [])
    await clock.advance(2000)
    t.strictSame(ended, ['10.1.0.2:80'])
    // It comes back within its grace.
    dead.clear()
    await clock.advance(5000)
    monitor.apply(input)
    await failAndSync('10.1.0.3', 1000)
    dead.clear()
    await clock.advance(3000)
    monitor.apply(input)
    await clock.advance(10_000)
    t.strictSame(ended, ['10.1.0.2:80'])
  },
)

t.test('what is used for want of others keeps its connections', async (t) => {
  const { clock, dead, monitor, ended } = setUp()
  const resets = servicePort({ annotations: { ...annotations, 'health-check-on-down': 'reset' } })
  const input = snapshotOf([portState(resets, endpoints)])
  monitor.apply(input)
  for (const ip of ips) dead.add(ip)
  for (let i = 0; i < 50; i++) {
    await clock.advance(100)
    monitor.apply(input)
  }
  t.equal(used(monitor, input), '123')
  t.strictSame(ended, [])
})

t.test('clients that cannot connect make the probe come at once', async (t) => {
  const { clock, monitor, probed } = setUp()
  monitor.apply(snapshotOf([portState(port, endpoints)]))
  await clock.advance(10_000)
  const target: Endpoint = endpoints[0]!
  probed.length = 0
  monitor.suspect(port.id, target.id)
  monitor.suspect(port.id, 'nobody')
  monitor.suspect('nothing', target.id)
  await clock.advance(510)
  t.ok(probed.includes(target.id))
})

t.test('scope traffic: probed while it is used, and not down when it is not', async (t) => {
  let connections = 0
  const scope = new ProbeScope({
    config: { scope: 'traffic', sharePercent: 0 },
    nodeName: 'node-a',
    readTraffic: () => () => connections,
  })
  const { clock, dead, monitor, probed } = setUp(DEFAULTS, scope)
  const input = snapshotOf([portState(port, endpoints)])
  dead.add('10.1.0.2')
  t.equal(used(monitor, input), '123')
  await clock.advance(20_000)
  t.same(probed, [])
  connections = 1
  await clock.advance(10_000)
  t.ok(probed.length > 6)
  t.equal(used(monitor, input), '13')
  await clock.advance(310_000)
  t.equal(used(monitor, input), '123', 'nothing is known of it any more')
  const count = probed.length
  await clock.advance(60_000)
  t.equal(probed.length, count)
  t.match(monitor.totals(), { probedEndpoints: 0, unhealthyEndpoints: 0 })
  monitor.close()
})

t.test('other defaults: who leaves it to them is probed anew, its state is kept', async (t) => {
  const defaults = { ...DEFAULTS }
  const { clock, dead, monitor, probed, ipsOf, stale } = setUp(defaults)
  const plain = servicePort({ name: 'plain' })
  const input = snapshotOf([portState(port, endpoints), portState(plain, endpoints)])
  const apply = () => {
    const { servicePorts } = monitor.apply(input)
    return [port, plain].map(({ id }) => ipsOf(servicePorts.get(id)))
  }
  dead.add('10.1.0.2')
  t.same(apply(), ['123', '123'])
  await clock.advance(5000)
  t.same(apply(), ['13', '123'])
  const count = probed.length
  Object.assign(defaults, { check: 'tcp', intervalMs: 1000 })
  const before = stale()
  monitor.reconfigure()
  t.equal(stale(), before + 1)
  t.same(apply(), ['13', '123'], 'its own check is the same still')
  await clock.advance(5000)
  t.ok(probed.length > count + 10)
  t.same(apply(), ['13', '13'])
  Object.assign(defaults, { check: 'passive' })
  monitor.reconfigure()
  t.same(apply(), ['13', '123'])
  t.match(monitor.totals(), { probedEndpoints: 3, unhealthyEndpoints: 1 })
})
