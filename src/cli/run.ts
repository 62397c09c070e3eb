/**
 * `kube-sluice run`: makes the proxy from its configuration and keeps it going until the signal
 * aborts. A stop drains: no new connections are taken, those that are open get `drainTimeoutMs`,
 * then what needs the process is removed from the kernel.
 */
import type { ResolvedOptions } from '../config/resolve-options.js'
import type { RunConfig } from '../config/run-config.js'
import type { RunningMode } from '../datapath/running-mode.js'
import { releaseMemory } from '../kernel/memory.js'
import { raiseFileLimit } from '../kernel/socket.js'
import { systemClock } from '../lib/clock.js'
import { messageOf } from '../lib/errors.js'
import { staysInUserspace } from '../datapath/auto/stay-annotation.js'
import type { ServicePort } from '../model/service-port.js'
import { buildStatus, type StatusInputs } from '../observe/build-status.js'
import type { Explanation } from '../observe/explain/explain.js'
import type { Question } from '../observe/explain/question.js'
import type { Events } from '../observe/events.js'
import { HeapTrim } from '../observe/heap-trim.js'
import type { Logger } from '../observe/log.js'
import { StatusPage } from '../observe/status-page/status-page.js'
import type { HealthMonitor } from '../policy/health/health-monitor.js'
import { ServiceProxy, type SyncObservers } from '../sync/service-proxy.js'
import { annotationReaders } from './annotation-readers.js'
import { createEvents, switchTeller } from './run-events.js'
import { createHealthMonitor, healthStatus, trafficReader } from './run-health.js'
import { serveHttp, type RunHttp, type RunHttpContext } from './run-http.js'
import { RunMetrics, type MetricsView } from './run-metrics.js'
import { type EarlyParts, startMode } from './run-mode.js'
import { createSource, type RunSource } from './run-source.js'
import { watchPlugin } from './watch-plugin.js'

/** A relayed connection takes two descriptors, a VIP one. */
const WANTED_FILES = 1_048_576

export interface RunContext {
  /** Aborts when the process is to stop; its reason is the name of the signal that came. */
  readonly signal: AbortSignal
  readonly log: Logger
  readonly version: string
  /** Begun already for this configuration. */
  readonly early: EarlyParts
  /** The settings in force, as they were written. */
  readonly options: () => ResolvedOptions
  /** Calls it whenever live options have changed in the configuration. */
  readonly onReload: (listener: () => void) => void
}

/** Runs until the signal aborts; returns the exit status. Throws SluiceError when it cannot start. */
export async function run(config: RunConfig, context: RunContext): Promise<number> {
  const { log, signal, version } = context
  const fileLimit = raiseFileLimit(WANTED_FILES)
  const failed = new AbortController()
  const parts = await assemble(config, context, (error) => {
    failed.abort(error) // the first one counts
  })
  const { mode, health, proxy, events, page, http } = parts
  log.info({ node: config.nodeName, mode: config.proxyMode, fileLimit, version }, 'starting')
  context.onReload(() => {
    mode.datapath.reconfigure?.()
    health.reconfigure()
  })
  const stopWatching = followPlugin(config, mode, log)
  try {
    await proxy.start()
    if (config.metricsBindAddress !== undefined) page.start()
    await aborted(AbortSignal.any([signal, failed.signal]))
  } finally {
    stopWatching()
    page.close()
    health.close()
    await proxy.stop()
    await events.close()
    await shutDown(mode, config, log)
    await http.close()
  }
  if (!failed.signal.aborted) return 0
  log.fatal({ error: messageOf(failed.signal.reason) }, 'it cannot go on')
  return 1
}

/** Changes of the balancer plug-in, where there is one. */
function followPlugin(
  { balancers: { plugin } }: Pick<RunConfig, 'balancers'>,
  { datapath }: Pick<RunningMode, 'datapath'>,
  log: Logger,
): () => void {
  if (plugin === undefined || datapath.replacePlugin === undefined) return () => undefined
  return watchPlugin(plugin, {
    log,
    onReplaced: (...replacement) => {
      datapath.replacePlugin?.(...replacement)
    },
  })
}

/** Makes the parts and joins them. Several know each other, but nothing is called before the start. */
async function assemble(
  config: RunConfig,
  { log, version, options, early, signal }: RunContext,
  onFailure: (error: Error) => void,
) {
  const startedAt = new Date()
  const metrics = new RunMetrics(config, version, startedAt)
  const { source, writeEvent, watchCounts } = await createSource(config, version, (answer) => {
    metrics.restClient.answered(answer)
  })
  const mode = await startMode(config, log, {
    ...{ ...early, onFailure },
    endsForAnother: () => signal.reason === 'SIGTERM',
    metrics: metrics.kubeProxy,
    onEjection: (...ejection) => {
      health.ejected(...ejection)
    },
    onSwitch: switchTeller(config, () => events),
  })
  const inputs = (): StatusInputs =>
    statusInputs({ config, version, startedAt, proxy, health, mode })
  const page = new StatusPage({ clock: systemClock, wallClock: () => new Date(), inputs })
  const events = createEvents(config, log, writeEvent)
  const health = createHealthMonitor(config, {
    ...{ log, events, datapath: mode.datapath },
    onStale: () => {
      proxy.healthChanged()
    },
    page,
    readTraffic: trafficReader(mode, () => proxy.snapshot),
  })
  const proxy: ServiceProxy = new ServiceProxy({
    ...{ health, source, datapath: mode.datapath, log, config, onFailure, events },
    nodeName: config.nodeName,
    nodeIp: config.nodeIp,
    clock: systemClock,
    annotationReaders: annotationReaders(config),
    ...syncObservers(metrics, mode, () => http),
  })
  const http: RunHttp = await serveHttp({
    ...{ config, options, log, events, metrics, page },
    status: () => buildStatus(inputs()),
    node: () => proxy.snapshot.node,
    mayLackNode: config.manifests !== undefined,
    ...viewsOf({ config, proxy, health, mode, events, watchCounts }),
  })
  return { mode, health, proxy, events, page, http }
}

