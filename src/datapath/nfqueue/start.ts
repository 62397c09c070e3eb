/** Puts the nfqueue mode together: what the kernel lacks is said in one line before anything is touched. */
import type { RunConfig } from '../../config/run-config.js'
import type { Clock } from '../../lib/clock.js'
import type { RunCommand } from '../../kernel/command.js'
import { iptablesTool } from '../../kernel/iptables.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { LocalAddress } from '../../kernel/local-address.js'
import { Netfilter } from '../../kernel/netfilter.js'
import { readQueueCounters } from '../../kernel/packet-queue.js'
import type { KernelCapabilities } from '../../kernel/probe-capability.js'
import { loopbackRouter } from '../../kernel/sysctl.js'
import type { ServicePort } from '../../model/service-port.js'
import type { Snapshot } from '../../model/snapshot.js'
import { type MarkLayout, markLayoutOf } from '../../packet/mark-layout.js'
import type { RuleMetrics } from '../../observe/rule-metrics.js'
import type { SteeringStatus } from '../../observe/status.js'
import { Traffic } from '../../observe/traffic.js'
import type { NewConnection } from '../../policy/endpoint-picker.js'
import { readBalancerSettings } from '../../policy/balancer/settings.js'
import type { Datapath } from '../datapath.js'
import { familiesOf } from '../mode-needs.js'
import type { LoadTotals } from '../running-mode.js'
import { NfqueueProxier } from './nfqueue-proxier.js'
import { OverflowCounter } from './overflow-counter.js'
import { STEERING_TOTALS, SteeringCounters, VERDICT_BUCKETS } from './steering-counters.js'
import type { SteeringWorker } from './steering-spawn.js'
import { SteeringThread } from './steering-thread.js'
import { SynSender } from './syn-sender.js'
import { chooseDnat, makeTranslation, type TranslationParts } from './translation.js'

export interface NfqueueContext {
  readonly config: RunConfig
  readonly kernel: KernelCapabilities
  readonly run: RunCommand
  readonly clock: Clock
  readonly localAddresses: () => readonly LocalAddress[]
  readonly log: {
    info(context: object, message: string): void
    warn(message: string): void
  }
  readonly metrics: RuleMetrics
  readonly steeringWorker?: SteeringWorker | undefined
  /** An endpoint does not take connections, or does so again. */
  readonly onEjection: (servicePortId: string, endpointId: string, isEjected: boolean) => void
  /** Steering has ended by itself; the standby serves from here on. */
  readonly onFailure: (error: Error) => void
}

const NO_RAW_SOCKET =
  'raw-socket is not installed: a refused connect is not retried, an unanswered one when its client has repeated the SYN twice (3 s); type: npm install raw-socket'

/**
 * Starts the steering thread and makes the datapath.
 * @throws SluiceError ERR_CAPABILITY, naming what the kernel lacks and what may help
 */
export async function startNfqueue(context: NfqueueContext) {
  const { config, kernel, log } = context
  const dnat = chooseDnat(config, kernel)
  const layout = markLayoutOf(config.nfqueue.markMask)
  const counters = new SteeringCounters(layout.maxSlot)
  const netfilter = new Netfilter()
  const warn = (message: string): void => {
    log.warn(message)
  }
  const sender = new SynSender(warn)
  if (!sender.isUsable) log.warn(NO_RAW_SOCKET)
  const families = familiesOf(kernel, 'nfqueue')
  const { thread, queueBufferBytes, eventBufferBytes } = await SteeringThread.start(
    threadOptions(config, { layout, counters, canSendAgain: sender.isUsable }),
    {
      onSyn: sender.send.bind(sender),
      onWarning: warn,
      onConnection: (line) => {
        log.info(line, 'connection')
      },
      onEjection: context.onEjection,
      onFailure: context.onFailure,
    },
    context.steeringWorker,
  )
  const { queueLength } = config.nfqueue
  const started = { queueLength, queueBufferBytes, eventBufferBytes, families, dnat }
  log.info(started, `first packets are steered; rules of ${dnat} serve the rest`)
  const datapath = makeProxier(context, {
    ...{ layout, families, netfilter, thread, counters, dnat },
    send: sender.isUsable ? sender.send.bind(sender) : () => undefined,
  })
  const overflow = overflowCounter(context, families, counters)
  return {
    datapath: closingWith(datapath, thread, () => {
      sender.close()
      netfilter.close()
    }),
    handOver: {
      standby: dnat,
      bindsToVip: false,
      take: datapath.take.bind(datapath),
      load: () => loadOf(config, counters, overflow),
      sessionDestinations: () => new Set<string>(),
    },
    foresee: (connection: NewConnection) => thread.foresee(connection),
    openConnections: () => 0,
    onSynced: () => {
      overflow.begin()
    },
    readCounters: () => overflow.look(),
    status: statusReader(config, datapath, { counters, overflow }, () => ({
      queueBufferBytes,
      eventBufferBytes,
      sendFailures: sender.failures,
    })),
  }
}

