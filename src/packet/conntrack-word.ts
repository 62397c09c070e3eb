/**
 * Where things are in the record of a conntrack entry: the same numbers as `enum
 * ks_conntrack_word` of native/core/conntrack.h. Addresses are their bytes in four words.
 */
export const ConntrackWord = {
  /** ConntrackType.* */
  type: 0,
  /** 4 or 6 */
  family: 1,
  protocol: 2,
  mark: 3,
  /** ConntrackStatus.* */
  status: 4,
  /** TcpState.*; 0 when it is not TCP. */
  tcpState: 5,
  /** IP_CT_TCP_FLAG_* of both sides. */
  tcpFlags: 6,
  /** Seconds. */
  timeout: 7,
  source: 8,
  destination: 12,
  sourcePort: 16,
  destinationPort: 17,
  /** The endpoint, once translated. */
  replySource: 18,
  replyDestination: 22,
  replySourcePort: 26,
  replyDestinationPort: 27,
} as const

export const CONNTRACK_WORDS = 28

export const ConntrackType = { entry: 0, new: 1, update: 2, destroy: 3 } as const

/** IPS_* of linux/netfilter/nf_conntrack_common.h. */
export const ConntrackStatus = { seenReply: 2, assured: 4, confirmed: 8 } as const