/** What is asked of the running proxy from outside, as it is at that moment. */
function viewsOf(
  parts: MetricsParts & { readonly config: RunConfig },
): Pick<RunHttpContext, 'metricsView' | 'explain'> {
  return {
    metricsView: () => metricsViewOf(parts),
    explain: (question, isFollowed) => explainRunning(question, isFollowed, parts),
  }
}

async function explainRunning(
  question: Question,
  isFollowed: boolean,
  { config, proxy, health, mode }: ViewParts & { readonly config: RunConfig },
): Promise<Explanation> {
  const { snapshot } = proxy
  const { mode: name, auto, traffic } = mode.status(snapshot)
  // Few ever ask: it is not loaded before.
  const { explainWith } = await import('./explain-context.js')
  const modeOf = (port: ServicePort | undefined): string =>
    auto !== undefined && port !== undefined && staysInUserspace(port) ? auto.deciding : name
  const explanation = await explainWith(
    question,
    { config, snapshot, modeOf },
    {
      healthOf: (port, endpoint) => health.healthOf(port, endpoint),
      ejectedSince: (port, endpoint) => health.ejectedSince(port, endpoint),
      openOf: (port, endpoint) =>
        traffic.read(port).endpoints.get(endpoint)?.activeConnections ?? 0,
      ...(mode.foresee && { foresee: mode.foresee }),
    },
  )
  return isFollowed ? { ...explanation, ...followed(explanation, { config, mode }) } : explanation
}

function followed(
  { question, servicePortId, mode: name }: Explanation,
  { config, mode }: { readonly config: RunConfig; readonly mode: RunningMode },
): Pick<Explanation, 'markMask' | 'relayed'> {
  const { client: clientIp, clientPort, protocol } = question
  const relayed =
    servicePortId === undefined
      ? undefined
      : mode.relayed?.({ servicePortId, protocol, clientIp, clientPort })
  return { markMask: name === 'nfqueue' ? config.nfqueue.markMask : undefined, relayed }
}

function metricsViewOf(parts: MetricsParts): MetricsView {
  const { proxy, health, mode, events, watchCounts } = parts
  return {
    snapshot: proxy.snapshot,
    events,
    watches: watchCounts?.(),
    readCounters: mode.readCounters,
    warnings: proxy.syncStatus().warnings.length,
    status: mode.status(proxy.snapshot),
    health: health.totals(),
    isUp: (servicePortId, endpointId) => health.healthOf(servicePortId, endpointId)?.isUp,
  }
}

interface ViewParts {
  readonly proxy: ServiceProxy
  readonly health: HealthMonitor
  readonly mode: RunningMode
}

type MetricsParts = ViewParts & Pick<RunSource, 'watchCounts'> & { readonly events: Events }

interface StatusParts extends ViewParts {
  readonly config: RunConfig
  readonly version: string
  readonly startedAt: Date
}

function statusInputs(parts: StatusParts): StatusInputs {
  const { config, version, startedAt, proxy, health, mode } = parts
  return {
    version,
    node: config.nodeName,
    startedAt: startedAt.toISOString(),
    uptimeSeconds: Math.round((Date.now() - startedAt.getTime()) / 1000),
    ...proxy.syncStatus(),
    ...healthStatus(health),
    ...mode.status(proxy.snapshot),
  }
}

/** Who is told of syncs. None of it is called before the proxy starts. */
function syncObservers(metrics: RunMetrics, mode: RunningMode, http: () => RunHttp): SyncObservers {
  const heap = new HeapTrim({ clock: systemClock, release: releaseMemory })
  return {
    onQueued: (changes) => {
      metrics.queued(changes)
      http().health.queued()
    },
    onSyncStarted: () => {
      metrics.syncStarted()
    },
    onSyncFailed: () => {
      metrics.syncFailed()
    },
    onSynced: (snapshot, tookMs) => {
      metrics.synced(tookMs)
      http().health.synced()
      void http().healthCheckNodePorts.sync(snapshot)
      mode.onSynced()
      heap.synced()
    },
  }
}

async function shutDown(mode: RunningMode, config: RunConfig, log: Logger): Promise<void> {
  const { datapath } = mode
  const connections = mode.openConnections()
  log.info(
    { connections, drainTimeoutMs: config.drainTimeoutMs },
    'no new connections are taken; those that are open may end',
  )
  await datapath.drain(AbortSignal.timeout(config.drainTimeoutMs))
  const reset = mode.openConnections()
  try {
    await datapath.close()
  } catch (error) {
    log.error(
      { error: messageOf(error) },
      'not everything could be removed from the kernel; run: kube-sluice cleanup',
    )
  }
  log.info({ reset }, 'stopped')
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  // The interval keeps the process going when there is nothing to serve.
  const keepAlive = setInterval(() => undefined, 60_000)
  await new Promise<void>((resolve) => {
    signal.addEventListener(
      'abort',
      () => {
        resolve()
      },
      { once: true },
    )
  })
  clearInterval(keepAlive)
}
