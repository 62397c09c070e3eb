/**
 * What one verdict of the nfqueue mode costs without a kernel: raw batches of SYN records go through the
 * loop, the look-ups, the balancer and the flow table, from a queue that is always full. Verdicts per
 * second of one core, and bytes allocated for each, in steady state (every Service port has had a
 * connection). Accepting every record as it is, by the same loop, is the peer.
 *
 *   node --expose-gc --min-semi-space-size=64 --max-semi-space-size=64 perf/micro/steering.mjs
 *
 * The young generation is large enough for what a measurement allocates, so nothing is collected while
 * bytes are counted.
 */
import { getHeapStatistics } from 'node:v8'
import { ConnectionCounts } from '../../dist/datapath/nfqueue/connection-counts.js'
import { SteeringLoop } from '../../dist/datapath/nfqueue/steering-loop.js'
import { FlowTable } from '../../dist/datapath/nfqueue/flow-table.js'
import { Steering } from '../../dist/datapath/nfqueue/steering.js'
import { SteeringCounters } from '../../dist/datapath/nfqueue/steering-counters.js'
import { SteeredConnections } from '../../dist/datapath/nfqueue/steered-connections.js'
import { packEndpoints } from '../../dist/datapath/nfqueue/steered-port.js'
import { VipTable } from '../../dist/datapath/nfqueue/vip-table.js'
import { addressWords } from '../../dist/packet/address-words.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../dist/packet/mark-layout.js'
import { CONNTRACK_WORDS, ConntrackType, ConntrackWord } from '../../dist/packet/conntrack-word.js'
import { IpProtocol, PACKET_WORDS, PacketFlag, PacketWord } from '../../dist/packet/packet-word.js'
import { TcpFlag, Verdict } from '../../dist/packet/packet-word.js'
import { TcpState } from '../../dist/packet/tcp-state.js'
import { AffinityTable } from '../../dist/policy/affinity.js'
import { BALANCER_NAMES } from '../../dist/policy/balancer/registry.js'
import { BALANCER_DEFAULTS } from '../../dist/policy/balancer/settings.js'
import { EndpointPicker } from '../../dist/policy/endpoint-picker.js'
import { SteadyClock } from '../../dist/kernel/steady-clock.js'
import { randomFrom } from '../../dist/lib/random.js'
import { median, table } from '../statistics.mjs'

const BATCH = 64
const VERDICTS = 64_000
const ROUNDS = 3
/** Until every Service port has been unpacked, and the compiler is done with all of it. */
const WARM_UPS = 4
const SYN_BYTES = 60
/** The loop takes events in after 8 batches: two for each packet of 8 batches of 4. */
const EVENTS = 64
const CASES = [
  ...BALANCER_NAMES.filter((name) => name !== 'plugin').map((balancer) => ({ balancer })),
  { balancer: 'round-robin', affinity: true },
  { balancer: 'round-robin', batch: 1 },
  { balancer: 'round-robin', batch: 4, isAnswered: true },
  { balancer: 'round-robin', ports: 2500, endpoints: 100 },
]

const gc = globalThis.gc
if (gc === undefined) {
  console.error('perf: start it as its first lines say')
  process.exit(2)
}
const clock = new SteadyClock()
const layout = markLayoutOf(DEFAULT_MARK_MASK)
const address = (first, n) => `10.${first + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`

/** A Service port as the main thread tells it to the steering thread. */
function packedPort(n, { balancer, affinity, endpoints }) {
  const reachable = Array.from({ length: endpoints }, (_, i) => {
    const slot = n * endpoints + i + 1
    return { slot, ip: address(128, slot), port: 8080, weight: 1, isReady: true }
  })
  const vip = address(96, n + 1)
  return {
    servicePort: {
      id: `perf/s${n}:http/TCP/IPv4`,
      ...{ namespace: 'perf', name: `s${n}`, portName: 'http', protocol: 'TCP', ipFamily: 'IPv4' },
      ...{ clusterIp: vip, externalIps: [], loadBalancerVips: [], loadBalancerSourceRanges: [] },
      ...{ port: 80, internalPolicyLocal: false, externalPolicyLocal: false },
      affinityTimeoutSeconds: affinity === true ? 10_800 : undefined,
      annotations: { balancer },
    },
    hasAny: true,
    endpoints: packEndpoints({ cluster: reachable, local: [], reachable }, ({ slot }) => slot),
    vips: [{ kind: 'cluster-ip', address: vip, port: 80, allowedSources: undefined }],
  }
}