/** The proxier, and what goes with it. */
function closingWith(
  proxier: NfqueueProxier,
  thread: Pick<SteeringThread, 'tell'>,
  close: () => void,
): Datapath {
  return {
    sync: (snapshot) => proxier.sync(snapshot),
    endConnections: proxier.endConnections.bind(proxier),
    reconfigure: proxier.reconfigure.bind(proxier),
    replacePlugin: (_plugin, version) => {
      thread.tell({ type: 'plugin', version })
    },
    drain: () => Promise.resolve(),
    close: async () => {
      await proxier.close()
      close()
    },
  }
}

function overflowCounter(
  { config, kernel, run, clock }: NfqueueContext,
  families: readonly IpFamily[],
  counters: SteeringCounters,
): OverflowCounter {
  return new OverflowCounter({
    run,
    clock,
    tools: families.map((family) => iptablesTool(family, kernel.iptablesVariant)),
    // What waits first: a packet that is decided in between is counted twice, and not left out.
    taken: () =>
      queuesOf(config).reduce((sum, { waiting }) => sum + waiting, 0) + counters.total('packets'),
  })
}

/** For the automatic switch. */
function loadOf(
  config: RunConfig,
  counters: SteeringCounters,
  overflow: OverflowCounter,
): LoadTotals {
  void overflow.look()
  const decided = ['steered', 'rejected', 'dropped'] as const
  return {
    connections: decided.reduce((sum, name) => sum + counters.total(name), 0),
    queueDrops: queuesOf(config).reduce(
      (sum, { dropped, droppedByBuffer }) => sum + dropped + droppedByBuffer,
      overflow.total,
    ),
    busySeconds: counters.total('verdictSeconds'),
  }
}

/** Counters of the queues that are ours. */
function queuesOf({ nfqueue }: RunConfig) {
  const last = nfqueue.queueFirst + nfqueue.queueCount
  return readQueueCounters().filter(({ queue }) => queue >= nfqueue.queueFirst && queue <= last)
}

function threadOptions(
  config: RunConfig,
  parts: {
    readonly layout: MarkLayout
    readonly counters: SteeringCounters
    readonly canSendAgain: boolean
  },
) {
  const { layout, counters, canSendAgain } = parts
  return {
    layout,
    queues: { first: config.nfqueue.queueFirst, count: config.nfqueue.queueCount },
    queueLength: config.nfqueue.queueLength,
    queueBufferBytes: config.nfqueue.queueBufferBytes,
    eventBufferBytes: config.nfqueue.eventBufferBytes,
    flows: config.nfqueue.flows,
    nice: config.nfqueue.nice,
    attempts: config.userspace.connectAttempts,
    canSendAgain,
    masqueradeAll: config.masqueradeAll,
    affinityMaxClients: config.affinityMaxClients,
    balancers: config.balancers,
    ejection: config.health.ejection,
    connectionLog: config.connectionLog,
    counters: counters.memory,
  }
}

interface Parts extends TranslationParts {
  readonly thread: SteeringThread
  readonly counters: SteeringCounters
  readonly send: (packet: Uint8Array) => void
}

function makeProxier(context: NfqueueContext, parts: Parts): NfqueueProxier {
  const { config, kernel, run, clock, localAddresses, metrics } = context
  return new NfqueueProxier({
    ...parts,
    ...makeTranslation(context, parts),
    config,
    clock,
    run,
    metrics,
    iptablesVariant: kernel.iptablesVariant,
    localAddresses,
    routeLoopback: loopbackRouter(config.nodeSetup.sysctlRoot, context.log),
  })
}

