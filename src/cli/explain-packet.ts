/** `explain --packet`: where connections that are open really go, in lines. Pure. */
import type { TrackedConnection } from '../kernel/find-connections.js'
import { formatAddress } from '../lib/ip-address.js'
import type { Explanation } from '../observe/explain/explain.js'
import { markLayoutOf, slotOf } from '../packet/mark-layout.js'

/** Connections of one client that are shown. */
export const MAX_SHOWN = 16

export function packetLines(
  { question, markMask, relayed }: Explanation,
  tracked: readonly TrackedConnection[],
): string[] {
  const { client, clientPort, address, port } = question
  const from = clientPort === undefined ? client : formatAddress(client, clientPort)
  const head = `Open from ${from} to ${formatAddress(address, port)}`
  const relays = (relayed ?? []).map(({ clientPort: at, endpoint }) => {
    const where = endpoint === undefined ? 'no endpoint yet' : endpoint
    return `  port ${at}: relayed by this proxy to ${where}`
  })
  const entries = tracked.map((one) => `  ${entryText(one, { address, client, markMask })}`)
  if (relays.length + entries.length === 0) {
    return [
      `${head}: none. It has ended, it was never here, or connection tracking is that of another network namespace.`,
    ]
  }
  const bound = tracked.length >= MAX_SHOWN ? `, the first ${MAX_SHOWN}` : ''
  return [
    ...(relays.length === 0 ? [] : [`${head}, as the relay has it:`, ...relays]),
    ...(entries.length === 0 ? [] : [`${head}, as the kernel has it${bound}:`, ...entries]),
  ]
}

function entryText(
  entry: TrackedConnection,
  {
    address,
    client,
    markMask,
  }: Pick<Explanation['question'], 'address' | 'client'> & {
    readonly markMask: number | undefined
  },
): string {
  const { server, serverPort, seenClient, state, hasReply, isAssured, secondsLeft, mark } = entry
  const isTranslated = server !== address
  return [
    `port ${entry.clientPort}: ${isTranslated ? 'goes to' : 'not translated, answered by'} ${formatAddress(server, serverPort)}`,
    ...(state === undefined ? [] : [state]),
    hasReply ? 'answered' : 'not answered',
    ...(isAssured ? ['assured'] : []),
    `forgotten in ${secondsLeft} s without a packet`,
    ...(isTranslated && seenClient !== client ? [`masqueraded as ${seenClient}`] : []),
    `mark 0x${mark.toString(16)}${slotText(mark, markMask)}`,
  ].join(', ')
}

function slotText(mark: number, markMask: number | undefined): string {
  if (markMask === undefined) return ''
  const layout = markLayoutOf(markMask)
  const slot = slotOf(layout, mark)
  return slot === 0 ? ' (not steered: the standby has placed it)' : ` (steered, slot ${slot})`
}