/** A queue that is always full, of SYNs from clients that come once: 250 addresses, port by port. */
class FullQueue {
  fd = -1
  records = new Uint32Array(BATCH * PACKET_WORDS)
  copies = new Uint8Array(BATCH * SYN_BYTES)
  left = 0
  #batch
  #ports
  #vips
  #sources = Array.from({ length: 250 }, (_, i) => addressWords(`10.0.1.${i + 1}`)[0])
  #next = 0
  onEmpty = () => undefined
  onAnswer = () => undefined

  constructor(ports, batch) {
    this.#batch = batch
    this.#ports = ports
    this.#vips = Uint32Array.from({ length: ports }, (_, n) => addressWords(address(96, n + 1))[0])
    for (let i = 0; i < BATCH; i++) {
      const base = i * PACKET_WORDS
      this.records[base + PacketWord.family] = 4
      this.records[base + PacketWord.protocol] = IpProtocol.tcp
      this.records[base + PacketWord.flags] = PacketFlag.hasPorts | PacketFlag.hasTcp
      this.records[base + PacketWord.destinationPort] = 80
      this.records[base + PacketWord.tcpFlags] = TcpFlag.syn
      this.records[base + PacketWord.copyOffset] = i * SYN_BYTES
      this.records[base + PacketWord.copyLength] = SYN_BYTES
    }
  }

  receive() {
    if (this.left <= 0) return 0
    // Before it is empty, or the loop would wait for more.
    if (this.left <= this.#batch) this.onEmpty()
    for (let i = 0; i < this.#batch; i++) {
      const base = i * PACKET_WORDS
      const n = this.#next++
      this.records[base + PacketWord.source] = this.#sources[n % 250]
      this.records[base + PacketWord.sourcePort] = 1024 + (((n / 250) | 0) % 60_000)
      this.records[base + PacketWord.destination] = this.#vips[n % this.#ports]
      this.records[base + PacketWord.tcpSequence] = Math.imul(n, 0x9e3779b1) >>> 0
    }
    this.left -= this.#batch
    return this.#batch
  }

  answer(count) {
    this.onAnswer(this.records, count)
  }
}

/** What connection tracking says of the packets that were steered: each is a new connection, and answered. */
class Announcements {
  fd = -1
  records = new Uint32Array(EVENTS * CONNTRACK_WORDS)
  #next = 0
  #count = 0

  add(packets, count) {
    for (let i = 0; i < count; i++) {
      this.#put(packets, i * PACKET_WORDS, ConntrackType.new, TcpState.synSent)
      this.#put(packets, i * PACKET_WORDS, ConntrackType.update, TcpState.synReceived)
    }
  }

  receive() {
    const count = this.#count
    this.#count = 0
    return count
  }

  #put(packets, base, type, tcpState) {
    const at = this.#count++ * CONNTRACK_WORDS
    const { records } = this
    records[at + ConntrackWord.type] = type
    records[at + ConntrackWord.tcpState] = tcpState
    records[at + ConntrackWord.family] = 4
    records[at + ConntrackWord.protocol] = IpProtocol.tcp
    records[at + ConntrackWord.source] = packets[base + PacketWord.source]
    records[at + ConntrackWord.destination] = packets[base + PacketWord.destination]
    records[at + ConntrackWord.sourcePort] = packets[base + PacketWord.sourcePort]
    records[at + ConntrackWord.destinationPort] = packets[base + PacketWord.destinationPort]
    records[at + ConntrackWord.mark] = packets[base + PacketWord.verdictMark]
  }
}

