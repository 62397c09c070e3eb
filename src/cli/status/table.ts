/** The status as a table: head, and a row for each Service port and endpoint. Pure. */
import type { EndpointStatus, ProxyStatus, ServicePortStatus } from '../../observe/status.js'
import type { Paint } from '../paint.js'
import { wrapText } from '../wrap-text.js'
import { type Cell, type Column, type Fit, tableLines, type TableRow } from './columns.js'
import type { Rates } from './rates.js'
import { age, perSecond } from './short-numbers.js'
import { arranged, troubleOf, type View } from './view.js'

export interface TableOptions extends Fit {
  readonly view: View
  /** Only when it is watched. */
  readonly rates?: Rates
  /** Now, milliseconds since the epoch. */
  readonly nowMs: number
}

const COLUMNS: readonly Column[] = [
  { title: 'SERVICE / ENDPOINT' },
  { title: 'STATE' },
  { title: 'SINCE', isNumber: true, dropped: 5 },
  { title: 'WEIGHT', isNumber: true, dropped: 3 },
  { title: 'OPEN', isNumber: true },
  { title: 'RATE/S', isNumber: true, dropped: 7 },
  { title: 'TOTAL', isNumber: true, dropped: 4 },
  { title: 'FAILED', isNumber: true, dropped: 6 },
  { title: 'RETRIES', isNumber: true, dropped: 2 },
  { title: 'BALANCER / LAST CHECK', dropped: 1 },
]
const COUNTS: ReadonlySet<number> = new Set(
  ['OPEN', 'RATE/S', 'TOTAL', 'FAILED'].map((name) =>
    COLUMNS.findIndex(({ title }) => title === name),
  ),
)
const RATE = COLUMNS.findIndex(({ title }) => title === 'RATE/S')

/** Head and table, each an array of lines. */
export function statusLines(
  status: ProxyStatus,
  options: TableOptions,
): { readonly head: readonly string[]; readonly table: readonly string[] } {
  const services = arranged(status, options.view, options.rates)
  const rows = services.flatMap((service) => rowsOf(service, { ...options, status }))
  const hasRates = options.rates !== undefined
  const shown = <T>(list: readonly T[]): T[] => list.filter((_, i) => hasRates || i !== RATE)
  return {
    head: headLines(status, options),
    table: tableLines(shown(COLUMNS), rows.map(shown), options),
  }
}

/** The whole of it as text. */
export function statusText(status: ProxyStatus, options: TableOptions): string {
  const { head, table } = statusLines(status, options)
  return `${[...head, '', ...table].join('\n')}\n`
}

function headLines(status: ProxyStatus, { width, rates }: TableOptions): string[] {
  const { totals, capture, lastSyncAt, lastSyncError, steering, mode, auto } = status
  const hasRules = mode !== 'userspace' && mode !== 'nfqueue'
  const detail = capture === undefined ? '' : ` (${capture})`
  const rate = rates?.all === undefined ? '' : `, ${perSecond(rates.all)} new/s`
  const queues = steering?.queues ?? []
  const sum = (of: (queue: (typeof queues)[number]) => number): number =>
    queues.reduce((all, queue) => all + of(queue), 0)
  const counts = `connections: ${totals.activeConnections} open${rate}, ${totals.totalConnections} in all, ${totals.failedConnections} failed, ${totals.retries} retries`
  const uncounted = "connections: those that rules serve are the kernel's, and not counted"
  const connectionLines = [
    ...(hasRules ? [uncounted] : []),
    ...(hasRules && auto === undefined ? [] : [counts]),
  ]
  const lines = [
    `node ${status.node}, mode ${status.mode}${detail}, up ${age(status.uptimeSeconds)}, generation ${status.generation}`,
    `${totals.servicePorts} Service ports, ${totals.endpoints} endpoints: ${countsOf(status)}`,
    ...connectionLines,
    ...(queues.length === 0
      ? []
      : [
          `queues: ${queues.length}, ${sum(({ waiting }) => waiting)} packets waiting, ${sum(({ dropped, droppedByBuffer }) => dropped + droppedByBuffer)} dropped`,
        ]),
    ...autoLines(status),
    ...(lastSyncAt === undefined
      ? ['nothing is in force yet: the first sync is still to come']
      : []),
    ...(lastSyncError === undefined ? [] : [`last sync failed: ${lastSyncError}`]),
    ...status.warnings.map((warning) => `warning: ${warning}`),
  ]
  return width === undefined ? lines : lines.flatMap((line) => wrapText(line, width))
}

