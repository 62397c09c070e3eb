/** The HTTP endpoints of a running proxy (reference 2.2 and 1.7). */
import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { kubeProxyDocument, kubeSluiceDocument } from '../config/config-documents.js'
import type { ResolvedOptions } from '../config/resolve-options.js'
import type { RunConfig } from '../config/run-config.js'
import { localAddresses } from '../kernel/local-address.js'
import { systemClock } from '../lib/clock.js'
import { messageOf, SluiceError } from '../lib/errors.js'
import type { IpFamily } from '../lib/ip-address.js'
import { nodePortAddressesOf } from '../model/node-port-addresses.js'
import type { NodeState } from '../model/snapshot.js'
import { HealthCheckNodePorts, type ListenFailure } from '../observe/health-check-node-port.js'
import { json, plain, serve, type Answer, type Answerer } from '../observe/http-server.js'
import { hostCheck } from '../observe/host-check.js'
import type { Events } from '../observe/events.js'
import type { Explanation } from '../observe/explain/explain.js'
import { parseQuestion, type Question } from '../observe/explain/question.js'
import type { Logger } from '../observe/log.js'
import { ProxyHealth } from '../observe/proxy-health.js'
import type { StatusPage } from '../observe/status-page/status-page.js'
import type { ProxyStatus } from '../observe/status.js'
import { familiesOfNode, type MetricsView, type RunMetrics } from './run-metrics.js'

export interface RunHttpContext {
  readonly config: RunConfig
  readonly options: () => ResolvedOptions
  readonly log: Logger
  readonly events: Events
  readonly metrics: RunMetrics
  readonly node: () => NodeState
  /** Manifests need not have a Node object for this node. */
  readonly mayLackNode: boolean
  readonly status: () => ProxyStatus
  readonly metricsView: () => MetricsView
  readonly page: Pick<StatusPage, 'paths' | 'streams'>
  readonly explain: (question: Question, isFollowed: boolean) => Promise<Explanation>
}

export interface RunHttp {
  readonly health: ProxyHealth
  readonly healthCheckNodePorts: HealthCheckNodePorts
  close(): Promise<void>
}

/** Serves the health and the metrics address. Throws SluiceError ERR_LISTEN with bindAddressHardFail. */
export async function serveHttp(context: RunHttpContext): Promise<RunHttp> {
  const { config, log } = context
  const health = new ProxyHealth({
    clock: systemClock,
    wallClock: () => new Date(),
    get syncPeriodMs() {
      return config.syncPeriodMs
    },
    families: familiesOfNode(),
    isNodeEligible: () => isEligible(context),
  })
  const common = { hardFail: config.bindAddressHardFail, log }
  const stops: (() => Promise<void>)[] = []
  if (config.healthzBindAddress !== undefined) {
    const paths = healthPaths(health, context.metrics)
    const server = { ...common, name: 'healthz', bind: config.healthzBindAddress, paths }
    stops.push(await serveOrTell(server, 'FailedToStartProxierHealthcheck', context))
  }
  if (config.metricsBindAddress !== undefined) {
    const bind = config.metricsBindAddress
    const paths = metricsPaths(context)
    const streams = new Map(context.page.streams)
    const takesHost = hostCheck(bind, config.metricsAllowedHosts)
    const server = { ...common, name: 'metrics', bind, paths, streams, takesHost }
    stops.push(await serveOrTell(server, 'FailedToStartMetricServer', context))
  }
  const healthCheckNodePorts = new HealthCheckNodePorts({
    addresses: (family) => nodePortListenAddresses(family, context),
    isProxyHealthy: () => health.isHealthy(),
    onFailure: (failure) => {
      tellUnbound(failure, context)
    },
  })
  return {
    health,
    healthCheckNodePorts,
    close: async () => {
      await healthCheckNodePorts.close()
      await Promise.all(stops.map((stop) => stop()))
    },
  }
}

/** With bindAddressHardFail a failure ends the process: the event is written before (reference 2.4). */
async function serveOrTell(
  server: Parameters<typeof serve>[0],
  reason: 'FailedToStartProxierHealthcheck' | 'FailedToStartMetricServer',
  { config, events }: RunHttpContext,
): ReturnType<typeof serve> {
  try {
    return await serve(server)
  } catch (error) {
    const node = { kind: 'Node', name: config.nodeName } as const
    events.warn(node, reason, messageOf(error), { action: 'StartKubeProxy' })
    await events.close()
    throw error
  }
}

