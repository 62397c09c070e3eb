/** The HTTP endpoints of a running proxy (reference 2.2), as far as the userspace mode has them. */
import { getHeapStatistics } from 'node:v8'
import { kubeProxyDocument, kubeSluiceDocument } from '../config/config-documents.js'
import type { ResolvedOptions } from '../config/resolve-options.js'
import type { RunConfig } from '../config/run-config.js'
import { systemClock } from '../lib/clock.js'
import { json, plain, serve, type Answer } from '../observe/http-server.js'
import type { Logger } from '../observe/log.js'
import { ProxyHealth } from '../observe/proxy-health.js'
import type { ProxyStatus } from '../observe/status.js'

export interface RunHttpContext {
  readonly config: RunConfig
  readonly options: () => ResolvedOptions
  readonly log: Logger
}

export interface RunHttp {
  readonly health: ProxyHealth
  close(): Promise<void>
}

/** What a look into a running process needs; only with `--profiling`. */
function debugPaths(): [string, () => Answer][] {
  return [
    ['/debug/memory', () => json({ ...process.memoryUsage(), heap: getHeapStatistics() })],
    ['/debug/handles', () => json(countOf(process.getActiveResourcesInfo()))],
  ]
}

function countOf(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1
  return counts
}

/** Serves the health and the metrics address. Throws SluiceError ERR_LISTEN with bindAddressHardFail. */
export async function serveHttp(
  { config, options, log }: RunHttpContext,
  status: () => ProxyStatus,
): Promise<RunHttp> {
  const health = new ProxyHealth({
    clock: systemClock,
    wallClock: () => new Date(),
    get syncPeriodMs() {
      return config.syncPeriodMs
    },
  })
  const healthAnswer = (): Answer => json(health.body(), health.isHealthy() ? 200 : 503)
  const common = { hardFail: config.bindAddressHardFail, log }
  const stops: (() => Promise<void>)[] = []
  if (config.healthzBindAddress !== undefined) {
    const paths = new Map([
      ['/healthz', healthAnswer],
      ['/livez', healthAnswer],
    ])
    stops.push(await serve({ ...common, name: 'healthz', bind: config.healthzBindAddress, paths }))
  }
  if (config.metricsBindAddress !== undefined) {
    const paths = new Map([
      ['/healthz', () => plain('ok')],
      ['/proxyMode', () => plain(status().mode)],
      [
        '/configz',
        () =>
          json({
            'kubeproxy.config.k8s.io': kubeProxyDocument(options()),
            'kube-sluice.io': kubeSluiceDocument(options()),
          }),
      ],
      ['/status', () => json(status())],
      ...(config.profiling ? debugPaths() : []),
    ])
    stops.push(await serve({ ...common, name: 'metrics', bind: config.metricsBindAddress, paths }))
  }
  return {
    health,
    close: async () => {
      await Promise.all(stops.map((stop) => stop()))
    },
  }
}
