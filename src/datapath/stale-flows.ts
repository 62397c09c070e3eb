/**
 * Connection tracking keeps a UDP flow with its endpoint for as long as the client sends: when the
 * endpoint has gone, the entry must go too, or the flow runs into nothing for ever. So, as kube-proxy
 * does it: every entry to a VIP whose endpoint does not serve (any more), those of a time without
 * endpoints and of a proxy before us included.
 *
 * Source: reference 1.8, with the fixed rule for Service ports without endpoints (kubernetes PR
 * 139629). TCP and SCTP are never touched.
 */
import type { Clock } from '../lib/clock.js'
import { formatAddress, type IpFamily } from '../lib/ip-address.js'
import { ConntrackDump, type DumpFilter } from '../kernel/conntrack-table.js'
import type { Netfilter } from '../kernel/netfilter.js'
import type { Snapshot } from '../model/snapshot.js'
import { vipsOf } from '../model/vip.js'
import type { RuleMetrics } from '../observe/rule-metrics.js'
import { formatAddressWords } from '../packet/address-words.js'
import { CONNTRACK_WORDS, ConntrackWord } from '../packet/conntrack-word.js'
import { IpProtocol } from '../packet/packet-word.js'

/** Between chunks of a dump others get their turn. */
const IDLE_MS = 1
const MAX_IDLE_CHUNKS = 30_000

/**
 * Deletes the UDP entries to VIPs of the Snapshot whose endpoint does not serve. Returns how many.
 * Throws KernelError.
 * @param kept destinations (`10.96.0.10:53`) that a relay still has sessions at: their entries lead to
 *   no endpoint
 */
export async function deleteStaleFlows(
  netfilter: Netfilter,
  family: IpFamily,
  snapshot: Snapshot,
  kept: ReadonlySet<string> = new Set(),
): Promise<number> {
  const { vips, nodePorts } = servingByDestination(snapshot, family)
  if (vips.size === 0 && nodePorts.size === 0) return 0
  let deleted = 0
  await eachUdpEntry(family, (records, base) => {
    const version = family === 'IPv4' ? 4 : 6
    const port = records[base + ConntrackWord.destinationPort] ?? 0
    const address = formatAddressWords(records, base + ConntrackWord.destination, version)
    const destination = formatAddress(address, port)
    const serving = vips.get(destination) ?? nodePorts.get(port)
    if (serving === undefined || kept.has(destination)) return
    const ip = formatAddressWords(records, base + ConntrackWord.replySource, version)
    const endpoint = formatAddress(ip, records[base + ConntrackWord.replySourcePort] ?? 0)
    if (serving.has(endpoint)) return
    if (netfilter.deleteConnection(family, tupleOf(records, base))) deleted++
  })
  return deleted
}

export interface FlowReconciler {
  readonly netfilter: Netfilter
  readonly clock: Pick<Clock, 'nowMs'>
  readonly metrics: RuleMetrics
  /** Read at each call. */
  readonly keptFlows: (() => ReadonlySet<string>) | undefined
}

/** The same, counted and timed. Throws KernelError. */
export async function reconcileFlows(
  { netfilter, clock, metrics, keptFlows }: FlowReconciler,
  family: IpFamily,
  snapshot: Snapshot,
): Promise<void> {
  const startedMs = clock.nowMs()
  const deleted = await deleteStaleFlows(netfilter, family, snapshot, keptFlows?.())
  metrics.conntrackReconciled(family, (clock.nowMs() - startedMs) / 1000, deleted)
}

function servingByDestination(snapshot: Snapshot, family: IpFamily) {
  const vips = new Map<string, ReadonlySet<string>>()
  const nodePorts = new Map<number, ReadonlySet<string>>()
  for (const { servicePort, endpoints } of snapshot.servicePorts.values()) {
    if (servicePort.ipFamily !== family || servicePort.protocol !== 'UDP') continue
    const serving = new Set(endpoints.filter(({ isServing }) => isServing).map(({ id }) => id))
    for (const { address, port } of vipsOf(servicePort)) {
      if (address === undefined) nodePorts.set(port, serving)
      else vips.set(formatAddress(address, port), serving)
    }
  }
  return { vips, nodePorts }
}

/** Source, destination, ports, protocol: what Netfilter.deleteConnection takes. */
export function tupleOf(records: Uint32Array, base: number): Uint32Array {
  const tuple = new Uint32Array(10)
  for (let i = 0; i < 8; i++) tuple[i] = records[base + ConntrackWord.source + i] ?? 0
  const sourcePort = records[base + ConntrackWord.sourcePort] ?? 0
  tuple[8] = (sourcePort << 16) | (records[base + ConntrackWord.destinationPort] ?? 0)
  tuple[9] = records[base + ConntrackWord.protocol] ?? 0
  return tuple
}

/** Visits every UDP entry of a family, chunk by chunk. */
export function eachUdpEntry(
  family: IpFamily,
  visit: (records: Uint32Array, base: number) => void,
): Promise<void> {
  return eachEntry({ family, protocol: IpProtocol.udp }, visit)
}

/** Visits every entry that the filter lets through, chunk by chunk. Throws KernelError. */
export async function eachEntry(
  filter: DumpFilter,
  visit: (records: Uint32Array, base: number) => void,
): Promise<void> {
  const dump = new ConntrackDump(filter)
  try {
    for (let idle = 0; idle < MAX_IDLE_CHUNKS;) {
      const count = dump.receive()
      // A table that changed meanwhile: what was missed is looked at with the next change.
      if (typeof count !== 'number') return
      for (let i = 0; i < count; i++) visit(dump.records, i * CONNTRACK_WORDS)
      if (count > 0) continue
      idle++
      await new Promise((resolve) => setTimeout(resolve, IDLE_MS))
    }
  } finally {
    dump.close()
  }
}

/** Whether endpoints of a UDP Service port of the family differ; without a Snapshot before, they may. */
export function hasUdpChange(
  before: Snapshot | undefined,
  after: Snapshot,
  family: IpFamily,
): boolean {
  if (before === undefined) return true
  for (const { before: old, after: now } of before.servicePorts.differences(after.servicePorts)) {
    const port = (now ?? old)?.servicePort
    if (port?.protocol !== 'UDP' || port.ipFamily !== family) continue
    if (old?.endpoints !== now?.endpoints) return true
  }
  return false
}
