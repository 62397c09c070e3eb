/**
 * The steering thread: a worker that puts the parts together and runs the loop. Started by
 * steering-thread.ts, and by nobody else.
 */
import { once } from 'node:events'
import { setPriority } from 'node:os'
import { parentPort, receiveMessageOnPort } from 'node:worker_threads'

import { messageOf } from '../../lib/errors.js'
import { systemClock } from '../../lib/clock.js'
import { randomFrom } from '../../lib/random.js'
import { hostRange, parseIpRange } from '../../lib/ip-address.js'
import { ConntrackDump, ConntrackEvents } from '../../kernel/conntrack-table.js'
import { Netfilter } from '../../kernel/netfilter.js'
import { PacketQueue } from '../../kernel/packet-queue.js'
import { SteadyClock } from '../../kernel/steady-clock.js'
import { WakeUp } from '../../kernel/wait.js'
import { connectionLogOf } from '../../observe/connection-log.js'
import { formatAddressWords, rangeWords } from '../../packet/address-words.js'
import { ConntrackWord } from '../../packet/conntrack-word.js'
import { slotOf } from '../../packet/mark-layout.js'
import { AffinityTable } from '../../policy/affinity.js'
import { PluginGuard } from '../../policy/balancer/plugin.js'
import type { EjectionOptions } from '../../policy/health/outlier-ejection.js'
import { EndpointPicker } from '../../policy/endpoint-picker.js'
import { loadBalancerPlugin } from '../../policy/load-balancer-plugin.js'
import { ConnectionCounts } from './connection-counts.js'
import { FlowTable, SYN_BYTES } from './flow-table.js'
import { Steering, type SteeringKernel } from './steering.js'
import { SteeringCounters, Total } from './steering-counters.js'
import { flowLog, SteeredLog } from './steered-log.js'
import { SteeredConnections } from './steered-connections.js'
import { SteeringLoop } from './steering-loop.js'
import type { SteeringMessage, SteeringReport, SteeringStart } from './steering-message.js'
import { answersQueueOf } from './steering-rules.js'
import { VipTable } from './vip-table.js'

const BATCH = 64

if (parentPort === null) throw new TypeError('this is the steering thread of kube-sluice')
const [{ options, port }] = (await once(parentPort, 'message')) as [SteeringStart]

function report(message: SteeringReport): void {
  parentPort?.postMessage(message)
}

function warn(message: string): void {
  report({ type: 'warning', message })
}

const { layout, queues } = options
const counters = new SteeringCounters(options.counters)
const affinity = new AffinityTable({ maxClients: options.affinityMaxClients })
const netfilter = new Netfilter()
const clock = new SteadyClock()
const { plugin: pluginFile, pluginLimitMs } = options.balancers
const plugin =
  pluginFile === undefined
    ? undefined
    : new PluginGuard({
        plugin: await loadBalancerPlugin(pluginFile),
        limitMs: pluginLimitMs,
        nowMs: () => performance.now(),
        onWarning: warn,
        onCounted: ({ failures, overruns, isOff }) => {
          counters.set(Total.pluginFailures, failures)
          counters.set(Total.pluginOverruns, overruns)
          counters.set(Total.pluginIsOff, isOff ? 1 : 0)
        },
      })
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
  affinity,
  clock,
  random: Math.random,
  fillRandom: randomFrom(crypto.getRandomValues(new Uint32Array(3))),
  balancers: options.balancers,
  plugin,
  openCounts: connections,
  ejection: options.ejection,
  onEjection: (servicePortId, { id }, isEjected) => {
    report({ type: 'ejection', servicePortId, endpointId: id, isEjected })
  },
})
const connectionLog = connectionLogOf(options.connectionLog, {
  clock: systemClock,
  random: Math.random,
  write: (line) => {
    report({ type: 'connection', line })
  },
})
const log = connectionLog && new SteeredLog(connectionLog, layout)
const vips = new VipTable(picker)
const kernel: SteeringKernel = {
  deleteEntry: (family, tuple) => {
    try {
      netfilter.deleteConnection(family === 6 ? 'IPv6' : 'IPv4', tuple)
    } catch (error) {
      warn(messageOf(error))
    }
  },
  sendAgain: (syn) => {
    report({ type: 'send', syn })
  },
}
const flows = new FlowTable(options.flows)
const steering = new Steering({
  layout,
  picker,
  vips,
  flows,
  counters,
  kernel,
  answersQueue: answersQueueOf(queues),
  attempts: options.attempts,
  canSendAgain: options.canSendAgain,
  masqueradeAll: options.masqueradeAll,
  connections,
  ...(log && { log: flowLog(log, { flows, vips }) }),
})
const queue = new PacketQueue({
  first: queues.first,
  count: queues.count + 1,
  batch: BATCH,
  copyRange: SYN_BYTES,
  length: options.queueLength,
  bufferBytes: options.queueBufferBytes,
  failOpen: true,
  gso: true,
})
const events = new ConntrackEvents({
  markMask: layout.slotMask,
  bufferBytes: options.eventBufferBytes,
  answers: options.ejection.patienceMs > 0,
})

