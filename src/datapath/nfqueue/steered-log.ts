/**
 * Lines of the connection log for connections that were steered: from the verdict, over retries, to
 * the event of connection tracking that ends them. Knows only those that are to be logged.
 *
 * Bound: MAX_TRACKED connections; further ones have no line, and are counted as dropped.
 */
import { formatAddress } from '../../lib/ip-address.js'
import type {
  ConnectionLog,
  ConnectionOutcome,
  ConnectionRecord,
} from '../../observe/connection-log.js'
import { formatAddressWords } from '../../packet/address-words.js'
import { ConntrackStatus, ConntrackType, ConntrackWord } from '../../packet/conntrack-word.js'
import { type MarkLayout, slotOf } from '../../packet/mark-layout.js'
import { IpProtocol } from '../../packet/packet-word.js'
import type { FlowTable } from './flow-table.js'
import type { VipEntry, VipTable } from './vip-table.js'
import { TcpState } from '../../packet/tcp-state.js'

const MAX_TRACKED = 16_384

interface Tracked {
  readonly record: ConnectionRecord
  endpoint: string
  attempts: number
  slot: number
}

/** A verdict: `endpoint` undefined: it was rejected, or dropped when `isDropped`. */
export interface LoggedVerdict {
  readonly servicePortId: string
  readonly family: number
  readonly endpoint: string | undefined
  readonly slot: number
  readonly isDropped: boolean
}

export class SteeredLog {
  readonly #log: ConnectionLog
  readonly #layout: MarkLayout
  readonly #tracked = new Map<string, Tracked>()
  /** Slots of tracked connections: other events need no look-up. Only grows with the endpoints. */
  readonly #slots = new Set<number>()
  #untracked = 0

  constructor(log: ConnectionLog, layout: MarkLayout) {
    this.#log = log
    this.#layout = layout
  }

  /** Lines that were not written. */
  get dropped(): number {
    return this.#log.dropped + this.#untracked
  }

  isOf(servicePortId: string): boolean {
    return this.#log.isOf(servicePortId)
  }

  /** The first packet of a connection has its verdict. `tuple`: as FlowTable.readTuple writes it. */
  first(tuple: Uint32Array, verdict: LoggedVerdict): void {
    const { servicePortId, family, endpoint, slot, isDropped } = verdict
    const record = this.#log.begin(servicePortId, () => ({
      client: formatAddress(formatAddressWords(tuple, 0, family), (tuple[8] ?? 0) >>> 16),
      vip: formatAddress(formatAddressWords(tuple, 4, family), (tuple[8] ?? 0) & 0xffff),
    }))
    if (record === undefined) return
    if (endpoint === undefined) {
      record.end(isDropped ? 'dropped' : 'rejected', { endpoint, attempts: 0 })
    } else if (this.#tracked.size >= MAX_TRACKED) {
      this.#untracked++
    } else {
      this.#tracked.set(keyOfTuple(tuple), { record, endpoint, attempts: 1, slot })
      this.#slots.add(slot)
    }
  }

  /** It was steered to another endpoint. */
  again(tuple: Uint32Array, endpoint: string, slot: number): void {
    const tracked = this.#tracked.get(keyOfTuple(tuple))
    if (tracked === undefined) return
    tracked.endpoint = endpoint
    tracked.slot = slot
    tracked.attempts++
    this.#slots.add(slot)
  }

  /** No endpoint is left for it. */
  exhausted(tuple: Uint32Array): void {
    this.#end(keyOfTuple(tuple), 'no-endpoint')
  }

  /** An event of connection tracking. */
  event(records: Uint32Array, base: number): void {
    const slot = slotOf(this.#layout, records[base + ConntrackWord.mark] ?? 0)
    if (!this.#slots.has(slot)) return
    const outcome = outcomeOf(records, base)
    if (outcome === undefined) return
    const key = keyOfRecord(records, base)
    // The entry of an endpoint before the last one was deleted by the retry.
    if (this.#tracked.get(key)?.slot === slot) this.#end(key, outcome)
  }

  #end(key: string, outcome: ConnectionOutcome): void {
    const tracked = this.#tracked.get(key)
    if (tracked === undefined) return
    this.#tracked.delete(key)
    const { record, endpoint, attempts } = tracked
    record.end(outcome, { endpoint, attempts })
  }
}

/** What steering tells it, by places of its table of flows. */
export interface FlowLog {
  first(place: number, vip: VipEntry, isDropped: boolean): void
  again(place: number, vip: VipEntry): void
  exhausted(place: number): void
}

export function flowLog(
  log: SteeredLog,
  { flows, vips }: { readonly flows: FlowTable; readonly vips: VipTable },
): FlowLog {
  const tuple = new Uint32Array(10)
  const endpointOf = (place: number, vip: VipEntry): string | undefined =>
    vips.endpointAt(vip, flows.lastSlot(place))?.id
  return {
    first: (place, vip, isDropped) => {
      if (!log.isOf(vip.port.id)) return
      flows.readTuple(place, tuple)
      log.first(tuple, {
        servicePortId: vip.port.id,
        family: flows.family[place] ?? 4,
        endpoint: endpointOf(place, vip),
        slot: flows.lastSlot(place),
        isDropped,
      })
    },
    again: (place, vip) => {
      flows.readTuple(place, tuple)
      log.again(tuple, endpointOf(place, vip) ?? '', flows.lastSlot(place))
    },
    exhausted: (place) => {
      flows.readTuple(place, tuple)
      log.exhausted(tuple)
    },
  }
}

/** undefined: it goes on. */
function outcomeOf(records: Uint32Array, base: number): ConnectionOutcome | undefined {
  const isDestroyed = records[base + ConntrackWord.type] === ConntrackType.destroy
  const hasReply = ((records[base + ConntrackWord.status] ?? 0) & ConntrackStatus.seenReply) !== 0
  if (records[base + ConntrackWord.protocol] !== IpProtocol.tcp) {
    if (!isDestroyed) return undefined
    return hasReply ? 'answered' : 'unanswered'
  }
  const state = records[base + ConntrackWord.tcpState] ?? 0
  if (state === TcpState.close) return 'reset'
  if (state >= TcpState.finWait) return 'closed'
  if (!isDestroyed) return undefined
  return hasReply ? 'timed-out' : 'unanswered'
}

function keyOfTuple(tuple: Uint32Array): string {
  return tuple.subarray(0, 10).join(' ')
}

function keyOfRecord(records: Uint32Array, base: number): string {
  const addresses = records.subarray(base + ConntrackWord.source, base + ConntrackWord.source + 8)
  const source = records[base + ConntrackWord.sourcePort] ?? 0
  const ports = ((source << 16) | (records[base + ConntrackWord.destinationPort] ?? 0)) >>> 0
  return `${addresses.join(' ')} ${ports} ${records[base + ConntrackWord.protocol] ?? 0}`
}
