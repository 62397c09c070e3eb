/**
 * UDP flows that are steered, by the mark in their entry of connection tracking: they go the moment
 * their slot does, and the kernel picks them out. Those of all others: src/datapath/stale-flows.ts.
 */
import type { IpFamily } from '../../lib/ip-address.js'
import type { Netfilter } from '../../kernel/netfilter.js'
import { ConntrackWord } from '../../packet/conntrack-word.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import { eachUdpEntry, tupleOf } from '../stale-flows.js'

/** The whole table is walked for each of them: beyond these, one walk for all is cheaper. */
const MAX_SINGLE_DELETIONS = 16

/** Deletes the flows of slots that have gone. Throws KernelError. */
export async function deleteFlowsOfSlots(
  netfilter: Netfilter,
  layout: MarkLayout,
  family: IpFamily,
  slots: readonly number[],
): Promise<void> {
  const marks = slots.map((slot) => slot * 2 ** layout.slotShift)
  if (marks.length <= MAX_SINGLE_DELETIONS) {
    for (const mark of marks) netfilter.deleteMarkedConnections(family, mark, layout.slotMask)
    return
  }
  const gone = new Set(marks)
  await eachUdpEntry(family, (records, base) => {
    const mark = ((records[base + ConntrackWord.mark] ?? 0) & layout.slotMask) >>> 0
    if (gone.has(mark)) netfilter.deleteConnection(family, tupleOf(records, base))
  })
}