function makeSteering({ ports = 1, ...port }) {
  const counters = new SteeringCounters(layout.maxSlot)
  const connections = new SteeredConnections(counters.open, {
    opened: (slot) => {
      const endpoint = vips.endpointOf(slot)
      if (endpoint !== undefined) picker.opened(endpoint.servicePortId, endpoint)
    },
    closed: (slot) => {
      const endpoint = vips.endpointOf(slot)
      if (endpoint !== undefined) picker.closed(endpoint.servicePortId, endpoint)
    },
  })
  const picker = new EndpointPicker({
    affinity: new AffinityTable({ maxClients: 65_536 }),
    clock,
    random: Math.random,
    fillRandom: randomFrom(Uint32Array.of(1, 2, 3)),
    balancers: BALANCER_DEFAULTS,
    openCounts: connections,
  })
  const vips = new VipTable(picker)
  for (let n = 0; n < ports; n++) vips.set(packedPort(n, { endpoints: 10, ...port }))
  const steering = new Steering({
    layout,
    picker,
    vips,
    flows: new FlowTable(16_384),
    counters,
    kernel: { deleteEntry: () => undefined, sendAgain: () => undefined },
    answersQueue: 1,
    attempts: 3,
    canSendAgain: true,
    masqueradeAll: false,
    connections,
  })
  return { steering, counters, counts: new ConnectionCounts(layout, counters.open, connections) }
}

/** The peer: what the loop and its accounting cost. */
const acceptsAll = {
  unanswered: 0,
  decide: (records, base) => {
    records[base + PacketWord.verdict] = Verdict.accept
  },
  tick: () => undefined,
}

function makeLoop({ steering, counters, counts = {} }, queue, events) {
  const loop = new SteeringLoop({
    queue,
    events,
    wakeUp: { fd: -1, clear: () => undefined, signal: () => undefined },
    steering,
    counts,
    counters,
    clock,
    dumpOf: () => undefined,
    takeMessage: () => false,
    onEntry: () => undefined,
    onDumpEnd: () => undefined,
  })
  queue.onEmpty = () => loop.stop()
  return loop
}

/** Verdicts a second, and bytes allocated for one. */
function measure(one) {
  const queue = new FullQueue(one.ports ?? 1, one.batch ?? BATCH)
  const parts = one.isPeer
    ? { steering: acceptsAll, counters: new SteeringCounters(1) }
    : makeSteering(one)
  const events = new Announcements()
  if (one.isAnswered) queue.onAnswer = (records, count) => events.add(records, count)
  const spin = (verdicts) => {
    const loop = makeLoop(parts, queue, events)
    queue.left = verdicts
    const started = process.hrtime.bigint()
    loop.run()
    return Number(process.hrtime.bigint() - started) / 1e9
  }
  for (let i = 0; i < WARM_UPS; i++) spin(VERDICTS)
  const perSecond = VERDICTS / spin(VERDICTS)
  const growth = (verdicts) => {
    gc()
    const before = getHeapStatistics().used_heap_size
    spin(verdicts)
    return getHeapStatistics().used_heap_size - before
  }
  // Of two runs of different length, so that what a run costs by itself does not count. Heaps grow by pages of
  // 256 KiB: long ones, where the young generation has room for what they leave.
  const least = one.affinity ? VERDICTS / 2 : VERDICTS
  const most = one.affinity ? VERDICTS : 16 * VERDICTS
  const bytes = (growth(most) - growth(least)) / (most - least)
  if (!one.isPeer && parts.counters.total('steered') < VERDICTS)
    throw new Error('perf: not steered')
  return { perSecond, bytes }
}

const wanted = process.argv[2]
const cases = [{ isPeer: true }, ...CASES].filter(
  ({ balancer }) => wanted === undefined || balancer === undefined || balancer === wanted,
)
const results = cases.map(() => [])
for (let round = 0; round < ROUNDS; round++) {
  for (const [index, one] of cases.entries()) results[index].push(measure(one))
}
const peer = median(results[0].map(({ perSecond }) => perSecond))
const rows = cases.map(({ isPeer, balancer, affinity, batch, ports, isAnswered }, index) => {
  const perSecond = median(results[index].map((one) => one.perSecond))
  const notes = [
    affinity && 'affinity',
    batch && `batches of ${batch}`,
    isAnswered && 'with events',
    ports && `${ports} ports`,
  ]
  return [
    isPeer ? 'accept all' : [balancer, ...notes.filter(Boolean)].join(', '),
    Math.round(perSecond).toLocaleString('en'),
    (1e9 / perSecond).toFixed(0),
    (perSecond / peer).toFixed(2),
    Math.max(0, median(results[index].map(({ bytes }) => bytes))).toFixed(1),
  ]
})
console.log(table([['', 'verdicts/s', 'ns each', 'to accept all', 'bytes each'], ...rows]))
