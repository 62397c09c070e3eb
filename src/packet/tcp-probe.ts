/**
 * A TCP segment that asks one end of a connection where it stands: SYN and ACK set, numbers out of the air.
 * Who has the connection answers with an ACK that has the right numbers (RFC 5961, 4.2: the challenge);
 * who has not, with a RST. Connection tracking takes it for invalid and keeps nothing of it
 * (nf_conntrack_proto_tcp.c: SYN/ACK without an entry).
 */
import { IpProtocol } from './packet-word.js'
import { writeTcpChecksum } from './checksum.js'

/** One end of a connection: the words of its address, and its port. */
export interface TcpEnd {
  readonly words: Uint32Array
  readonly port: number
}

const HOP_LIMIT = 64
const TCP_BYTES = 20
const SYN_ACK = 0x12

/** The whole packet; `family` is 4 or 6. */
export function tcpProbe(family: number, from: TcpEnd, to: TcpEnd): Uint8Array {
  const [headerBytes, addressBytes] = family === 4 ? [20, 4] : [40, 16]
  const packet = new Uint8Array(headerBytes + TCP_BYTES)
  const view = new DataView(packet.buffer)
  if (family === 4) {
    packet[0] = 0x45
    view.setUint16(2, packet.length)
    packet[8] = HOP_LIMIT
    packet[9] = IpProtocol.tcp
  } else {
    packet[0] = 0x60
    view.setUint16(4, TCP_BYTES)
    packet[6] = IpProtocol.tcp
    packet[7] = HOP_LIMIT
  }
  const addressesAt = family === 4 ? 12 : 8
  packet.set(bytesOf(from.words, addressBytes), addressesAt)
  packet.set(bytesOf(to.words, addressBytes), addressesAt + addressBytes)
  view.setUint16(headerBytes, from.port)
  view.setUint16(headerBytes + 2, to.port)
  packet[headerBytes + 12] = (TCP_BYTES / 4) << 4
  packet[headerBytes + 13] = SYN_ACK
  writeTcpChecksum(packet)
  return packet
}

function bytesOf(words: Uint32Array, count: number): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, count)
}