/** `7 up, 1 down` */
function countsOf({ services }: ProxyStatus): string {
  const counts = new Map<string, number>()
  for (const { endpoints } of services) {
    for (const { state } of endpoints) counts.set(state, (counts.get(state) ?? 0) + 1)
  }
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ') || 'none'
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

function rowsOf(
  service: ServicePortStatus,
  options: TableOptions & { readonly status: ProxyStatus },
): TableRow[] {
  const { rates, view, status } = options
  const isCounted = countsConnections(status, service)
  const counted = (value: number, paint?: Paint): Cell =>
    isCounted ? number(value, paint) : UNCOUNTED
  const vips = service.vips.map(({ address, action }) =>
    action === 'reject' || action === 'drop' ? `${address} (${action})` : address,
  )
  const inUse = service.endpoints.filter(({ inUse }) => inUse).length
  const row: TableRow = [
    { text: `${service.name} ${service.protocol} ${vips.join(' ')}`.trimEnd(), paint: 'bold' },
    { text: `${inUse}/${service.endpoints.length} in use`, paint: paintOfService(service) },
    NOTHING,
    NOTHING,
    counted(service.activeConnections),
    isCounted ? { text: perSecond(rates?.of(service)) } : UNCOUNTED,
    counted(service.totalConnections),
    counted(service.failedConnections, 'red'),
    counted(service.retries, 'yellow'),
    { text: service.balancer, paint: 'dim' },
  ]
  if (!view.showsEndpoints) return [row]
  return [
    row,
    ...service.endpoints.map((endpoint) =>
      isCounted
        ? endpointRow(service, endpoint, options)
        : withoutCounts(endpointRow(service, endpoint, options)),
    ),
  ]
}

function endpointRow(
  service: ServicePortStatus,
  endpoint: EndpointStatus,
  { rates, nowMs }: TableOptions,
): TableRow {
  const { address, pod, state, inUse, ejectedSince, health } = endpoint
  const since = state === 'ejected' ? ejectedSince : health?.since
  const isOddlyUsed = inUse && state !== 'up' && state !== 'ejected'
  return [
    { text: `  ${address}${pod === undefined ? '' : ` ${pod}`}` },
    { text: isOddlyUsed ? `${state}*` : state, paint: PAINTS[state] },
    { text: since === undefined ? '' : age((nowMs - Date.parse(since)) / 1000) },
    number(endpoint.weight),
    number(endpoint.activeConnections),
    { text: perSecond(rates?.of(service, endpoint)) },
    number(endpoint.totalConnections),
    number(endpoint.connectFailures, 'red'),
    NOTHING,
    { text: health === undefined ? '' : `${health.check}: ${health.reason ?? 'not probed yet'}` },
  ]
}

/** Rules tell nothing of connections: only what the mode decides about is counted. */
function countsConnections(
  { mode, auto }: Pick<ProxyStatus, 'mode' | 'auto'>,
  { vips }: Pick<ServicePortStatus, 'vips'>,
): boolean {
  if (mode === 'userspace' || mode === 'nfqueue') return true
  return auto !== undefined && vips.some(({ action }) => action !== 'rules')
}

function withoutCounts(row: TableRow): TableRow {
  return row.map((cell, index) => (COUNTS.has(index) && cell !== NOTHING ? UNCOUNTED : cell))
}

const UNCOUNTED: Cell = { text: '-', paint: 'dim' }
const NOTHING: Cell = { text: '' }

const PAINTS: Readonly<Record<EndpointStatus['state'], Paint>> = {
  up: 'green',
  down: 'red',
  ejected: 'red',
  draining: 'yellow',
  terminating: 'yellow',
  'not ready': 'yellow',
  unused: 'dim',
}

function paintOfService(service: ServicePortStatus): Paint {
  const trouble = troubleOf(service)
  if (trouble === 0) return 'green'
  return trouble > 1 ? 'red' : 'yellow'
}

/** With a colour when it is not 0. */
function number(value: number, paint: Paint = 'plain'): Cell {
  return { text: String(value), paint: value === 0 ? 'plain' : paint }
}
