import fc from 'fast-check'
import t from 'tap'
import { ClusterState } from '../../src/model/cluster-state.js'
import type { ServicePortState, Snapshot } from '../../src/model/snapshot.js'
import type { ClusterChange } from '../../src/source/cluster-source.js'
import {
  applyNode,
  applyService,
  applySlice,
  endpointSlice,
  node,
  service,
} from '../fixtures/objects.js'

const NODE = 'node-1'
const ECHO = 'demo/echo:http/TCP/IPv4'
const WEB = 'demo/web:http/TCP/IPv4'
const web = service({ name: 'web', spec: { clusterIP: '10.96.0.11' } })
const webSlice = endpointSlice({ name: 'web-1', serviceName: 'web', endpoints: ['10.0.1.1'] })

function stateWith(...changes: readonly ClusterChange[]): ClusterState {
  const state = new ClusterState({ nodeName: NODE })
  state.apply(changes)
  return state
}

function idsOf(snapshot: Snapshot): string[] {
  return [...snapshot.servicePorts.keys()]
}

function endpointsOf(snapshot: Snapshot, id = ECHO): string[] | undefined {
  return snapshot.servicePorts.get(id)?.endpoints.map((endpoint) => endpoint.id)
}

t.test('nothing applied gives an empty Snapshot of this node', async (t) => {
  const { generation, node, servicePorts } = new ClusterState({ nodeName: NODE }).snapshot()
  t.equal(generation, 1)
  t.strictSame(node, {
    name: NODE,
    isUnknown: true,
    zone: undefined,
    addresses: [],
    podCidrs: [],
  })
  t.strictSame([...servicePorts], [])
})

t.test('the order of arrival does not matter', async (t) => {
  const changes = [
    applyService(service()),
    applySlice(endpointSlice({ endpoints: ['10.0.0.1'] })),
    applySlice(endpointSlice({ name: 'echo-2', endpoints: ['10.0.0.2'] })),
    applyNode(node({ zone: 'a' })),
  ]
  const forward = stateWith(...changes).snapshot()
  const backward = stateWith(...changes.toReversed()).snapshot()
  t.same(endpointsOf(forward), ['10.0.0.1:8080', '10.0.0.2:8080'])
  t.strictSame(forward.node, backward.node)
  t.strictSame([...forward.servicePorts], [...backward.servicePorts])
})

t.test('Service ports are in ascending order of id, always', async (t) => {
  const state = stateWith(applyService(web), applyService(service()))
  t.same(idsOf(state.snapshot()), [ECHO, WEB])
  const ports = [
    { name: 'zeta', port: 1 },
    { name: 'alpha', port: 2 },
  ]
  state.apply([applyService(service({ spec: { ports } }))])
  t.same(idsOf(state.snapshot()), ['demo/echo:alpha/TCP/IPv4', 'demo/echo:zeta/TCP/IPv4', WEB])
})

t.test('a dual-stack Service has a state for each port and family', async (t) => {
  const state = stateWith(
    applyService(
      service({
        spec: {
          clusterIPs: ['10.96.0.10', 'fd00::10'],
          ipFamilies: ['IPv4', 'IPv6'],
          ports: [
            { name: 'http', port: 80 },
            { name: 'dns', port: 53, protocol: 'UDP' },
          ],
        },
      }),
    ),
    applySlice(endpointSlice({ name: 'v4', endpoints: ['10.0.0.1'] })),
    applySlice(endpointSlice({ name: 'v6', addressType: 'IPv6', endpoints: ['fd00::1'] })),
  )
  const snapshot = state.snapshot()
  t.same(idsOf(snapshot), [
    'demo/echo:dns/UDP/IPv4',
    'demo/echo:dns/UDP/IPv6',
    'demo/echo:http/TCP/IPv4',
    'demo/echo:http/TCP/IPv6',
  ])
  t.same(endpointsOf(snapshot), ['10.0.0.1:8080'])
  t.same(endpointsOf(snapshot, 'demo/echo:http/TCP/IPv6'), ['[fd00::1]:8080'])
  t.same(endpointsOf(snapshot, 'demo/echo:dns/UDP/IPv4'), [])
})

t.test('deletions', async (t) => {
  const state = stateWith(
    applyService(service()),
    applyService(web),
    applySlice(endpointSlice({ endpoints: ['10.0.0.1'] })),
  )
  state.apply([{ type: 'delete', kind: 'EndpointSlice', key: 'demo/echo-1' }])
  t.same(endpointsOf(state.snapshot()), [])
  state.apply([{ type: 'delete', kind: 'Service', key: 'demo/web' }])
  t.same(idsOf(state.snapshot()), [ECHO])
  state.apply([
    { type: 'delete', kind: 'Service', key: 'demo/echo' },
    { type: 'delete', kind: 'Service', key: 'demo/never-seen' },
    { type: 'delete', kind: 'EndpointSlice', key: 'demo/never-seen' },
    { type: 'delete', kind: 'Node', key: 'never-seen' },
  ])
  t.same(idsOf(state.snapshot()), [])
})

