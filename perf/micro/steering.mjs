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
import { SteeringLoop } from '../../dist/datapath/nfqueue/steering-loop.js'
import { FlowTable } from '../../dist/datapath/nfqueue/flow-table.js'
import { Steering } from '../../dist/datapath/nfqueue/steering.js'
import { SteeringCounters } from '../../dist/datapath/nfqueue/steering-counters.js'
import { SteeredConnections } from '../../dist/datapath/nfqueue/steered-connections.js'
import { VipTable } from '../../dist/datapath/nfqueue/vip-table.js'
import { addressWords } from '../../dist/packet/address-words.js'
import { DEFAULT_MARK_MASK, markLayoutOf } from '../../dist/packet/mark-layout.js'
import { IpProtocol, PACKET_WORDS, PacketFlag, PacketWord } from '../../dist/packet/packet-word.js'
import { TcpFlag, Verdict } from '../../dist/packet/packet-word.js'
import { AffinityTable } from '../../dist/policy/affinity.js'
import { BALANCER_NAMES } from '../../dist/policy/balancer/registry.js'
import { BALANCER_DEFAULTS } from '../../dist/policy/balancer/settings.js'
import { EndpointPicker } from '../../dist/policy/endpoint-picker.js'
import { systemClock } from '../../dist/lib/clock.js'
import { median, table } from '../statistics.mjs'

const BATCH = 64
const VERDICTS = 64_000
const ROUNDS = 3
const SYN_BYTES = 60
const CASES = [
  ...BALANCER_NAMES.filter((name) => name !== 'plugin').map((balancer) => ({ balancer })),
  { balancer: 'round-robin', affinity: true },
  { balancer: 'round-robin', batch: 1 },
  { balancer: 'round-robin', ports: 2500, endpoints: 100 },
]

const gc = globalThis.gc
if (gc === undefined) {
  console.error('perf: start it as its first lines say')
  process.exit(2)
}
const layout = markLayoutOf(DEFAULT_MARK_MASK)
const address = (first, n) => `10.${first + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`

/** A Service port as the main thread tells it to the steering thread. */
function packedPort(n, { balancer, affinity, endpoints }) {
  const lines = Array.from({ length: endpoints }, (_, i) => {
    const slot = n * endpoints + i + 1
    return `${slot} 5 ${address(128, slot)} 8080 1\n`
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
    endpoints: lines.join(''),
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
      this.records[base + PacketWord.tcpSequence] = n
    }
    this.left -= this.#batch
    return this.#batch
  }

  answer() {}
}

function makeSteering({ ports = 1, ...port }) {
  const counters = new SteeringCounters(layout.maxSlot)
  const connections = new SteeredConnections(counters.open, {
    opened: (slot) => {
      const port = vips.portOf(slot)
      const endpoint = port?.endpoints.get(slot)
      if (endpoint !== undefined) picker.opened(port.id, endpoint)
    },
    closed: (slot) => {
      const port = vips.portOf(slot)
      const endpoint = port?.endpoints.get(slot)
      if (endpoint !== undefined) picker.closed(port.id, endpoint)
    },
  })
  const picker = new EndpointPicker({
    affinity: new AffinityTable({ maxClients: 65_536 }),
    clock: systemClock,
    random: Math.random,
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
  return { steering, counters }
}

/** The peer: what the loop and its accounting cost. */
const acceptsAll = {
  unanswered: 0,
  decide: (records, base) => {
    records[base + PacketWord.verdict] = Verdict.accept
  },
  tick: () => undefined,
}

function makeLoop(steering, counters, queue) {
  const loop = new SteeringLoop({
    queue,
    events: { fd: -1, receive: () => 0 },
    wakeUp: { fd: -1, clear: () => undefined, signal: () => undefined },
    steering,
    counts: {},
    counters,
    nowMs: () => performance.now(),
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
  const { steering, counters } = one.isPeer
    ? { steering: acceptsAll, counters: new SteeringCounters(1) }
    : makeSteering(one)
  const spin = (verdicts) => {
    const loop = makeLoop(steering, counters, queue)
    queue.left = verdicts
    const started = process.hrtime.bigint()
    loop.run()
    return Number(process.hrtime.bigint() - started) / 1e9
  }
  spin(VERDICTS)
  const perSecond = VERDICTS / spin(VERDICTS)
  const growth = (verdicts) => {
    gc()
    const before = getHeapStatistics().used_heap_size
    spin(verdicts)
    return getHeapStatistics().used_heap_size - before
  }
  // Of two runs of different length, so that what a run costs by itself does not count.
  const bytes = (growth(VERDICTS) - growth(VERDICTS / 2)) / (VERDICTS / 2)
  if (!one.isPeer && counters.total('steered') < VERDICTS) throw new Error('perf: not steered')
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
const rows = cases.map(({ isPeer, balancer, affinity, batch, ports }, index) => {
  const perSecond = median(results[index].map((one) => one.perSecond))
  const notes = [affinity && 'affinity', batch && `batches of ${batch}`, ports && `${ports} ports`]
  return [
    isPeer ? 'accept all' : [balancer, ...notes.filter(Boolean)].join(', '),
    Math.round(perSecond).toLocaleString('en'),
    (1e9 / perSecond).toFixed(0),
    (perSecond / peer).toFixed(2),
    median(results[index].map(({ bytes }) => bytes)).toFixed(1),
  ]
})
console.log(table([['', 'verdicts/s', 'ns each', 'to accept all', 'bytes each'], ...rows]))
