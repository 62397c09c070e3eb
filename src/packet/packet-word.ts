/**
 * Where things are in the record of a packet: the same numbers as `enum ks_packet_word` of
 * native/core/packet.h. Addresses are the bytes of the packet in four words (IPv4: the first one);
 * all else is in host order.
 */
export const PacketWord = {
  id: 0,
  queue: 1,
  /** Hook.* */
  hook: 2,
  /** The packet's mark before the queue. */
  mark: 3,
  inDevice: 4,
  /** 4, 6; 0 for what is no IP packet. */
  family: 5,
  protocol: 6,
  /** PacketFlag.* */
  flags: 7,
  source: 8,
  destination: 12,
  sourcePort: 16,
  destinationPort: 17,
  /** TcpFlag.* */
  tcpFlags: 18,
  tcpSequence: 19,
  tcpAcknowledged: 20,
  /** type << 8 | code */
  icmpType: 21,
  length: 22,
  copyOffset: 23,
  copyLength: 24,
  /** The packet that an ICMP error is about. */
  innerProtocol: 25,
  innerSource: 26,
  innerDestination: 30,
  innerSourcePort: 34,
  innerDestinationPort: 35,
  innerTcpSequence: 36,
  /** Verdict.*; the only words that are written here. */
  verdict: 37,
  verdictMark: 38,
} as const

export const PACKET_WORDS = 39

export const PacketFlag = {
  hasPorts: 1,
  hasTcp: 2,
  hasInner: 4,
  isFragment: 8,
  isTruncated: 16,
} as const

export const TcpFlag = { fin: 1, syn: 2, rst: 4, ack: 16 } as const

/** NF_INET_* of linux/netfilter.h. */
export const Hook = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const

/** IPPROTO_* of the protocols that a Service may have, and of ICMP. */
export const IpProtocol = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const

export const Verdict = { drop: 0, accept: 1, acceptMarked: 257 } as const

/** The first packet of a handshake, whatever it says about congestion (ECE, CWR). */
export function isSyn(tcpFlags: number): boolean {
  const { fin, syn, rst, ack } = TcpFlag
  return (tcpFlags & (fin | syn | rst | ack)) === syn
}
