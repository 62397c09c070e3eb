import t from 'tap'
import { AffinityTable } from '../../../src/policy/affinity.js'
import { EndpointPicker, type NewConnection } from '../../../src/policy/endpoint-picker.js'
import { firstByteProblems, firstByteTimeout } from '../../../src/policy/health/first-byte.js'
import { endpoint, portState, servicePort, snapshotOf } from '../../fixtures/endpoint.js'
import { FakeClock } from '../../fixtures/fake-clock.js'

const [a, b] = [endpoint('10.1.0.1'), endpoint('10.1.0.2')]
const waits = { 'first-byte-timeout': '500ms' }

function setUp(annotations: Record<string, string> = waits) {
  const port = servicePort({ annotations })
  const clock = new FakeClock()
  const ejections: string[] = []
  const picker = new EndpointPicker({
    affinity: new AffinityTable({ maxClients: 10 }),
    clock,
    random: () => 0,
    onEjection: (_id, { ip }, isEjected) => ejections.push(`${ip} ${isEjected ? 'out' : 'back'}`),
  })
  picker.update(snapshotOf([portState(port, [a, b])]))
  const connection: NewConnection = {
    servicePortId: port.id,
    kind: 'cluster-ip',
    source: 'other',
    clientIp: '10.0.0.5',
    clientPort: 1,
  }
  return { picker, clock, ejections, connection, port }
}

t.test('the annotation is a duration; without it nobody waits', async (t) => {
  t.equal(firstByteTimeout(servicePort({ annotations: waits })), 500)
  t.equal(firstByteTimeout(servicePort({})), 0)
  const bad = servicePort({ annotations: { 'first-byte-timeout': 'soon' } })
  t.equal(firstByteTimeout(bad), 0)
  t.match(firstByteProblems(bad), [
    {
      object: 'Service demo/echo',
      field: 'metadata.annotations["kube-sluice.io/first-byte-timeout"]',
      message: /^"soon" .*; no answer is waited for$/,
    },
  ])
})

t.test('one that answers nobody is ejected, and is back with its first byte', async (t) => {
  const { picker, clock, ejections, connection, port } = setUp()
  t.equal(picker.firstByteMs(port.id), 500)
  picker.spoke(connection, a)
  await clock.advance(600)
  picker.wasMute(connection, a)
  t.same(ejections.splice(0), [`${a.ip} out`])
  picker.wasMute(connection, a)
  t.same(ejections, [], 'once')
  for (let i = 0; i < 4; i++) t.match(picker.pick(connection, []), { endpoint: { ip: b.ip } })
  picker.spoke(connection, a)
  t.same(ejections, [`${a.ip} back`])
})

t.test('one that has answered others meanwhile is only slow for this request', async (t) => {
  const { picker, clock, ejections, connection } = setUp()
  await clock.advance(1000)
  picker.spoke(connection, a)
  await clock.advance(400)
  picker.wasMute(connection, a)
  t.same(ejections, [])
  await clock.advance(100)
  picker.wasMute(connection, a)
  t.same(ejections, [`${a.ip} out`])
})

t.test('not where the Service wants no passive health, and live', async (t) => {
  const none = setUp({ ...waits, 'health-check': 'none' })
  t.equal(none.picker.firstByteMs(none.port.id), 0)
  const { picker, port } = setUp({})
  t.equal(picker.firstByteMs(port.id), 0)
  picker.update(snapshotOf([portState(servicePort({ annotations: waits }), [a, b])], 2))
  t.equal(picker.firstByteMs(port.id), 500)
})
