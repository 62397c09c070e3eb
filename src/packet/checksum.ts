/** Checksums of RFC 1071, for packets that are sent again by hand. */
import { IpProtocol } from './packet-word.js'

/** Folds the one's complement sum of 16-bit words in network order. */
function sum(bytes: Uint8Array, start: number, end: number, initial: number): number {
  let total = initial
  for (let i = start; i + 1 < end; i += 2) total += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0)
  if ((end - start) % 2 === 1) total += (bytes[end - 1] ?? 0) << 8
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return total
}

/**
 * Writes the checksum of the TCP segment of an IP packet without extension headers, in place.
 * A copy of a packet that was made on this machine has an unfinished one: the network card, or
 * nobody at all, was to finish it. Returns false, and leaves the packet alone, when it is not whole.
 */
export function writeTcpChecksum(packet: Uint8Array): boolean {
  const isV4 = (packet[0] ?? 0) >> 4 === 4
  const headerLength = isV4 ? ((packet[0] ?? 0) & 15) * 4 : 40
  const protocol = packet[isV4 ? 9 : 6]
  const length = packet.length - headerLength
  if (protocol !== IpProtocol.tcp || length < 20) return false
  const [addresses, addressesEnd] = isV4 ? [12, 20] : [8, 40]
  packet[headerLength + 16] = 0
  packet[headerLength + 17] = 0
  // The pseudo header: both addresses, the protocol, the length of the segment.
  const pseudo = sum(packet, addresses, addressesEnd, IpProtocol.tcp + length)
  const checksum = ~sum(packet, headerLength, packet.length, pseudo) & 0xffff
  packet[headerLength + 16] = checksum >> 8
  packet[headerLength + 17] = checksum & 0xff
  return true
}
