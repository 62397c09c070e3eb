/** What stands before every balancer, whichever it is: zone hints, weight 0, session affinity. */
import t from 'tap'
import { ClusterState } from '../../src/model/cluster-state.js'
import { AffinityTable } from '../../src/policy/affinity.js'
import { BALANCER_NAMES } from '../../src/policy/balancer/registry.js'
import { BALANCER_DEFAULTS } from '../../src/policy/balancer/settings.js'
import { EndpointPicker, type NewConnection } from '../../src/policy/endpoint-picker.js'
import { seededRandom } from '../fixtures/balancing.js'
import { FakeClock } from '../fixtures/fake-clock.js'
import {
  applyNode,
  applyService,
  applySlice,
  endpointSlice,
  node,
  service,
} from '../fixtures/objects.js'

const HOUR = 3600
const here = ['10.0.1.1', '10.0.1.2', '10.0.1.3']
const there = ['10.0.2.1', '10.0.2.2']

/** Three endpoints for zone a, one of which drains, and two for zone b; this node is in zone a. */
function cluster(weights: Readonly<Record<string, number>>, spec: object = {}): ClusterState {
  const hinted = (zone: string) => (address: string) => ({
    addresses: [address],
    conditions: { ready: true },
    zone,
    hints: { forZones: [{ name: zone }] },
  })
  const slice = endpointSlice({ endpoints: [...here.map(hinted('a')), ...there.map(hinted('b'))] })
  slice.metadata!.annotations = { 'kube-sluice.io/weights': JSON.stringify(weights) }
  const state = new ClusterState({ nodeName: 'node-1' })
  state.apply([applyNode(node({ zone: 'a' })), applyService(service({ spec })), applySlice(slice)])
  return state
}

/** Where so many connections of different clients go; each of them stays open. */
function addressesOf(picker: EndpointPicker, clients: number, times = 1): string[][] {
  return Array.from({ length: clients }, (_, client) =>
    Array.from({ length: times }, (_, i) => {
      const connection: NewConnection = {
        servicePortId: 'demo/echo:http/TCP/IPv4',
        kind: 'cluster-ip',
        source: 'other',
        clientIp: `10.9.${client >> 8}.${client & 255}`,
        clientPort: 1024 + i * 97,
      }
      const pick = picker.pick(connection, [])
      if (pick.verdict !== 'endpoint') return pick.verdict
      picker.opened(connection.servicePortId, pick.endpoint)
      picker.connected(connection, pick.endpoint)
      return pick.endpoint.ip
    }),
  )
}

for (const name of BALANCER_NAMES) {
  const setUp = () =>
    new EndpointPicker({
      affinity: new AffinityTable({ maxClients: 1000 }),
      clock: new FakeClock(),
      random: seededRandom(5),
      balancers: { ...BALANCER_DEFAULTS, name },
    })

  t.test(`${name}: only endpoints for this zone, and none that drains`, async (t) => {
    const picker = setUp()
    picker.update(cluster({}).snapshot())
    t.strictSame([...new Set(addressesOf(picker, 300).flat())].sort(), here)
    picker.update(cluster({ [here[1]!]: 0 }).snapshot())
    t.strictSame([...new Set(addressesOf(picker, 300).flat())].sort(), [here[0], here[2]])
    const none = Object.fromEntries([...here, ...there].map((address) => [address, 0]))
    picker.update(cluster(none).snapshot())
    t.strictSame([...new Set(addressesOf(picker, 20).flat())], ['reject'], 'all of them drain')
  })

  t.test(`${name}: with session affinity a client stays, until its endpoint drains`, async (t) => {
    const picker = setUp()
    const spec = {
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: HOUR } },
    }
    picker.update(cluster({}, spec).snapshot())
    const before = addressesOf(picker, 100, 4)
    for (const one of before) t.equal(new Set(one).size, 1)
    t.equal(new Set(before.flat()).size, 3, 'different clients are spread')
    picker.update(cluster({ [here[1]!]: 0 }, spec).snapshot())
    const after = addressesOf(picker, 100, 2)
    for (const [client, addresses] of after.entries()) {
      t.equal(new Set(addresses).size, 1)
      if (before[client]![0] === here[1]) t.not(addresses[0], here[1], `client ${client}`)
      else t.equal(addresses[0], before[client]![0], `client ${client}`)
    }
  })
}
