/**
 * Ends the TCP connections that clients have with an endpoint, so that both ends see it at once, also those
 * that wait for the other to speak. The kernel has them; nobody here knows their sequence numbers, without which
 * a RST is not believed. So the entry in connection tracking goes first, and then each end is asked where it
 * stands (tcp-probe.ts). Its answer, with the right numbers, meets nobody who knows the connection, and gets
 * a RST that fits:
 *
 *   client   -> VIP        new for connection tracking: steered to another endpoint, which resets it
 *   endpoint -> client     no translation any more: the client, or this node where it was masqueraded, resets it
 *
 * Needs nf_conntrack_tcp_loose, the kernel's default, and raw-socket; without that the ends notice when they
 * next send something. Each end is asked twice: a question may be lost, and answers are rationed.
 */
import type { Clock } from '../../lib/clock.js'
import type { IpFamily } from '../../lib/ip-address.js'
import type { Netfilter } from '../../kernel/netfilter.js'
import { ConntrackWord } from '../../packet/conntrack-word.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import { IpProtocol } from '../../packet/packet-word.js'
import { tcpProbe, type TcpEnd } from '../../packet/tcp-probe.js'
import { TcpState } from '../../packet/tcp-state.js'
import { eachEntry, tupleOf } from '../stale-flows.js'

/** Linux answers such a question on one connection every half a second at most (tcp_invalid_ratelimit). */
const AGAIN_MS = 1000

export interface TcpEnder {
  readonly netfilter: Pick<Netfilter, 'deleteConnection'>
  readonly clock: Pick<Clock, 'after'>
  readonly layout: MarkLayout
  /** Sends a packet as it is. Does not throw. */
  readonly send: (packet: Uint8Array) => void
}

/** Ends all of the slot that stand. Returns how many. Throws KernelError. */
export async function endTcpConnections(
  { netfilter, clock, layout, send }: TcpEnder,
  family: IpFamily,
  slot: number,
): Promise<number> {
  const mark = slot * 2 ** layout.slotShift
  const questions: Uint8Array[] = []
  let ended = 0
  const filter = { family, protocol: IpProtocol.tcp, mark, markMask: layout.slotMask }
  await eachEntry(filter, (records, base) => {
    const state = records[base + ConntrackWord.tcpState] ?? 0
    if (state < TcpState.synReceived || state > TcpState.lastAck) return
    const asked = questionsOf(records, base, family === 'IPv4' ? 4 : 6)
    if (!netfilter.deleteConnection(family, tupleOf(records, base))) return
    ended++
    for (const question of asked) send(question)
    questions.push(...asked)
  })
  if (ended > 0) {
    clock.after(AGAIN_MS, () => {
      for (const question of questions) send(question)
    })
  }
  return ended
}

/** One to the client, as if from the VIP; one to the endpoint, as if from whom it knows as its client. */
function questionsOf(records: Uint32Array, base: number, family: number): Uint8Array[] {
  const end = (address: number, port: number): TcpEnd => ({
    words: records.slice(base + address, base + address + 4),
    port: records[base + port] ?? 0,
  })
  const { source, destination, replySource, replyDestination } = ConntrackWord
  const { sourcePort, destinationPort, replySourcePort, replyDestinationPort } = ConntrackWord
  const vip = end(destination, destinationPort)
  const client = end(source, sourcePort)
  const endpoint = end(replySource, replySourcePort)
  const peer = end(replyDestination, replyDestinationPort)
  return [tcpProbe(family, vip, client), tcpProbe(family, peer, endpoint)]
}