t.test('slices that outlive their Service serve it when it comes back', async (t) => {
  const state = stateWith(
    applyService(service()),
    applySlice(endpointSlice({ endpoints: ['10.0.0.1'] })),
  )
  state.apply([{ type: 'delete', kind: 'Service', key: 'demo/echo' }])
  state.apply([applyService(service())])
  t.same(endpointsOf(state.snapshot()), ['10.0.0.1:8080'])
})

t.test('a Service that becomes headless goes', async (t) => {
  const state = stateWith(applyService(service()))
  state.apply([applyService(service({ spec: { clusterIP: 'None' } }))])
  t.same(idsOf(state.snapshot()), [])
})

t.test('structural sharing', async (t) => {
  const initial = [
    applyService(service()),
    applySlice(endpointSlice({ endpoints: ['10.0.0.1', '10.0.0.2'] })),
    applyService(web),
    applySlice(webSlice),
  ]

  t.test('without a change the Snapshot itself is the same', async (t) => {
    const state = stateWith(...initial)
    const before = state.snapshot()
    state.apply(structuredClone(initial))
    t.equal(state.snapshot(), before, 'also after applying equal objects')
  })

  t.test('a change of one Service leaves the others as they are', async (t) => {
    const state = stateWith(...initial)
    const before = state.snapshot()
    state.apply([applySlice(endpointSlice({ endpoints: ['10.0.0.2', '10.0.0.3'] }))])
    const after = state.snapshot()
    t.equal(after.servicePorts.get(WEB), before.servicePorts.get(WEB))
    t.not(after.servicePorts.get(ECHO), before.servicePorts.get(ECHO))
    t.equal(
      after.servicePorts.get(ECHO)?.servicePort,
      before.servicePorts.get(ECHO)?.servicePort,
      'the part that is equal is shared',
    )
    t.equal(
      after.servicePorts.get(ECHO)?.endpoints[0],
      before.servicePorts.get(ECHO)?.endpoints[1],
      'and so is the endpoint that stayed',
    )
    t.same(endpointsOf(before), ['10.0.0.1:8080', '10.0.0.2:8080'], 'the old Snapshot is as it was')
    t.equal(after.generation, before.generation + 1)
  })

  t.test('an annotation that is not ours changes nothing', async (t) => {
    const state = stateWith(...initial)
    const before = state.snapshot()
    state.apply([applyService(service({ metadata: { annotations: { note: 'x' } } }))])
    t.equal(state.snapshot(), before)
  })

  t.test('a port of a Service that changes leaves its other ports as they are', async (t) => {
    const two = (port: number): ClusterChange =>
      applyService(
        service({
          spec: {
            ports: [
              { name: 'http', port: 80 },
              { name: 'other', port },
            ],
          },
        }),
      )
    const state = stateWith(two(81))
    const before = state.snapshot()
    state.apply([two(82)])
    t.equal(state.snapshot().servicePorts.get(ECHO), before.servicePorts.get(ECHO))
  })

  t.test('after any changes the Snapshot equals one made from scratch', async () => {
    const ips = fc.uniqueArray(fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3'))
    const change: fc.Arbitrary<ClusterChange> = fc.oneof(
      fc
        .record({ name: fc.constantFrom('a', 'b'), port: fc.constantFrom(80, 81) })
        .map((of) =>
          applyService(
            service({ name: of.name, spec: { ports: [{ name: 'http', port: of.port }] } }),
          ),
        ),
      fc
        .record({ name: fc.constantFrom('s', 't'), to: fc.constantFrom('a', 'b', 'c'), ips })
        .map((of) =>
          applySlice(endpointSlice({ name: of.name, serviceName: of.to, endpoints: of.ips })),
        ),
      fc.constantFrom('a', 'b').map((name): ClusterChange => {
        return { type: 'delete', kind: 'Service', key: `demo/${name}` }
      }),
      fc.constantFrom('s', 't').map((name): ClusterChange => {
        return { type: 'delete', kind: 'EndpointSlice', key: `demo/${name}` }
      }),
    )
    fc.assert(
      fc.property(fc.array(change), (changes) => {
        const state = new ClusterState({ nodeName: NODE })
        const latest = new Map<string, ClusterChange>()
        let previous: Snapshot = state.snapshot()
        for (const one of changes) {
          state.apply([one])
          const kind = one.type === 'apply' ? one.current.kind : one.kind
          latest.set(`${kind} ${one.key}`, one)
          const now = state.snapshot()
          const scratch = stateWith(...latest.values()).snapshot()
          sameStates(now, scratch)
          sharesEqualStates(previous, now)
          previous = now
        }
      }),
    )
  })
})

function sameStates(a: Snapshot, b: Snapshot): void {
  const left = JSON.stringify([...a.servicePorts])
  const right = JSON.stringify([...b.servicePorts])
  if (left !== right) throw new Error(`incremental: ${left}\nfrom scratch: ${right}`)
}

function sharesEqualStates(before: Snapshot, after: Snapshot): void {
  for (const [id, state] of after.servicePorts) {
    const old: ServicePortState | undefined = before.servicePorts.get(id)
    if (old !== undefined && old !== state && JSON.stringify(old) === JSON.stringify(state)) {
      throw new Error(`${id} is equal but not shared`)
    }
  }
}

t.test('the node', async (t) => {
  const hinted = (zone: string, address: string): object => ({
    addresses: [address],
    hints: { forZones: [{ name: zone }] },
  })
  const slice = endpointSlice()
  const endpoints = [hinted('a', '10.0.0.1'), hinted('b', '10.0.0.2')]
  const state = stateWith(
    applyService(service()),
    applySlice(Object.assign(slice, { endpoints })),
    applyService(web),
    applySlice(webSlice),
  )
  const cluster = (): string[] | undefined =>
    state
      .snapshot()
      .servicePorts.get(ECHO)
      ?.cluster.map(({ ip }) => ip)

  t.same(cluster(), ['10.0.0.1', '10.0.0.2'], 'without a zone the hints do not count')
  const before = state.snapshot()
  state.apply([applyNode(node({ zone: 'b' }))])
  t.same(cluster(), ['10.0.0.2'], 'a zone categorizes everything anew')
  t.equal(state.snapshot().servicePorts.get(WEB), before.servicePorts.get(WEB))

  const zoned = state.snapshot()
  state.apply([
    applyNode(
      node({
        zone: 'b',
        addresses: [
          { type: 'Hostname', address: 'node-1' },
          { type: 'ExternalIP', address: '203.0.113.9' },
          { type: 'InternalIP', address: '192.168.0.001' },
          { type: 'InternalIP', address: 'FD00::1' },
        ],
        podCidrs: ['10.0.0.7/24', 'fd00:1::/64'],
      }),
    ),
  ])
  t.strictSame(state.snapshot().node, {
    name: NODE,
    zone: 'b',
    addresses: ['192.168.0.1', 'fd00::1', '203.0.113.9'],
    podCidrs: ['10.0.0.0/24', 'fd00:1::/64'],
  })
  t.equal(state.snapshot().servicePorts.get(ECHO), zoned.servicePorts.get(ECHO))

  const addressed = state.snapshot()
  state.apply([applyNode(node({ name: 'node-2', zone: 'c' }))])
  t.equal(state.snapshot(), addressed, 'other nodes do not matter')
  state.apply([{ type: 'delete', kind: 'Node', key: NODE }])
  t.same(cluster(), ['10.0.0.1', '10.0.0.2'], 'a node that goes takes its zone along')
})

t.test('problems', async (t) => {
  const bad = applyService(service({ spec: { externalIPs: ['x'] } }))
  const dual = { clusterIPs: ['10.96.0.10', 'fd00::10'], ipFamilies: ['IPv4', 'IPv6'] }

  t.test('are reported once, however often the object comes', async (t) => {
    const state = stateWith(bad, bad)
    t.match(state.takeProblems(), [{ object: 'Service demo/echo', field: 'spec.externalIPs[0]' }])
    state.apply([bad])
    t.same(state.takeProblems(), [])
  })

  t.test('are reported once for both families', async (t) => {
    const state = stateWith(applyService(service({ spec: { ...dual, externalIPs: ['x'] } })))
    t.equal(state.takeProblems().length, 1)
  })

  t.test('are reported again when they were gone in between', async (t) => {
    const state = stateWith(bad, applyService(service()), bad)
    t.equal(state.takeProblems().length, 2)
  })

  t.test('of one object hurt no other', async (t) => {
    const state = stateWith(applyService(service({ name: 'web', spec: { clusterIP: 'x' } })), bad)
    t.same(idsOf(state.snapshot()), [ECHO])
  })

  t.test('are bounded in number', async (t) => {
    const externalIPs = Array.from({ length: 2500 }, (_, i) => `bad ${i}`)
    const state = stateWith(applyService(service({ spec: { externalIPs } })))
    const problems = state.takeProblems()
    t.equal(problems.length, 1001)
    t.match(problems.at(-1)?.message, /^1500 more problems/)
  })
})

t.test('an address of the node that is given comes before those of its object', async (t) => {
  const state = new ClusterState({ nodeName: NODE, nodeIp: '192.0.2.9' })
  t.strictSame(state.snapshot().node.addresses, ['192.0.2.9'], 'also without an object')
  const addresses = [
    { type: 'InternalIP', address: '10.0.1.1' },
    { type: 'ExternalIP', address: '192.0.2.9' },
  ]
  state.apply([applyNode(node({ name: NODE, addresses }))])
  t.strictSame(state.snapshot().node.addresses, ['192.0.2.9', '10.0.1.1'])
})