/** A log line, and an event on the Service (reference 2.4). */
export function tellUnbound(
  { namespace, name, port, reason }: ListenFailure,
  { log, events }: { readonly log: Pick<Logger, 'warn'>; readonly events: Pick<Events, 'warn'> },
): void {
  const text = `healthCheckNodePort ${port} cannot be bound: ${reason}; tried again at the next sync`
  log.warn({ service: `${namespace}/${name}`, port }, `Service ${namespace}/${name}: ${text}`)
  const subject = { kind: 'Service', namespace, name } as const
  events.warn(subject, 'FailedToStartServiceHealthcheck', text, {
    action: 'Listen',
    isLogged: true,
  })
}

/** A node without a Node object is unknown to load balancers; manifests may go without one. */
function isEligible({ node, mayLackNode }: RunHttpContext): boolean {
  const { isLeaving, isUnknown } = node()
  return isLeaving !== true && (isUnknown !== true || mayLackNode)
}

function healthPaths(health: ProxyHealth, { kubeProxy }: RunMetrics): Map<string, Answerer> {
  return new Map<string, Answerer>([
    [
      '/healthz',
      () => {
        const { status, body } = health.healthz()
        kubeProxy.healthzAnswered(status)
        return json(body, status)
      },
    ],
    [
      '/livez',
      () => {
        const { status, body } = health.livez()
        kubeProxy.livezAnswered(status)
        return json(body, status)
      },
    ],
  ])
}

function metricsPaths(context: RunHttpContext): Map<string, Answerer> {
  const { config, options, metrics, status, metricsView } = context
  return new Map<string, Answerer>([
    ['/healthz', () => plain('ok')],
    ['/healthz/ping', () => plain('ok')],
    ['/proxyMode', () => plain(metricsView().status.mode)],
    ['/metrics', async () => prometheus(await metrics.text(metricsView()))],
    [
      '/configz',
      () =>
        json({
          'kubeproxy.config.k8s.io': kubeProxyDocument(options()),
          'kube-sluice.io': kubeSluiceDocument(options()),
        }),
    ],
    ['/status', () => json(status())],
    ...context.page.paths,
    ['/explain', (query) => explained(query, context)],
    ...(config.profiling ? debugPaths() : []),
  ])
}

/** `/explain?protocol=tcp&client=10.0.0.5&vip=10.96.0.10:443` */
async function explained(query: URLSearchParams, { explain }: RunHttpContext): Promise<Answer> {
  const word = (name: string): string => query.get(name) ?? ''
  try {
    const question = parseQuestion(word('protocol'), word('client'), word('vip'))
    return json(await explain(question, query.has('packet')))
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error
    return plain(`${error.message}\n`, 400)
  }
}

function prometheus(body: string): Answer {
  return { status: 200, contentType: 'text/plain; version=0.0.4; charset=utf-8', body }
}

/** One listener for all addresses, unless the addresses of node ports are named. */
function nodePortListenAddresses(
  family: IpFamily,
  { config, node }: RunHttpContext,
): 'all' | readonly string[] {
  const { nodePortAddresses } = config
  const ofFamily =
    nodePortAddresses === 'primary'
      ? undefined
      : nodePortAddresses.filter((range) => range.family === family)
  const takesAll =
    ofFamily !== undefined &&
    (ofFamily.length === 0 || ofFamily.some(({ prefixLength }) => prefixLength === 0))
  if (takesAll) return 'all'
  return nodePortAddressesOf(family, node(), { ...config, localAddresses: localAddresses() })
}

/** What a look into a running process needs; only with `--profiling`. */
function debugPaths(): [string, Answerer][] {
  return [
    ['/debug/memory', (query) => memory(query.has('collect'))],
    ['/debug/handles', () => json(countOf(process.getActiveResourcesInfo()))],
  ]
}

/** `?collect`: after a full garbage collection, which stops everything for a moment. */
function memory(isCollecting: boolean): Answer {
  if (isCollecting) {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    collect()
  }
  return json({ ...process.memoryUsage(), heap: getHeapStatistics() })
}

function countOf(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}
