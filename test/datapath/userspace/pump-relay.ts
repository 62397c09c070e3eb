/** What the relay decides for connections of the pump; the pump is played by the test. */
import t, { type Test } from 'tap'

import type { Pump, PumpEnd, PumpEvents, PumpTarget } from '../../../src/kernel/connection-pump.js'
import { ClientSource } from '../../../src/datapath/userspace/client-source.js'
import { PumpRelay } from '../../../src/datapath/userspace/pump-relay.js'
import type { Endpoint } from '../../../src/model/endpoint.js'
import { Traffic } from '../../../src/observe/traffic.js'
import type { EndpointPicker, NewConnection } from '../../../src/policy/endpoint-picker.js'
import { closeSocket } from '../../../src/kernel/socket.js'
import type { ListenAddress } from '../../../src/datapath/userspace/vip-listener.js'
import type { PlannedVip } from '../../../src/datapath/userspace/vip-plan.js'
import { ConnectionLog } from '../../../src/observe/connection-log.js'
import { FakeClock } from '../../fixtures/fake-clock.js'
import { RetryBudget } from '../../../src/policy/retry-budget.js'
import { endpoint } from '../../fixtures/endpoint.js'

const ID = 'test/web:80'
const VIP: PlannedVip = {
  key: 'TCP 127.0.0.1:0',
  servicePortId: ID,
  kind: 'cluster-ip',
  ipFamily: 'IPv4',
  protocol: 'TCP',
  address: '127.0.0.1',
  port: 0,
  action: 'balance',
  isNodeAddress: false,
  allowedSources: 'all',
}
const LISTENER = 7
const NONE_AHEAD = { handOvers: 0, picksUsed: 0 }
const CLIENT = { address: '10.0.1.2', port: 40_000 }

/** Checks, as the real one does, that only a connection that waits for a verdict gets one. */
class FakePump implements Pump {
  readonly log: string[] = []
  readonly waiting = new Set<number>()
  events: PumpEvents | undefined
  isClosed = false

  readonly #listening: number[] = []

