import t from 'tap'
import type { Datapath } from '../../src/datapath/datapath.js'
import type { Snapshot } from '../../src/model/snapshot.js'
import { createLog } from '../../src/observe/log.js'
import type { ClusterSource, ClusterSourceListener } from '../../src/source/cluster-source.js'
import { ServiceProxy } from '../../src/sync/service-proxy.js'
import { FakeClock } from '../fixtures/fake-clock.js'
import { applyService, applySlice, endpointSlice, service } from '../fixtures/objects.js'

class FakeSource implements ClusterSource {
  listener: ClusterSourceListener | undefined

  async start(listener: ClusterSourceListener): Promise<void> {
    this.listener = listener
    return Promise.resolve()
  }

  async close(): Promise<void> {
    return Promise.resolve()
  }
}

/** Keeps what it was told to bring into force; fails when it is told to. */
class FakeDatapath implements Datapath {
  readonly synced: Snapshot[] = []
  readonly removals: string[] = []
  isFailing = false

  async sync(snapshot: Snapshot) {
    if (this.isFailing) throw new Error('the kernel said no')
    this.synced.push(snapshot)
    return Promise.resolve({ warnings: [] })
  }

  async drain(): Promise<void> {
    this.removals.push('drain')
    return Promise.resolve()
  }

  async close(): Promise<void> {
    this.removals.push('close')
    return Promise.resolve()
  }
}

async function startProxy(minSyncPeriodMs = 0) {
  const clock = new FakeClock()
  const source = new FakeSource()
  const datapath = new FakeDatapath()
  const latencies: number[] = []
  const proxy = new ServiceProxy({
    nodeName: 'node-a',
    ...{ source, datapath, clock },
    health: { apply: (snapshot) => snapshot },
    log: createLog('silent'),
    config: { minSyncPeriodMs, syncPeriodMs: 30_000 },
    annotationReaders: [],
    events: { warn: () => undefined },
    onFailure: () => undefined,
    onQueued: () => undefined,
    onSyncStarted: () => undefined,
    onSyncFailed: () => undefined,
    onSynced: (_snapshot, tookMs) => latencies.push(tookMs),
  })
  await proxy.start()
  const { listener } = source
  if (listener === undefined) throw new Error('the source was not started')
  return { clock, datapath, proxy, listener, latencies }
}

const put = (n: number) => [
  applyService(service({ name: `s${n}`, spec: { clusterIP: `10.96.0.${n}` } })),
  applySlice(endpointSlice({ name: `s${n}-a`, serviceName: `s${n}`, endpoints: [`10.1.0.${n}`] })),
]

t.test('nothing is written or removed before the first complete list', async (t) => {
  const { clock, datapath, proxy, listener } = await startProxy()
  listener.onInitialPart?.(put(1))
  listener.onWarning('the API server is down', {})
  await clock.advance(600_000)
  listener.onInitialPart?.(put(2))
  await clock.advance(600_000)
  t.strictSame(datapath.synced, [], 'however long that takes')
  listener.onChanges(put(3))
  await clock.advance(1)
  t.equal(datapath.synced.length, 1)
  t.equal(datapath.synced[0]?.servicePorts.size, 3, 'all parts at once')
  t.strictSame(datapath.removals, [])
  await proxy.stop()
})

t.test('one that never was in touch with the API server leaves all as it was', async (t) => {
  const { clock, datapath, proxy, listener } = await startProxy()
  listener.onWarning('the API server is down', {})
  await clock.advance(60_000)
  await proxy.stop()
  t.strictSame(datapath.synced, [])
})

t.test('while the source only has warnings, what was in force stays', async (t) => {
  const { clock, datapath, proxy, listener } = await startProxy()
  listener.onChanges(put(1))
  await clock.advance(1)
  const [inForce] = datapath.synced
  for (let i = 0; i < 10; i++) listener.onWarning('the watch broke', {})
  await clock.advance(600_000)
  t.ok(datapath.synced.length > 1, 'the datapath is looked after all the same')
  t.ok(
    datapath.synced.every((snapshot) => snapshot === inForce),
    'with the last state',
  )
  t.equal(proxy.snapshot, inForce)
  await proxy.stop()
})

t.test('changes within the minimum period are one sync', async (t) => {
  const { clock, datapath, proxy, listener } = await startProxy(1000)
  listener.onChanges(put(1))
  await clock.advance(1)
  for (let n = 2; n <= 6; n++) {
    listener.onChanges(put(n))
    await clock.advance(100)
  }
  t.equal(datapath.synced.length, 1)
  await clock.advance(1000)
  t.equal(datapath.synced.length, 2)
  t.equal(datapath.synced[1]?.servicePorts.size, 6)
  await proxy.stop()
})

t.test('a sync that fails is tried again, with what has come meanwhile', async (t) => {
  const { clock, datapath, proxy, listener } = await startProxy()
  listener.onChanges(put(1))
  await clock.advance(1)
  datapath.isFailing = true
  listener.onChanges(put(2))
  await clock.advance(100)
  t.match(proxy.syncStatus().lastSyncError, /the kernel said no/)
  t.equal(proxy.snapshot.servicePorts.size, 1, 'what is in force is said to be')
  datapath.isFailing = false
  listener.onChanges(put(3))
  await clock.advance(5000)
  t.equal(proxy.snapshot.servicePorts.size, 3)
  t.equal(proxy.syncStatus().lastSyncError, undefined)
  await proxy.stop()
})
