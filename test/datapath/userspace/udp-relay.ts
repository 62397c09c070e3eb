/** What the UDP relay decides, on a native relay and a picker that are faked. */
import t, { type Test } from 'tap'

import { ClientSource } from '../../../src/datapath/userspace/client-source.js'
import { UdpRelay } from '../../../src/datapath/userspace/udp-relay.js'
import type { PlannedVip } from '../../../src/datapath/userspace/vip-plan.js'
import type {
  DatagramEnd,
  DatagramEvents,
  DatagramRelay,
  DatagramTarget,
} from '../../../src/kernel/datagram-relay.js'
import { closeSocket } from '../../../src/kernel/socket.js'
import type { Endpoint } from '../../../src/model/endpoint.js'
import type { Snapshot } from '../../../src/model/snapshot.js'
import { ConnectionLog } from '../../../src/observe/connection-log.js'
import { Traffic } from '../../../src/observe/traffic.js'
import type { EndpointPicker, NewConnection } from '../../../src/policy/endpoint-picker.js'
import { endpoint } from '../../fixtures/endpoint.js'
import { FakeClock } from '../../fixtures/fake-clock.js'

const ID = 'test/dns:53'
const VIP: PlannedVip = {
  key: 'UDP 127.0.0.1:0',
  servicePortId: ID,
  kind: 'cluster-ip',
  ipFamily: 'IPv4',
  protocol: 'UDP',
  address: '127.0.0.1',
  port: 0,
  action: 'balance',
  isNodeAddress: false,
  allowedSources: 'all',
}
const LISTENER = 7
const CLIENT = { address: '10.0.1.2', port: 40_000 }

/** Checks, as the real one does, that only a session that is open gets verdicts. */
class FakeRelay implements DatagramRelay {
  readonly log: string[] = []
  readonly open = new Set<number>()
  readonly #fds: number[] = []
  events: DatagramEvents | undefined

