/** `kube-sluice status`: asks the running proxy and shows the answer as a table. */
import { get } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import type { OptionValues } from '../config/options.js'
import { messageOf, SluiceError } from '../lib/errors.js'
import type { EndpointStatus, ProxyStatus, ServicePortStatus } from '../observe/status.js'
import { proxyUrl } from './proxy-url.js'

const TIMEOUT_MS = 5000
const REDRAW_MS = 1000

export interface StatusContext {
  readonly write: (text: string) => void
  readonly signal: AbortSignal
}

type StatusOptions = Pick<
  OptionValues,
  'metricsBindAddress' | 'url' | 'output' | 'namespace' | 'watch'
>

/** Prints the status once, or every second until the signal aborts. Throws ERR_STATUS_UNREACHABLE. */
export async function status(
  options: StatusOptions,
  { write, signal }: StatusContext,
): Promise<number> {
  const url = proxyUrl(options, '/status')
  for (;;) {
    const text = await fetchText(url)
    const clear = options.watch && process.stdout.isTTY ? '\x1b[H\x1b[2J' : ''
    const shown =
      options.output === 'json'
        ? `${text}\n`
        : statusTable(JSON.parse(text) as ProxyStatus, options.namespace)
    write(clear + shown)
    if (!options.watch || signal.aborted) return 0
    await wait(REDRAW_MS, undefined, { signal }).catch(() => undefined)
  }
}

/** The table, as plain text. */
export function statusTable(status: ProxyStatus, namespace: string | undefined): string {
  const { totals, capture, lastSyncError } = status
  const services = status.services.filter(
    ({ name }) => namespace === undefined || name.startsWith(`${namespace}/`),
  )
  const head = [
    `node ${status.node}   mode ${status.mode}${capture === undefined ? '' : ` (${capture})`}   up ${status.uptimeSeconds} s   generation ${status.generation}`,
    `${totals.servicePorts} Service ports, ${totals.endpoints} endpoints; connections: ${totals.activeConnections} active, ${totals.totalConnections} in all, ${totals.failedConnections} failed, ${totals.retries} retries`,
    ...autoLines(status),
    ...(lastSyncError === undefined ? [] : [`last sync failed: ${lastSyncError}`]),
    ...status.warnings.map((warning) => `warning: ${warning}`),
  ]
  const rows = [
    ['SERVICE / ENDPOINT', 'STATE', 'WEIGHT', 'ACTIVE', 'TOTAL', 'FAILED', 'RETRIES'],
    ...services.flatMap(serviceRows),
  ]
  return `${head.join('\n')}\n\n${columns(rows)}\n`
}

/** What the automatic switch goes by. */
function autoLines({ auto }: ProxyStatus): string[] {
  if (auto === undefined) return []
  const { deciding, fallback, thresholds, switches, lastSwitch } = auto
  const loads = thresholds.map(({ of, limit, value }) => {
    const shown = value === undefined ? '?' : String(Math.round(value * 10) / 10)
    return `${of} ${shown} of ${limit}`
  })
  return [
    `auto: ${deciding}, past a threshold ${fallback}; ${loads.join(', ')}`,
    ...(lastSwitch === undefined
      ? []
      : [
          `switched ${switches} times, last at ${lastSwitch.at} from ${lastSwitch.from} to ${lastSwitch.to}: ${lastSwitch.reason}`,
        ]),
  ]
}

function serviceRows(service: ServicePortStatus): string[][] {
  const vips = service.vips.map(({ address, action }) =>
    action === 'balance' ? address : `${address} (${action})`,
  )
  const counts = [
    service.activeConnections,
    service.totalConnections,
    service.failedConnections,
    service.retries,
  ]
  return [
    [
      `${service.name} ${service.protocol} ${vips.join(' ')}`,
      service.balancer,
      '',
      ...counts.map(String),
    ],
    ...service.endpoints.map((endpoint) => [
      `  ${endpoint.address}${endpoint.pod === undefined ? '' : ` ${endpoint.pod}`}`,
      stateOf(endpoint),
      String(endpoint.weight),
      String(endpoint.activeConnections),
      String(endpoint.totalConnections),
      String(endpoint.connectFailures),
      '',
    ]),
  ]
}

function stateOf(endpoint: EndpointStatus): string {
  if (endpoint.terminating) return endpoint.inUse ? 'terminating, in use' : 'terminating'
  if (!endpoint.ready) return 'not ready'
  if (endpoint.weight === 0) return 'draining'
  return endpoint.inUse ? 'ready' : 'ready, elsewhere'
}

function columns(rows: readonly string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column < 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** What the proxy answers. Throws SluiceError ERR_STATUS_UNREACHABLE. */
export function fetchText(url: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    const fail = (error: unknown): void => {
      reject(
        new SluiceError(
          'ERR_STATUS_UNREACHABLE',
          `no proxy answers at ${url.host}: ${messageOf(error)}; is it running, with this --metrics-bind-address?`,
          { cause: error },
        ),
      )
    }
    const request = get(url, { timeout: TIMEOUT_MS, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => (text += chunk))
      response.on('end', () => {
        resolve(text)
      })
      response.on('error', fail)
    })
    request.on('timeout', () => request.destroy(new Error('no answer within 5 s')))
    request.on('error', fail)
  })
}