  listen(fd: number): number {
    this.#listening.push(fd)
    return LISTENER
  }
  unlisten(): void {
    this.log.push('unlisten')
    this.closeListeners()
  }
  closeListeners(): void {
    for (const fd of this.#listening.splice(0)) closeSocket(fd)
  }
  connect(slot: number, { port, source, timeoutMs, patienceMs, firstByteMs }: PumpTarget): void {
    if (!this.waiting.delete(slot)) throw new Error(`slot ${slot} does not wait`)
    const from = source === undefined ? '' : ` from ${source[0]}`
    const patience = patienceMs < timeoutMs ? `, silent after ${patienceMs}` : ''
    const byte = firstByteMs === 0 ? '' : `, mute after ${firstByteMs}`
    this.log.push(`connect ${slot} to ${port}${from} in ${timeoutMs}${patience}${byte}`)
  }
  reset(slot: number): void {
    this.waiting.delete(slot)
    this.log.push(`reset ${slot}`)
  }
  wait(slot: number): void {
    if (!this.waiting.delete(slot)) throw new Error(`slot ${slot} does not wait`)
    this.log.push(`wait ${slot}`)
  }
  /** Ports of endpoints picked ahead. */
  readonly ahead: number[] = []
  pick(_listener: number, targets: readonly PumpTarget[]): void {
    this.ahead.push(...targets.map(({ port }) => port))
  }
  unpick(): number {
    return this.ahead.splice(0).length
  }
  setTimeouts(idleMs: number, halfClosedMs: number): void {
    this.log.push(`timeouts ${idleMs} ${halfClosedMs}`)
  }
  counters() {
    const none = { open: 0, accepts: 0, acceptsRefused: 0, acceptPauses: 0 }
    return { ...none, bytesSpliced: 0, bytesCopied: 0, pipes: 0, pipesMissed: 3, ...NONE_AHEAD }
  }
  close(): void {
    this.isClosed = true
  }

  accept(slot: number, listener = LISTENER): void {
    this.waiting.add(slot)
    this.events?.accepted(slot, listener, CLIENT, undefined)
  }
  /** By the pick that is next. */
  acceptPicked(slot: number): number | undefined {
    const port = this.ahead.shift()
    this.events?.acceptedPicked(slot, LISTENER, CLIENT)
    return port
  }
  fail(slot: number, errnoName: string): void {
    this.waiting.add(slot)
    this.events?.failed(slot, errnoName)
  }
  isSilent(slot: number): void {
    this.waiting.add(slot)
    this.events?.silent(slot)
  }
  end(slot: number, end: PumpEnd = 'closed'): void {
    this.events?.closed(slot, end, 12, 345)
  }
  giveBack(slot: number): void {
    this.waiting.add(slot)
    this.events?.returned(slot)
  }
}

/** What the picker was told, and the Service port as it has it. */
class Picked extends Array<string> {
  state: object = {}
}

/** Picks the first endpoint that was not tried, ahead all in turn; writes down what it is told. */
function fakePicker(
  endpoints: readonly Endpoint[],
  log: Picked,
  patienceMs: number | undefined,
  firstByteMs: number,
): EndpointPicker {
  let turn = 0
  const picker = {
    pick: (_connection: NewConnection, tried: readonly Endpoint[]) => {
      const found = endpoints.find((one) => !tried.includes(one))
      return found === undefined
        ? { verdict: 'exhausted' }
        : { verdict: 'endpoint', endpoint: found }
    },
    pickAhead: () => endpoints[turn++ % endpoints.length],
    stateOf: () => log.state,
    opened: (_id: string, { port }: Endpoint) => log.push(`opened ${port}`),
    closed: (_id: string, { port }: Endpoint) => log.push(`closed ${port}`),
    latency: (_id: string, { port }: Endpoint, ms: number) => log.push(`latency ${port} ${ms}`),
    patienceMs: () => patienceMs,
    firstByteMs: () => firstByteMs,
    answered: (_connection: NewConnection, { port }: Endpoint) =>
      firstByteMs === 0 || log.push(`answered ${port}`),
    spoke: (_connection: NewConnection, { port }: Endpoint) => log.push(`spoke ${port}`),
    wasMute: (_connection: NewConnection, { port }: Endpoint) => log.push(`mute ${port}`),
    connected: (_connection: NewConnection, { port }: Endpoint) => log.push(`pinned ${port}`),
    connectFailed: (_connection: NewConnection, { port }: Endpoint) => log.push(`failed ${port}`),
  }
  return picker as unknown as EndpointPicker
}

interface Options {
  readonly maxConnections?: number
  readonly source?: string
  readonly ports?: readonly number[]
  readonly patienceMs?: number
  readonly firstByteMs?: number
  readonly picksAhead?: boolean
}

async function setUp(t: Test, options: Options = {}) {
  const { maxConnections = 10, source, ports = [8081, 8082, 8083, 8084], patienceMs } = options
  const pump = new FakePump()
  t.teardown(() => {
    pump.closeListeners()
  })
  const picked = new Picked()
  const traffic = new Traffic()
  const endpoints = ports.map((port) => endpoint('10.244.1.2', port))
  const lines: string[] = []
  const log = new ConnectionLog({
    services: ['test/web'],
    samplePercent: 100,
    perSecond: 100,
    clock: new FakeClock(),
    random: () => 0,
    write: ({ vip, client, endpoint, outcome, attempts, bytesToEndpoint, bytesToClient }) => {
      const bytes = `${bytesToEndpoint}/${bytesToClient}`
      lines.push(`${client} ${vip} ${endpoint} ${outcome} ${attempts} ${bytes}`)
    },
  })
  const budget = new RetryBudget({ percent: 20, minConcurrency: 2 })
  const relayOptions = {
    services: {
      picker: fakePicker(endpoints, picked, patienceMs, options.firstByteMs ?? 0),
      budget,
      attempts: 3,
      timeoutMs: 1000,
      openConnections: () => 1,
    },
    clientSource: new ClientSource(),
    traffic,
    maxConnections,
    log: options.picksAhead === true ? undefined : log,
    idleMs: 5000,
    halfClosedMs: 600,
  }
  const relay = new PumpRelay(relayOptions, {
    start: (events) => {
      pump.events = events
      return pump
    },
    sourceFor: () => source,
    hidesClients: options.picksAhead === true,
  })
  const refusedClients = new Set<string>()
  const listener = relay.vipListener(VIP, (ip) => (refusedClients.has(ip) ? undefined : VIP))
  await listener.open()
  pump.log.length = 0
  const counts = () => {
    const { activeConnections, totalConnections, failedConnections, retries } = traffic.read(ID)
    return [activeConnections, totalConnections, failedConnections, retries]
  }
  return {
    pump,
    relay,
    relayOptions,
    picked,
    traffic,
    budget,
    listener,
    refusedClients,
    counts,
    lines,
  }
}

t.test('a connection is given to an endpoint, counted, and forgotten when it ends', async (t) => {
  const { pump, relay, picked, counts } = await setUp(t)
  pump.accept(3)
  t.same(pump.log.splice(0), ['connect 3 to 8081 in 1000'])
  t.equal(relay.connectionCount, 1)
  pump.events?.connected(3, 1.5)
  t.same(picked.splice(0), ['opened 8081', 'latency 8081 1.5', 'pinned 8081'])
  t.same(counts(), [1, 1, 0, 0])
  t.same([...relay.addressesInUse()], ['127.0.0.1'])
  let isIdle = false
  const idle = relay.idle().then(() => (isIdle = true))
  t.equal(isIdle, false)
  pump.end(3)
  await idle
  t.same(picked, ['closed 8081'])
  t.same(counts(), [0, 1, 0, 0])
  t.equal(relay.connectionCount, 0)
  await relay.idle()
})

t.test('a failed connect goes to the next endpoint, as often as attempts allow', async (t) => {
  const { pump, picked, counts, budget } = await setUp(t)
  pump.accept(0)
  pump.fail(0, 'ECONNREFUSED')
  t.equal(budget.underWay, 1)
  pump.fail(0, 'ETIMEDOUT')
  t.same(counts(), [0, 0, 0, 2])
  pump.fail(0, 'ECONNREFUSED')
  t.same(pump.log, [...[8081, 8082, 8083].map((port) => `connect 0 to ${port} in 1000`), 'reset 0'])
  t.same(counts(), [0, 0, 1, 2])
  t.equal(budget.underWay, 0)
  t.same(picked.slice(0, 3), ['opened 8081', 'closed 8081', 'failed 8081'])
  pump.end(0)
  t.same(counts(), [0, 0, 1, 2])
})

t.test('a failure of this host is not held against the endpoint', async (t) => {
  const { pump, picked } = await setUp(t)
  pump.accept(0)
  pump.fail(0, 'EADDRNOTAVAIL')
  t.same(picked, ['opened 8081', 'closed 8081', 'opened 8082'])
})

t.test('retries stop when the budget is spent', async (t) => {
  const { pump, counts } = await setUp(t)
  for (const slot of [0, 1, 2]) {
    pump.accept(slot)
    pump.fail(slot, 'ETIMEDOUT')
  }
  t.same(pump.log.slice(-1), ['reset 2'])
  t.same(counts(), [0, 0, 1, 2])
})

t.test(
  'one that the endpoint reset before a byte went either way is tried elsewhere',
  async (t) => {
    const { pump, picked, counts } = await setUp(t)
    pump.accept(0)
    pump.events?.connected(0, 1)
    pump.giveBack(0)
    t.same(pump.log.slice(-1), ['connect 0 to 8082 in 1000'])
    t.same(counts(), [0, 1, 0, 1])
    t.same(picked.slice(-3), ['closed 8081', 'failed 8081', 'opened 8082'])
    pump.events?.connected(0, 1)
    t.same(counts(), [1, 2, 0, 1])
  },
)

t.test('what ends while it connects leaves nothing behind', async (t) => {
  const { pump, relay, picked, counts } = await setUp(t)
  pump.accept(0)
  relay.resetAll()
  // The connect failed before the pump saw the reset: no further try.
  pump.fail(0, 'ECONNREFUSED')
  t.same(pump.log, ['connect 0 to 8081 in 1000', 'reset 0'])
  pump.end(0)
  t.same(picked, ['opened 8081', 'closed 8081'])
  t.same(counts(), [0, 0, 0, 0])
})

t.test('the connections of one endpoint are reset', async (t) => {
  const { pump, relay } = await setUp(t)
  for (const slot of [0, 1]) pump.accept(slot)
  pump.events?.connected(0, 1)
  relay.resetEndpoint(ID, '10.244.1.2:8081')
  // Slot 1 still connects: it has no endpoint yet.
  t.same(pump.log.slice(2), ['reset 0'])
  relay.resetEndpoint('test/other', '10.244.1.2:8081')
  t.equal(pump.log.length, 3)
  pump.giveBack(0)
  t.equal(pump.log.length, 3, 'it is on its way out')
})

t.test('whom the VIP does not serve is reset, and so is what came too late', async (t) => {
  const { pump, relay, listener, refusedClients, counts } = await setUp(t)
  refusedClients.add(CLIENT.address)
  pump.accept(0)
  refusedClients.clear()
  await listener.close()
  pump.accept(1)
  t.same(pump.log, ['reset 0', 'unlisten', 'reset 1'])
  pump.end(0)
  t.equal(relay.connectionCount, 0)
  t.same(counts(), [0, 0, 0, 0])
})

t.test('more than max-connections are reset and counted', async (t) => {
  const { pump, traffic, counts } = await setUp(t, { maxConnections: 1 })
  pump.accept(0)
  pump.accept(1)
  t.same(pump.log, ['connect 0 to 8081 in 1000', 'reset 1'])
  t.equal(traffic.rejectedByLimit, 1)
  t.same(counts(), [0, 0, 1, 0])
})

t.test('a client may keep its address; no endpoint is a refusal', async (t) => {
  const { pump } = await setUp(t, { source: '1.0.0.0' })
  pump.accept(0)
  t.match(pump.log, [/^connect 0 to 8081 from \d+ in 1000$/])
  const none = await setUp(t, { ports: [] })
  none.pump.accept(0)
  t.same(none.pump.log, ['reset 0'])
  t.same(none.counts(), [0, 0, 1, 0])
})

t.test('time-outs that change are told to the pump', async (t) => {
  const { pump, relay, relayOptions } = await setUp(t)
  relayOptions.idleMs = 70
  pump.accept(0)
  pump.accept(1)
  t.same(pump.log.slice(0, 1), ['timeouts 70 600'])
  t.equal(pump.log.length, 3)
  t.equal(relay.pipesMissed, 3)
})

t.test('closing ends every connection in the books', async (t) => {
  const { pump, relay, picked, counts } = await setUp(t)
  pump.accept(0)
  pump.events?.connected(0, 1)
  pump.accept(1)
  relay.close()
  t.ok(pump.isClosed)
  t.equal(relay.connectionCount, 0)
  t.same(counts(), [0, 1, 0, 0])
  t.same(picked.slice(-2), ['closed 8081', 'closed 8081'])
})

t.test('redirected connections are served by their destination', async (t) => {
  const { pump, relay } = await setUp(t)
  const asked: string[] = []
  const listener = relay.redirectListener('IPv4', ({ address, port }, ip) => {
    asked.push(`${ip} to ${address}:${port}`)
    return VIP
  })
  t.equal(listener.local, undefined)
  await listener.open()
  t.ok((listener.local as unknown as ListenAddress).port > 0)
  pump.waiting.add(0)
  pump.events?.accepted(0, LISTENER, CLIENT, { address: '10.96.0.10', port: 80 })
  t.same(asked, ['10.0.1.2 to 10.96.0.10:80'])
  // Somebody found the port by himself.
  pump.accept(1)
  t.same(pump.log.slice(-1), ['reset 1'])
  await listener.close()
})

t.test('a silent connect is left for another endpoint, or waited for', async (t) => {
  const { pump, picked, counts, budget } = await setUp(t, { ports: [8081, 8082], patienceMs: 99.5 })
  pump.accept(0)
  t.same(pump.log.splice(0), ['connect 0 to 8081 in 1000, silent after 100'])
  pump.isSilent(0)
  t.same(pump.log.splice(0), ['connect 0 to 8082 in 1000, silent after 100'])
  t.same(picked, ['opened 8081', 'failed 8081', 'closed 8081', 'opened 8082'])
  // No other endpoint is left.
  pump.isSilent(0)
  t.same(pump.log.splice(0), ['wait 0'])
  pump.events?.connected(0, 700)
  t.same(counts(), [1, 1, 0, 1])
  t.equal(budget.underWay, 0)
})

t.test('where a first byte is waited for it tells of health, not the connect', async (t) => {
  const { pump, picked } = await setUp(t, { ports: [8081], firstByteMs: 500 })
  pump.accept(0)
  t.same(pump.log, ['connect 0 to 8081 in 1000, mute after 500'])
  pump.events?.connected(0, 1)
  t.same(picked.splice(0), ['opened 8081', 'latency 8081 1', 'pinned 8081'])
  pump.events?.mute(0)
  pump.events?.spoke(0)
  t.same(picked.splice(0), ['mute 8081', 'spoke 8081'])
  pump.end(0)
  pump.events?.mute(0)
  t.same(picked, ['closed 8081'], 'what comes late is nobody any more')
})

t.test('the connection log has a line of each', async (t) => {
  const { pump, lines } = await setUp(t, { maxConnections: 3, ports: [8081] })
  for (const slot of [0, 1, 2, 3]) pump.accept(slot)
  pump.events?.connected(0, 1)
  pump.events?.connected(1, 1)
  pump.fail(2, 'ECONNREFUSED')
  pump.end(0)
  pump.end(1, 'timed-out')
  pump.end(2, 'reset')
  const head = '10.0.1.2:40000 127.0.0.1:0'
  t.same(lines, [
    `${head} undefined limit 0 undefined/undefined`,
    `${head} 10.244.1.2:8081 closed 1 12/345`,
    `${head} 10.244.1.2:8081 timed-out 1 12/345`,
    `${head} undefined no-endpoint 1 12/345`,
  ])
})

t.test('the connections of a client are found', async (t) => {
  const { pump, relay } = await setUp(t)
  pump.accept(0)
  pump.events?.connected(0, 1)
  pump.accept(1)
  const of = (clientIp: string, clientPort?: number) =>
    relay.connectionsOf({ servicePortId: ID, protocol: 'TCP', clientIp, clientPort })
  t.same(of(CLIENT.address, CLIENT.port), [
    { clientPort: CLIENT.port, endpoint: '10.244.1.2:8081' },
    { clientPort: CLIENT.port, endpoint: undefined },
  ])
  t.same(of(CLIENT.address, 1), [])
  t.equal(of(CLIENT.address).length, 2)
  t.same(of('10.0.1.3'), [])
})

t.test('connections that are picked ahead are counted as any other', async (t) => {
  const { pump, relay, picked, counts } = await setUp(t, { picksAhead: true, maxConnections: 20 })
  pump.accept(0)
  t.same(pump.ahead, [], 'not while others of the batch may come')
  pump.events?.batchSeen()
  t.same(pump.ahead, [8081, 8082, 8083, 8084, 8081, 8082, 8083, 8084])
  pump.log.length = picked.length = 0
  t.equal(pump.acceptPicked(1), 8081)
  t.equal(pump.acceptPicked(2), 8082)
  pump.events?.connected(2, 1.5)
  t.same(pump.log, [], 'nothing is asked of the pump')
  t.same(picked, ['opened 8081', 'opened 8082', 'latency 8082 1.5', 'pinned 8082'])
  t.same(counts(), [1, 1, 0, 0])
  t.equal(relay.connectionCount, 3)
  // Fails over like any other; nobody goes to the others that were picked before that was known.
  pump.fail(1, 'ECONNREFUSED')
  t.same(pump.log, ['connect 1 to 8082 in 1000'])
  t.same(pump.ahead, [])
  t.same(counts(), [1, 1, 0, 1])
  pump.events?.batchSeen()
  t.same(pump.ahead, [8081, 8082, 8083, 8084, 8081, 8082, 8083, 8084], 'filled up again')
})

t.test('more is picked ahead where more connections come', async (t) => {
  const { pump } = await setUp(t, { picksAhead: true, maxConnections: 10_000 })
  pump.accept(0)
  pump.events?.batchSeen()
  for (let slot = 1; slot <= 8; slot++) pump.acceptPicked(slot)
  pump.events?.batchSeen()
  t.equal(pump.ahead.length, 32)
  for (let slot = 100; slot < 1000; slot++) pump.accept(slot)
  pump.events?.batchSeen()
  t.equal(pump.ahead.length, 512)
  pump.accept(1000)
  pump.events?.batchSeen()
  t.equal(pump.ahead.length, 512, 'no more than there may be')
})

t.test('what was picked before a change is taken back', async (t) => {
  const { pump, relay, picked, listener } = await setUp(t, { picksAhead: true })
  pump.accept(0)
  pump.events?.batchSeen()
  relay.repick('changed')
  t.equal(pump.ahead.length, 8, 'nothing has changed')
  picked.state = {}
  relay.repick('changed')
  t.equal(pump.ahead.length, 0)
  pump.accept(1)
  pump.events?.batchSeen()
  t.equal(pump.ahead.length, 8)
  relay.repick('all')
  t.equal(pump.ahead.length, 0)
  pump.accept(2)
  pump.events?.batchSeen()
  await listener.close()
  pump.acceptPicked(3)
  t.same(pump.log.slice(-1), ['reset 3'])
})

t.test('picks ahead leave the limit of connections exact', async (t) => {
  const { pump, traffic } = await setUp(t, { picksAhead: true, maxConnections: 4 })
  pump.accept(0)
  pump.events?.batchSeen()
  t.equal(pump.ahead.length, 3)
  pump.acceptPicked(1)
  // By another listener: what the first has ahead is taken back for it.
  pump.accept(2)
  t.equal(pump.ahead.length, 0)
  pump.accept(3)
  pump.events?.batchSeen()
  pump.accept(4)
  t.equal(traffic.rejectedByLimit, 1)
  t.same(pump.log.slice(-1), ['reset 4'])
})

t.test('nothing is picked ahead where the client matters', async (t) => {
  const keeps = await setUp(t)
  keeps.pump.accept(0)
  keeps.pump.events?.batchSeen()
  t.same(keeps.pump.ahead, [])
})
