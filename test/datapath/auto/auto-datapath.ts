import t from 'tap'

import { AutoDatapath } from '../../../src/datapath/auto/auto-datapath.js'
import { ModeSelector } from '../../../src/datapath/auto/mode-selector.js'
import { ClusterState } from '../../../src/model/cluster-state.js'
import type { ServicePort } from '../../../src/model/service-port.js'
import type { Snapshot } from '../../../src/model/snapshot.js'
import { FakeClock } from '../../fixtures/fake-clock.js'
import { applyService, service } from '../../fixtures/objects.js'

/** Services a and b, and one that stays, of `count` in all. */
function snapshotOf(count: number): Snapshot {
  const state = new ClusterState({ nodeName: 'node-1' })
  const names = ['a', 'b', 'stays', 'c', 'd', 'e'].slice(0, count)
  state.apply(
    names.map((name, index) =>
      applyService(
        service({
          name,
          spec: { clusterIP: `10.96.0.${index + 1}` },
          metadata: {
            name,
            namespace: 'demo',
            annotations: name === 'stays' ? { 'kube-sluice.io/stay-in-userspace': 'true' } : {},
          },
        }),
      ),
    ),
  )
  return state.snapshot()
}

function setUp() {
  const clock = new FakeClock()
  const calls: string[] = []
  let takes: (port: ServicePort) => boolean = () => true
  const failing = { rules: false, deciding: false }
  const namesOf = (
    ports: Iterable<{ servicePort: ServicePort }>,
    of: (port: ServicePort) => boolean,
  ) =>
    [...ports]
      .map(({ servicePort }) => servicePort)
      .filter(of)
      .map(({ name }) => name)
      .join(' ')
  const part = (name: 'rules' | 'deciding', of: () => (port: ServicePort) => boolean) => ({
    sync: async (snapshot: Snapshot) => {
      if (failing[name]) throw new Error(`${name} fails`)
      calls.push(`${name}: ${namesOf(snapshot.servicePorts.values(), of())}`)
      return { warnings: [] }
    },
    drain: async () => undefined,
    close: async () => undefined,
  })
  const auto = new AutoDatapath({
    deciding: {
      datapath: part('deciding', () => takes),
      status: () => {
        throw new Error('not asked')
      },
      openConnections: () => 0,
      onSynced: () => undefined,
      handOver: {
        standby: undefined,
        bindsToVip: false,
        take: (given) => (takes = given),
        load: () => ({ connections: 0, queueDrops: 0, busySeconds: 0 }),
        sessionDestinations: () => new Set(),
      },
    },
    rules: part('rules', () => () => true),
    selector: new ModeSelector({
      thresholds: {
        servicePorts: 4,
        endpoints: 0,
        connectionsPerSecond: 0,
        queueDropsPerSecond: 0,
        verdictPercent: 0,
      },
      returnPercent: 80,
      holdDownMs: 1000,
    }),
    counter: { start: async () => undefined, read: async () => 0, stop: async () => undefined },
    countsAll: false,
    clock,
    samplePeriodMs: 500,
    log: { info: () => undefined, warn: (message) => calls.push(message) },
    onSwitch: (usesRules) => calls.push(usesRules ? 'now rules' : 'now deciding'),
  })
  const take = () => calls.splice(0)
  return { auto, clock, take, failing }
}

t.test('rules first, then the deciding mode, then what rules lose', async (t) => {
  const { auto, clock, take } = setUp()
  await auto.sync(snapshotOf(3))
  t.same(take(), ['deciding: a b stays', 'rules: '], 'rules stand by, empty')
  await auto.sync(snapshotOf(6))
  t.same(take(), ['rules: a b c d e', 'deciding: stays', 'rules: a b c d e', 'now rules'])
  await auto.sync(snapshotOf(3))
  t.same(take(), ['rules: a b', 'deciding: stays', 'rules: a b'])
  await clock.advance(1600)
  t.same(take(), ['rules: a b', 'deciding: a b stays', 'rules: ', 'now deciding'])
  await auto.close()
})

t.test('a switch that fails is tried again, and taken back in full', async (t) => {
  const { auto, clock, take, failing } = setUp()
  await auto.sync(snapshotOf(3))
  take()
  failing.rules = true
  await t.rejects(auto.sync(snapshotOf(6)), /rules fails/)
  t.equal(auto.usesRules, false)
  t.same(take(), [], 'the deciding mode still has everything')
  failing.rules = false
  failing.deciding = true
  await clock.advance(500)
  t.same(take().slice(0, 1), ['rules: a b c d e'])
  t.equal(auto.usesRules, false)
  failing.deciding = false
  await auto.sync(snapshotOf(3))
  await clock.advance(2500)
  t.equal(auto.usesRules, false)
  await auto.sync(snapshotOf(3))
  t.same(take().slice(-2), ['deciding: a b stays', 'rules: '], 'it takes all again')
  await auto.close()
})