/** The nfqueue mode's part of the status. */
function statusReader(
  config: RunConfig,
  datapath: NfqueueProxier,
  { counters, overflow }: { counters: SteeringCounters; overflow: OverflowCounter },
  sockets: () => Pick<SteeringStatus, 'queueBufferBytes' | 'eventBufferBytes' | 'sendFailures'>,
) {
  const { balancers } = config
  const traffic = new Traffic()
  const balancerNameOf = (port: ServicePort): string => {
    const { name } = readBalancerSettings(port, balancers).settings
    const isOff = name === 'plugin' && counters.total('pluginIsOff') > 0
    return isOff ? 'plugin (round-robin)' : name
  }
  return (snapshot: Snapshot) => {
    readTraffic(traffic, snapshot, datapath, counters)
    void overflow.look()
    const queues = queuesOf(config)
    return {
      mode: 'nfqueue' as const,
      capture: undefined,
      steering: {
        ...Object.fromEntries(STEERING_TOTALS.map((name) => [name, counters.total(name)])),
        queues,
        verdictLatency: { bounds: VERDICT_BUCKETS, ...counters.verdictLatency() },
        ...sockets(),
      },
      traffic,
      vips: [...datapath.vips()].map(({ servicePortId, kind, address, port }) => ({
        servicePortId,
        kind,
        address: address ?? 'node',
        port,
        action: 'steer',
      })),
      balancerOf: (id: string) => {
        const port = snapshot.servicePorts.get(id)?.servicePort
        return port === undefined ? '' : balancerNameOf(port)
      },
      balancerPlugin:
        balancers.plugin === undefined
          ? undefined
          : {
              failures: counters.total('pluginFailures'),
              overruns: counters.total('pluginOverruns'),
              isOff: counters.total('pluginIsOff') > 0,
            },
      udpSessions: 0,
      affinityClients: counters.total('affinityClients'),
      boundsHit: boundsHit(queues, counters, overflow),
    }
  }
}

/** By the option that bounds. */
function boundsHit(
  queues: ReturnType<typeof queuesOf>,
  counters: SteeringCounters,
  overflow: OverflowCounter,
) {
  const sum = (name: 'dropped' | 'droppedByBuffer'): number =>
    queues.reduce((total, queue) => total + queue[name], 0)
  return {
    'log-connections-rate': counters.total('unloggedConnections'),
    'nfqueue-length': sum('dropped') + overflow.total,
    'nfqueue-buffer': sum('droppedByBuffer'),
    'conntrack-event-buffer': counters.total('eventOverruns'),
    'nfqueue-flows': counters.total('flowsForgotten'),
    'affinity-max-clients': counters.total('affinityEvictions'),
  }
}

/** What the thread has counted, where the status looks for it. */
function readTraffic(
  traffic: Traffic,
  snapshot: Snapshot,
  datapath: NfqueueProxier,
  counters: SteeringCounters,
): void {
  for (const id of snapshot.servicePorts.keys()) {
    const known = traffic.read(id).endpoints
    const sums = { active: 0, total: 0, failed: 0, retries: 0 }
    datapath.visitSlots(id, (endpointId, slot) => {
      // Most have counted nothing, and there may be 250,000: nothing is kept for them.
      if (counters.isUnused(slot) && !known.has(endpointId)) return
      const counts = traffic.servicePort(id).endpoint(endpointId)
      counts.activeConnections = counters.open[slot] ?? 0
      counts.totalConnections = counters.steered[slot] ?? 0
      counts.connectFailures = counters.failures[slot] ?? 0
      sums.active += counts.activeConnections
      sums.total += counts.totalConnections
      sums.failed += counters.exhausted[slot] ?? 0
      sums.retries += counters.retries[slot] ?? 0
    })
    if (traffic.read(id).endpoints.size === 0) continue
    const port = traffic.servicePort(id)
    port.activeConnections = sums.active
    // A connection that was retried was steered more than once.
    port.totalConnections = sums.total - sums.retries
    port.failedConnections = sums.failed
    port.retries = sums.retries
  }
  traffic.prune(snapshot)
}