  listen(fd: number): number {
    this.#fds.push(fd)
    return LISTENER
  }
  unlisten(): void {
    this.log.push('unlisten')
    this.closeListeners()
  }
  closeListeners(): void {
    for (const fd of this.#fds.splice(0)) closeSocket(fd)
  }
  connect(slot: number, { port, source, attempt }: DatagramTarget): void {
    if (!this.open.has(slot)) throw new Error(`slot ${slot} is not open`)
    const from = source === undefined ? '' : ' from the client'
    this.log.push(`connect ${slot} to ${port}${from}, ${attempt}`)
  }
  stop(slot: number): void {
    if (!this.open.has(slot)) throw new Error(`slot ${slot} is not open`)
    this.log.push(`stop ${slot}`)
  }
  setTimeouts({ idleMs, streamMs, retryWithinMs }: Parameters<DatagramRelay['setTimeouts']>[0]) {
    this.log.push(`timeouts ${idleMs} ${streamMs} ${retryWithinMs}`)
  }
  counters() {
    const dropped = { droppedFull: 1, droppedError: 0, droppedTooLong: 0, droppedNoSession: 0 }
    return { sessions: this.open.size, sentUp: 2, sentDown: 3, ...dropped, evictions: 0 }
  }
  close(): void {
    this.log.push('close')
    this.closeListeners()
  }

  create(slot: number, client = CLIENT, listener = LISTENER): void {
    this.open.add(slot)
    this.events?.created(slot, listener, client)
  }
  end(slot: number, reason: DatagramEnd['reason'] = 'expired', hasReply = false): void {
    this.open.delete(slot)
    const bytes = { bytesToEndpoint: 12, bytesToClient: 345 }
    this.events?.closed(slot, { reason, errnoName: undefined, hasReply, ...bytes })
  }
}

/** Picks the first endpoint that was not tried; writes down what it is told. */
function fakePicker(
  endpoints: readonly Endpoint[],
  failing: ReadonlySet<Endpoint>,
  log: string[],
): EndpointPicker {
  const picker = {
    pick: (_: NewConnection, tried: readonly Endpoint[]) => {
      const found = endpoints.find((one) => !tried.includes(one))
      return found === undefined
        ? { verdict: 'exhausted' }
        : { verdict: 'endpoint', endpoint: found }
    },
    isFailing: (_: string, one: Endpoint) => failing.has(one),
    opened: (_: string, { port }: Endpoint) => log.push(`opened ${port}`),
    closed: (_: string, { port }: Endpoint) => log.push(`closed ${port}`),
    latency: (_: string, { port }: Endpoint, ms: number) => log.push(`latency ${port} ${ms}`),
    answered: (_: NewConnection, { port }: Endpoint) => log.push(`answered ${port}`),
    connected: (_: NewConnection, { port }: Endpoint) => log.push(`pinned ${port}`),
    connectFailed: (_: NewConnection, { port }: Endpoint) => log.push(`failed ${port}`),
  }
  return picker as unknown as EndpointPicker
}

interface Options {
  readonly ports?: readonly number[]
  readonly failingPorts?: readonly number[]
  readonly source?: string
}

async function setUp(t: Test, options: Options = {}) {
  const { ports = [8081, 8082, 8083, 8084], failingPorts = [], source } = options
  const native = new FakeRelay()
  t.teardown(() => {
    native.closeListeners()
  })
  const picked: string[] = []
  const lines: string[] = []
  const warnings: string[] = []
  const clock = new FakeClock()
  const traffic = new Traffic()
  const endpoints = ports.map((port) => endpoint('10.244.1.2', port))
  const failing = new Set(endpoints.filter(({ port }) => failingPorts.includes(port)))
  const log = new ConnectionLog({
    services: ['test/dns'],
    samplePercent: 100,
    perSecond: 100,
    clock,
    random: () => 0,
    write: ({ client, endpoint, outcome, attempts, bytesToEndpoint, bytesToClient }) => {
      lines.push(`${client} ${endpoint} ${outcome} ${attempts} ${bytesToEndpoint}/${bytesToClient}`)
    },
  })
  const relayOptions = {
    picker: fakePicker(endpoints, failing, picked),
    clock,
    attempts: 3,
    retryWithinMs: 1000,
    timeoutMs: 30_000,
    streamTimeoutMs: 120_000,
    maxSessions: 100,
    clientSource: new ClientSource(),
    traffic,
    log,
    warn: (message: string) => warnings.push(message),
    start: (events: DatagramEvents) => {
      native.events = events
      return native
    },
    sourceFor: () => source,
  }
  const relay = new UdpRelay(relayOptions)
  const refusedClients = new Set<string>()
  const listener = relay.vipListener(VIP, undefined, (ip) =>
    refusedClients.has(ip) ? undefined : VIP,
  )
  await listener.open()
  const counts = () => {
    const { activeConnections, totalConnections, failedConnections, retries } = traffic.read(ID)
    return [activeConnections, totalConnections, failedConnections, retries]
  }
  const parts = { native, relay, relayOptions, picked, lines, warnings, clock, listener }
  return { ...parts, refusedClients, counts, endpoints }
}

t.test('a session is given to an endpoint, counted, and forgotten when it ends', async (t) => {
  const { native, relay, picked, counts, lines } = await setUp(t)
  t.same(native.log.splice(0), ['timeouts 30000 120000 1000'])
  native.create(3)
  t.same(native.log.splice(0), ['connect 3 to 8081, 1'])
  // The client's next session may be in the same batch.
  t.same(picked.splice(0), ['opened 8081', 'pinned 8081'])
  native.events?.connected(3, 1)
  t.same(counts(), [1, 1, 0, 0])
  native.events?.answered(3, 1, 1.5)
  native.events?.answered(3, 1, undefined)
  t.same(picked.splice(0), ['latency 8081 1.5', 'answered 8081', 'answered 8081'])
  t.same([relay.sessionCount, ...relay.vipsInUse()], [1, VIP.key])
  native.end(3, 'expired', true)
  t.same(picked, ['closed 8081'])
  t.same(counts(), [0, 1, 0, 0])
  t.equal(relay.sessionCount, 0)
  t.same(lines, ['10.0.1.2:40000 10.244.1.2:8081 answered 1 12/345'])
})

t.test('what is refused goes to the next endpoint, as often as attempts allow', async (t) => {
  const { native, picked, counts, lines } = await setUp(t)
  native.create(0)
  for (const attempt of [1, 2, 3]) {
    native.events?.connected(0, attempt)
    native.events?.refused(0, attempt, false)
  }
  const connects = [8081, 8082, 8083].map((port, i) => `connect 0 to ${port}, ${i + 1}`)
  t.same(native.log.slice(1), [...connects, 'stop 0'])
  t.same(picked.slice(0, 4), ['opened 8081', 'pinned 8081', 'failed 8081', 'closed 8081'])
  t.same(counts(), [0, 3, 1, 3])
  native.end(0, 'ended')
  t.same(lines, ['10.0.1.2:40000 10.244.1.2:8083 unanswered 3 12/345'])
})

t.test('an answer gives back the attempts', async (t) => {
  const { native } = await setUp(t, { ports: [8081, 8082] })
  native.create(0)
  native.events?.refused(0, 1, false)
  native.events?.answered(0, 2, undefined)
  native.events?.refused(0, 2, false)
  t.same(native.log.slice(1), [
    'connect 0 to 8081, 1',
    'connect 0 to 8082, 2',
    'connect 0 to 8081, 3',
  ])
})

t.test('refused with nothing to send again is an end and a failure of the endpoint', async (t) => {
  const { native, picked, counts } = await setUp(t)
  native.create(0)
  native.events?.connected(0, 1)
  native.events?.refused(0, 1, true)
  native.end(0, 'ended')
  t.same(native.log.slice(1), ['connect 0 to 8081, 1'])
  t.same(picked.slice(2), ['failed 8081', 'closed 8081'])
  t.same(counts(), [0, 1, 0, 0])
})

t.test('a client that goes on at a failing endpoint moves, once', async (t) => {
  const { native, picked, counts } = await setUp(t, { failingPorts: [8081] })
  native.create(0)
  native.events?.connected(0, 1)
  native.events?.silent(0, 1)
  t.same(native.log.slice(1), ['connect 0 to 8081, 1', 'connect 0 to 8082, 2'])
  t.same(picked.slice(2), ['failed 8081', 'closed 8081', 'opened 8082', 'pinned 8082'])
  // What is told of the first endpoint came too late.
  native.events?.refused(0, 1, false)
  native.events?.answered(0, 1, 3)
  native.events?.silent(0, 1)
  t.equal(native.log.length, 3)
  // Nothing is known against the second one.
  native.events?.silent(0, 2)
  t.equal(native.log.length, 3)
  t.same(counts(), [0, 1, 0, 1])
})

t.test('a failing endpoint that is the only one keeps its sessions', async (t) => {
  const { native, counts } = await setUp(t, { ports: [8081], failingPorts: [8081] })
  native.create(0)
  native.events?.connected(0, 1)
  native.events?.silent(0, 1)
  t.same(native.log.slice(1), ['connect 0 to 8081, 1'])
  t.same(counts(), [1, 1, 0, 0])
})

t.test('sessions of an endpoint that no longer serves, or is closed, end', async (t) => {
  const { native, relay, endpoints, counts } = await setUp(t)
  for (const slot of [0, 1]) native.create(slot)
  native.events?.connected(0, 1)
  const snapshot = (isServing: boolean) =>
    ({
      servicePorts: new Map([[ID, { endpoints: endpoints.map((one) => ({ ...one, isServing })) }]]),
    }) as unknown as Snapshot
  relay.update(snapshot(true))
  t.equal(native.log.length, 3)
  relay.update(snapshot(false))
  t.same(native.log.slice(3), ['stop 0', 'stop 1'])
  t.same(counts(), [0, 1, 0, 0])
  t.same([...relay.vipsInUse()], [], 'they only wait for their end')
  relay.closeVip(VIP.key)
  t.equal(native.log.length, 5)
  native.create(2)
  relay.closeEndpoint('test/other', '10.244.1.2:8081')
  relay.closeEndpoint(ID, '10.244.1.2:8082')
  t.equal(native.log.length, 6)
  relay.closeEndpoint(ID, '10.244.1.2:8081')
  t.same(native.log.slice(6), ['stop 2'])
})

t.test('whom the VIP does not serve, or no longer, has no session', async (t) => {
  const { native, relay, listener, refusedClients, counts } = await setUp(t)
  refusedClients.add(CLIENT.address)
  native.create(0)
  t.same(native.log.slice(1), ['stop 0'])
  native.end(0, 'ended')
  refusedClients.clear()
  native.create(1)
  native.create(2, { address: '10.0.1.3', port: 1 })
  refusedClients.add(CLIENT.address)
  listener.setVip({ ...VIP, allowedSources: [] })
  t.same(native.log.slice(-1), ['stop 1'])
  await listener.close()
  native.create(3)
  t.same(native.log.slice(-2), ['unlisten', 'stop 3'])
  t.equal(relay.sessionCount, 2)
  t.same(counts(), [0, 0, 0, 0])
})

t.test('no endpoint, and no socket of this host, are failures', async (t) => {
  const none = await setUp(t, { ports: [] })
  none.native.create(0)
  t.same(none.native.log.slice(1), ['stop 0'])
  none.native.end(0, 'ended')
  t.same(none.counts(), [0, 0, 1, 0])
  t.same(none.lines, ['10.0.1.2:40000 undefined no-endpoint 0 12/345'])

  const { native, counts, lines, picked } = await setUp(t, { source: '10.0.1.2' })
  native.create(0)
  t.same(native.log.slice(1), ['connect 0 to 8081 from the client, 1'])
  native.end(0, 'failed')
  t.same(counts(), [0, 0, 1, 0])
  t.same(picked.slice(-1), ['closed 8081'], 'no reason to think less of it')
  t.same(lines, ['10.0.1.2:40000 undefined no-endpoint 0 12/345'])
})

t.test('a full table is counted, and told of once a minute', async (t) => {
  const { native, relay, warnings, clock } = await setUp(t)
  for (let slot = 0; slot < 3; slot++) {
    native.create(slot)
    native.end(slot, 'evicted')
  }
  t.equal(relay.evictions, 3)
  t.equal(warnings.length, 1)
  t.match(warnings[0], /all 100 sessions are in use \(--udp-max-sessions\).* 1 so far/)
  await clock.advance(60_000)
  native.create(0)
  native.end(0, 'evicted')
  t.match(warnings[1], / 4 so far/)
})

t.test('time-outs that change are told to the relay', async (t) => {
  const { native, relay, relayOptions } = await setUp(t)
  relayOptions.timeoutMs = 5000
  relay.reconfigure()
  relay.reconfigure()
  t.same(native.log.slice(1), ['timeouts 5000 120000 1000'])
  relayOptions.streamTimeoutMs = 6000
  native.create(0)
  t.same(native.log.slice(2), ['timeouts 5000 6000 1000', 'connect 0 to 8081, 1'])
})

t.test('the sessions of a client are found; closing ends all in the books', async (t) => {
  const { native, relay, counts, lines } = await setUp(t)
  native.create(0)
  native.create(1, { ...CLIENT, port: 40_001 })
  const of = (clientIp: string, clientPort?: number) =>
    relay.sessionsOf({ servicePortId: ID, protocol: 'UDP', clientIp, clientPort })
  t.same(of(CLIENT.address, CLIENT.port), [
    { clientPort: CLIENT.port, endpoint: '10.244.1.2:8081' },
  ])
  t.equal(of(CLIENT.address).length, 2)
  t.same(of(CLIENT.address, 1), [])
  t.same(of('10.0.1.3'), [])
  native.events?.connected(0, 1)
  relay.close()
  t.same(native.log.slice(-1), ['close'])
  t.same([relay.sessionCount, ...counts()], [0, 0, 1, 0, 0])
  t.equal(lines.length, 2)
  t.same(relay.datagrams(), {
    toEndpoint: 2,
    toClient: 3,
    dropped: { full: 1, error: 0, 'too-long': 0, behind: 0 },
  })
})

t.test('the thread is started by the first listener', async (t) => {
  const { relayOptions } = await setUp(t)
  const relay = new UdpRelay(relayOptions)
  t.equal(relay.datagrams(), undefined)
  relay.close()
})
