/**
 * The rows of the page, one for a Service port, and when each last changed: so a reader is sent what
 * changed since it was last sent something, however long ago that is, and nothing is kept for it.
 * Exists only while somebody looks. At most `maxRows` rows, in order of names.
 */
import { formatAddress } from '../../lib/ip-address.js'
import { servicePortName } from '../../model/service-port.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
import { vipsOf } from '../../model/vip.js'
import type { CountRow, StaticRow } from '../../page/wire.js'
import type { StatusInputs } from '../build-status.js'
import { endpointState } from '../endpoint-state.js'

export const MAX_ROWS = 20_000
const MAX_VIPS = 8
/** Time over which a rate is averaged. */
const RATE_SECONDS = 5

interface Row {
  readonly portId: string
  readonly id: number
  state: ServicePortState
  fixed: StaticRow
  fixedAt: number
  counts: CountRow
  countsAt: number
  rate: number
}

export type RowInputs = Pick<
  StatusInputs,
  'snapshot' | 'traffic' | 'balancerOf' | 'healthOf' | 'ejectedSince'
>

export interface RowChanges {
  readonly rows: StaticRow[]
  readonly counts: CountRow[]
  readonly gone: number[]
}

export class RowTable {
  readonly #maxRows: number
  readonly #rows = new Map<string, Row>()
  readonly #byId = new Map<number, Row>()
  readonly #stale = new Set<string>()
  #gone: { readonly id: number; readonly at: number }[] = []
  #snapshot: Snapshot | undefined
  #nextId = 1
  /** Number of the latest update. */
  tick = 0
  /** Readers that were last sent something before this one know of rows that are gone for good. */
  forgottenAt = 0

  constructor(maxRows = MAX_ROWS) {
    this.#maxRows = maxRows
  }

  get size(): number {
    return this.#rows.size
  }

  /** Sums over all rows. */
  sums(): { inUse: number; down: number; ejected: number } {
    const sums = { inUse: 0, down: 0, ejected: 0 }
    for (const { fixed } of this.#rows.values()) {
      sums.inUse += fixed[6]
      sums.down += fixed[7]
      sums.ejected += fixed[8]
    }
    return sums
  }

  /** The health of an endpoint of it has changed. */
  markStale(portId: string): void {
    this.#stale.add(portId)
  }

  rowOf(id: number): { readonly portId: string; readonly state: ServicePortState } | undefined {
    return this.#byId.get(id)
  }

  /** Brings the rows to what is now; `seconds` since the last time. */
  update(inputs: RowInputs, seconds: number): void {
    this.tick++
    if (inputs.snapshot !== this.#snapshot) this.#follow(inputs)
    for (const portId of this.#stale) {
      const row = this.#rows.get(portId)
      if (row !== undefined) this.#setFixed(row, fixedOf(row.id, row.state, inputs))
    }
    this.#stale.clear()
    const share = 1 - Math.exp(-seconds / RATE_SECONDS)
    for (const row of this.#rows.values()) this.#count(row, inputs, { seconds, share })
  }

  /** What has changed since number `tick`; 0: everything. */
  since(tick: number): RowChanges {
    const changes: RowChanges = { rows: [], counts: [], gone: [] }
    for (const { fixed, fixedAt, counts, countsAt } of this.#rows.values()) {
      if (fixedAt > tick) changes.rows.push(fixed)
      if (countsAt > tick) changes.counts.push(counts)
    }
    if (tick > 0) for (const { id, at } of this.#gone) if (at > tick) changes.gone.push(id)
    return changes
  }

  #follow(inputs: RowInputs): void {
    const { servicePorts } = inputs.snapshot
    let room = this.#maxRows
    const wanted = new Set<string>()
    for (const [portId, state] of servicePorts) {
      if (room-- <= 0) break
      wanted.add(portId)
      const row = this.#rows.get(portId)
      if (row === undefined) this.#add(portId, state, inputs)
      else if (row.state !== state) {
        row.state = state
        this.#setFixed(row, fixedOf(row.id, state, inputs))
      }
    }
    for (const [portId, { id }] of this.#rows) {
      if (wanted.has(portId)) continue
      this.#rows.delete(portId)
      this.#byId.delete(id)
      this.#gone.push({ id, at: this.tick })
    }
    const tooMany = this.#gone.length - this.#maxRows
    if (tooMany > 0) {
      this.forgottenAt = this.#gone[tooMany - 1]?.at ?? 0
      this.#gone = this.#gone.slice(tooMany)
    }
    this.#snapshot = inputs.snapshot
  }

  #add(portId: string, state: ServicePortState, inputs: RowInputs): void {
    const id = this.#nextId++
    const { activeConnections, totalConnections, failedConnections, retries } =
      inputs.traffic.read(portId)
    const row: Row = {
      ...{ portId, id, state, fixed: fixedOf(id, state, inputs), fixedAt: this.tick },
      counts: [id, activeConnections, 0, totalConnections, failedConnections, retries],
      ...{ countsAt: this.tick, rate: 0 },
    }
    this.#rows.set(portId, row)
    this.#byId.set(id, row)
  }

  #setFixed(row: Row, fixed: StaticRow): void {
    if (fixed.every((value, index) => value === row.fixed[index])) return
    row.fixed = fixed
    row.fixedAt = this.tick
  }

  #count(row: Row, { traffic }: RowInputs, time: { seconds: number; share: number }): void {
    const now = traffic.read(row.portId)
    const before = row.counts
    const { activeConnections, totalConnections, failedConnections, retries } = now
    const isQuiet = totalConnections === before[3] && row.rate === 0
    if (!isQuiet) {
      const rate = Math.max(0, totalConnections - before[3]) / time.seconds
      row.rate += (rate - row.rate) * time.share
      if (row.rate < 0.01) row.rate = 0
    }
    const rate = rounded(row.rate)
    if (
      rate === before[2] &&
      activeConnections === before[1] &&
      totalConnections === before[3] &&
      failedConnections === before[4] &&
      retries === before[5]
    ) {
      return
    }
    row.counts = [row.id, activeConnections, rate, totalConnections, failedConnections, retries]
    row.countsAt = this.tick
  }
}

/** As many digits as are read. */
function rounded(rate: number): number {
  return rate >= 100 ? Math.round(rate) : Math.round(rate * 10) / 10
}

function fixedOf(id: number, state: ServicePortState, inputs: RowInputs): StaticRow {
  const { servicePort, endpoints, reachable } = state
  const all = vipsOf(servicePort)
  const vips = all
    .slice(0, MAX_VIPS)
    .map(({ address, port }) =>
      address === undefined ? `node:${port}` : formatAddress(address, port),
    )
  if (all.length > MAX_VIPS) vips.push(`+${all.length - MAX_VIPS}`)
  let down = 0
  let ejected = 0
  for (const endpoint of endpoints) {
    const state = endpointState(endpoint, {
      isInUse: true,
      isUp: inputs.healthOf(servicePort.id, endpoint.id)?.isUp,
      isEjected: inputs.ejectedSince(servicePort.id, endpoint.id) !== undefined,
    })
    if (state === 'down') down++
    else if (state === 'ejected') ejected++
  }
  return [
    id,
    servicePortName(servicePort),
    servicePort.ipFamily === 'IPv6' ? `${servicePort.protocol}6` : servicePort.protocol,
    vips.join(' '),
    inputs.balancerOf(servicePort.id),
    endpoints.length,
    reachable.length,
    down,
    ejected,
  ]
}
