/** What the page asks about rows that can be seen: their history, and their endpoints when they are open. */
import type { Details, EndpointDetail } from '../../page/wire.js'
import type { ServicePortState } from '../../model/snapshot.js'
import type { StatusInputs } from '../build-status.js'
import { endpointState } from '../endpoint-state.js'
import { type History, SERIES_STEPS, STEP_MS } from './history.js'
import type { RowTable } from './row-table.js'

const MAX_ROWS = 200
export const MAX_ENDPOINTS = 1000

/** `rows`, `open`: ids separated by commas; what is not known is left out of the answer. */
export function detailsOf(
  query: URLSearchParams,
  inputs: StatusInputs,
  { table, history }: { readonly table: RowTable; readonly history: History },
): Details {
  const open = new Set(idsOf(query.get('open')))
  let room = MAX_ENDPOINTS
  const rows = idsOf(query.get('rows')).flatMap((id) => {
    const row = table.rowOf(id)
    if (row === undefined) return []
    const rates = history.ratesOf(row.portId)
    if (!open.has(id)) return [{ id, rates }]
    const endpoints = endpointsOf(row.state, inputs, room)
    room -= endpoints.length
    return [{ id, rates, endpoints, leftOut: row.state.endpoints.length - endpoints.length }]
  })
  return { stepMs: STEP_MS * SERIES_STEPS, rows }
}

function idsOf(text: string | null): number[] {
  return (text ?? '').split(',', MAX_ROWS).filter(Boolean).map(Number)
}

function endpointsOf(
  { servicePort, endpoints, reachable }: ServicePortState,
  { traffic, healthOf, ejectedSince }: StatusInputs,
  room: number,
): EndpointDetail[] {
  const inUse = new Set(reachable.map(({ id }) => id))
  const counts = traffic.read(servicePort.id)
  return endpoints.slice(0, room).map((endpoint) => {
    const health = healthOf(servicePort.id, endpoint.id)
    const ejected = ejectedSince(servicePort.id, endpoint.id)
    const counted = counts.endpoints.get(endpoint.id)
    const since = ejected ?? health?.since
    return {
      address: endpoint.id,
      pod: endpoint.podName ?? '',
      node: endpoint.nodeName ?? '',
      zone: endpoint.zone ?? '',
      state: endpointState(endpoint, {
        isInUse: inUse.has(endpoint.id),
        isUp: health?.isUp,
        isEjected: ejected !== undefined,
      }),
      reason: health === undefined ? '' : `${health.check}: ${health.reason ?? 'not probed yet'}`,
      since: since?.toISOString() ?? '',
      weight: endpoint.weight,
      open: counted?.activeConnections ?? 0,
      total: counted?.totalConnections ?? 0,
      failures: counted?.connectFailures ?? 0,
    }
  })
}
