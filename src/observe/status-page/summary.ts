/** The head of the page, and the totals of the history, from what the status is made from. Pure. */
import type { Gauge, Summary } from '../../page/wire.js'
import type { StatusInputs } from '../build-status.js'
import type { Totals } from './history.js'

export interface RowSums {
  readonly rows: number
  readonly inUse: number
  readonly down: number
  readonly ejected: number
}

export function totalsOf({ traffic, steering }: StatusInputs): Totals {
  const { activeConnections, totalConnections, failedConnections, retries } = traffic.totals()
  const queues = steering?.queues ?? []
  return {
    open: activeConnections,
    total: totalConnections,
    failed: failedConnections,
    retries,
    waiting: queues.reduce((sum, { waiting }) => sum + waiting, 0),
    queueDropped: queues.reduce((sum, queue) => sum + queue.dropped + queue.droppedByBuffer, 0),
    bounds: steering?.verdictLatency.bounds ?? [],
    latency: steering?.verdictLatency.counts ?? [],
  }
}

export function summaryOf(inputs: StatusInputs, sums: RowSums): Summary {
  const { snapshot, mode, auto, capture, steering, lastSyncAt, lastSyncError, warnings } = inputs
  const { open, total, failed, retries, waiting, queueDropped } = totalsOf(inputs)
  let endpoints = 0
  for (const state of snapshot.servicePorts.values()) endpoints += state.endpoints.length
  const gauges: Gauge[] = (auto?.thresholds ?? []).map(({ of, limit, value }) => ({
    name: of,
    value: value ?? null,
    limit,
  }))
  return {
    mode,
    modeDetail: capture ?? (auto === undefined ? '' : `then ${auto.fallback}`),
    countsConnections: mode === 'userspace' || mode === 'nfqueue',
    gauges,
    uptimeSeconds: inputs.uptimeSeconds,
    servicePorts: snapshot.servicePorts.size,
    leftOut: Math.max(0, snapshot.servicePorts.size - sums.rows),
    endpoints,
    inUse: sums.inUse,
    down: sums.down,
    ejected: sums.ejected,
    ...{ open, total, failed, retries, waiting, queueDropped },
    queues: steering?.queues.length ?? 0,
    problem: problemOf(lastSyncAt, lastSyncError, warnings),
  }
}

function problemOf(
  lastSyncAt: string | undefined,
  lastSyncError: string | undefined,
  warnings: readonly string[],
): string | null {
  if (lastSyncError !== undefined) return `The last sync failed: ${lastSyncError}`
  if (lastSyncAt === undefined) return 'Nothing is in force yet: the first sync is still to come.'
  const [first] = warnings
  if (first === undefined) return null
  return warnings.length === 1 ? first : `${first} (and ${warnings.length - 1} more warnings)`
}