/** Whether entries of the dump tell session affinity too: after a start. */
let isAdopting = false

function adoptAffinity(records: Uint32Array, base: number): void {
  if (!isAdopting) return
  const slot = slotOf(layout, records[base + ConntrackWord.mark] ?? 0)
  const endpoint = vips.endpointOf(slot)
  const timeoutSeconds = endpoint && vips.affinityTimeoutSeconds(endpoint)
  if (endpoint === undefined || timeoutSeconds === undefined) return
  const family = records[base + ConntrackWord.family] ?? 4
  const clientIp = formatAddressWords(records, base + ConntrackWord.source, family)
  const now = { nowMs: clock.nowMs(), timeoutMs: timeoutSeconds * 1000 }
  affinity.pin({ servicePortId: endpoint.servicePortId, clientIp }, endpoint.id, now)
}

const loop = new SteeringLoop({
  queue,
  events,
  wakeUp: new WakeUp(options.wakeUpFd),
  steering,
  counts: new ConnectionCounts(layout, counters.open, connections),
  counters,
  clock,
  dumpOf: (family) => new ConntrackDump({ family }),
  takeMessage,
  ...(log && {
    onEvent: (records: Uint32Array, base: number) => {
      log.event(records, base)
      counters.set(Total.unloggedConnections, log.dropped)
    },
  }),
  onEntry: adoptAffinity,
  onDumpEnd: () => {
    isAdopting = false
  },
  onTick: () => {
    counters.set(Total.affinityClients, affinity.size)
    counters.set(Total.affinityEvictions, affinity.evictions)
  },
})

/** What the loop has been left for: the end, or a version of the plug-in that is to be loaded. */
const left: { isOver: boolean; newPlugin: number | undefined } = {
  isOver: false,
  newPlugin: undefined,
}

/** Who answers in time is asked of connection tracking only while somebody is to be passed over for it. */
function setEjection(ejection: EjectionOptions): void {
  const hadAnswers = options.ejection.patienceMs > 0
  Object.assign(options.ejection, ejection)
  const hasAnswers = ejection.patienceMs > 0
  if (hadAnswers === hasAnswers) return
  steering.forgetUnanswered()
  events.setAnswers(hasAnswers)
}

/** The main thread has loaded it before, so it is a balancer. */
async function loadPlugin(version: number): Promise<void> {
  if (plugin === undefined || pluginFile === undefined) return
  try {
    plugin.replace(await loadBalancerPlugin(pluginFile, version))
    picker.renewPlugin()
  } catch (error) {
    warn(`${messageOf(error)}; the one before stays`)
  }
}

function takeMessage(): boolean {
  const received = receiveMessageOnPort(port) as { message: SteeringMessage } | undefined
  if (received === undefined) return false
  const { message } = received
  switch (message.type) {
    case 'sources':
      steering.setSources(
        {
          pods: message.pods
            .map(parseIpRange)
            .filter((range) => range !== undefined)
            .map(rangeWords),
          node: message.node.map((address) => rangeWords(hostRange(address))),
        },
        message.hasLocalDetector,
      )
      break
    case 'ports':
      for (const id of message.remove) vips.remove(id)
      for (const packed of message.set) vips.set(packed)
      break
    case 'defaults':
      // The picker has these very objects.
      Object.assign(options.balancers, message.balancers)
      setEjection(message.ejection)
      picker.reconfigure()
      break
    case 'plugin':
      // It cannot be loaded from within the loop, which blocks the thread.
      left.newPlugin = message.version
      loop.stop()
      break
    case 'barrier':
      report({ type: 'done', id: message.id })
      break
    case 'foresee': {
      const { id, connection } = message
      vips.unpackPort(connection.servicePortId)
      report({ type: 'foreseen', id, foreseen: picker.foresee(connection) })
      break
    }
    case 'adopt':
      isAdopting = true
      vips.unpackSticky()
      loop.resync()
      break
    case 'stop':
      left.isOver = true
      loop.stop()
      break
  }
  return true
}

function setNice(nice: number): void {
  if (nice === 0) return
  try {
    // On Linux 0 is the calling thread, and nice values are those of threads (setpriority(2), BUGS).
    setPriority(0, nice)
  } catch (error) {
    warn(
      `the steering thread keeps its priority: ${messageOf(error)}; --nfqueue-nice ${nice} takes CAP_SYS_NICE`,
    )
  }
}

setNice(options.nice)
report({
  type: 'ready',
  queueBufferBytes: queue.bufferBytes,
  eventBufferBytes: events.bufferBytes,
})
loop.run()
// What arrives meanwhile waits in the queue.
while (!left.isOver) {
  const version = left.newPlugin
  left.newPlugin = undefined
  if (version !== undefined) await loadPlugin(version)
  loop.run()
}
queue.close()
events.close()
netfilter.close()
report({ type: 'stopped' })
port.close()
