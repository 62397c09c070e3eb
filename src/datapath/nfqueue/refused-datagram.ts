/**
 * Datagrams that an endpoint, or a router on the way, refuses by an ICMP error. They have no sequence number
 * by which the error tells which flow it is about, so a flow is found by its client and its endpoint: the
 * error says both, for it comes up in the queue between the two halves of the translation back.
 */
import { mixBits } from '../../lib/hash.js'
import { ADDRESS_WORDS } from '../../packet/address-words.js'
import { PacketWord } from '../../packet/packet-word.js'

/** ICMP: destination unreachable, all codes but "fragmentation needed", which refuses nothing (RFC 792, RFC 1191). */
const UNREACHABLE = 3
const FRAGMENTATION_NEEDED = 4
/** ICMPv6: destination unreachable (RFC 4443, 3.1). */
const UNREACHABLE_6 = 1

/** Whether the ICMP error at `base` says that nobody takes what was sent. */
export function isUnreachable(records: Uint32Array, base: number): boolean {
  const icmpType = records[base + PacketWord.icmpType] ?? 0
  if (records[base + PacketWord.family] === 6) return icmpType >> 8 === UNREACHABLE_6
  return icmpType >> 8 === UNREACHABLE && (icmpType & 0xff) !== FRAGMENTATION_NEEDED
}

/** An endpoint in 32 bits: what stands in the flow table where TCP has its sequence number. */
export function endpointBits(words: Uint32Array, at: number, port: number): number {
  let bits = port
  for (let i = 0; i < ADDRESS_WORDS; i++) bits = mixBits(bits ^ (words[at + i] ?? 0))
  return bits
}
