import fc from 'fast-check'
import t from 'tap'

import { partOfSnapshot, SnapshotPart } from '../../src/datapath/part-of-snapshot.js'
import { SnapshotSize } from '../../src/datapath/auto/snapshot-size.js'
import type { ServicePort } from '../../src/model/service-port.js'
import type { ServicePortState, Snapshot } from '../../src/model/snapshot.js'
import { endpoint, portState, servicePort, snapshotOf } from '../fixtures/endpoint.js'

const isTaken = ({ name }: ServicePort): boolean => name.startsWith('taken')
const all = (): boolean => true

function stateOf(name: string, endpoints: number): ServicePortState {
  const list = Array.from({ length: endpoints }, (_, i) => endpoint(`10.0.0.${i + 1}`))
  return portState(servicePort({ name }), list)
}

/** Snapshots in a row, each with some of the Service ports changed, added or gone. */
const history = fc.array(
  fc.dictionary(
    fc.constantFrom('taken-a', 'taken-b', 'left-a', 'left-b', 'left-c'),
    fc.option(fc.nat(3), { nil: undefined }),
  ),
  { maxLength: 6 },
)

function play(steps: readonly Readonly<Record<string, number | undefined>>[]): Snapshot[] {
  const before = new Map<string, ServicePortState>()
  return steps.map((step, index) => {
    for (const [name, endpoints] of Object.entries(step)) {
      const state = stateOf(name, endpoints ?? 0)
      if (endpoints === undefined) before.delete(state.servicePort.id)
      else before.set(state.servicePort.id, state)
    }
    return snapshotOf([...before.values()], index)
  })
}

t.test('a part that goes on from the last one is the part', async (t) => {
  fc.assert(
    fc.property(history, (steps) => {
      const part = new SnapshotPart()
      for (const snapshot of play(steps)) {
        const got = part.of(snapshot, isTaken)
        const want = partOfSnapshot(snapshot, isTaken)
        t.strictSame([...got.servicePorts], [...want.servicePorts])
        t.equal(got.generation, snapshot.generation)
        t.equal(part.of(snapshot, isTaken), got)
      }
    }),
    { numRuns: 50 },
  )
})

t.test('another function means another part; nothing left out means the whole', async (t) => {
  const part = new SnapshotPart()
  const snapshot = snapshotOf([stateOf('taken-a', 1), stateOf('left-a', 1)])
  t.equal(part.of(snapshot, isTaken).servicePorts.size, 1)
  t.equal(part.of(snapshot, all), snapshot)
  const next = snapshotOf([stateOf('taken-a', 2)], 2)
  t.equal(part.of(next, all), next)
})

t.test('the size is counted on', async (t) => {
  fc.assert(
    fc.property(history, (steps) => {
      const size = new SnapshotSize()
      for (const snapshot of play(steps)) {
        const states = [...snapshot.servicePorts.values()]
        const endpoints = states.reduce((sum, state) => sum + state.endpoints.length, 0)
        t.strictSame(size.of(snapshot), { servicePorts: states.length, endpoints })
      }
    }),
    { numRuns: 50 },
  )
})
