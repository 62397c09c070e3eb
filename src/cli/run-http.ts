/** The HTTP endpoints of a running proxy (reference 2.2), as far as the userspace mode has them. */
import type { RunConfig } from '../config/run-config.js'
import { systemClock } from '../lib/clock.js'
import { json, plain, serve, type Answer } from '../observe/http-server.js'
import type { Logger } from '../observe/log.js'
import { ProxyHealth } from '../observe/proxy-health.js'
import type { ProxyStatus } from '../observe/status.js'

export interface RunHttp {
  readonly health: ProxyHealth
  close(): Promise<void>
}

/** Serves the health and the metrics address. Throws SluiceError ERR_LISTEN with bindAddressHardFail. */
export async function serveHttp(
  config: RunConfig,
  log: Logger,
  status: () => ProxyStatus,
): Promise<RunHttp> {
  const health = new ProxyHealth({
    clock: systemClock,
    wallClock: () => new Date(),
    syncPeriodMs: config.syncPeriodMs,
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
      ['/configz', () => json({ 'kube-sluice.io': config })],
      ['/status', () => json(status())],
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
