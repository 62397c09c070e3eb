/**
 * Where things are in the records and verdicts of the datagram relay: the same numbers as the enums of
 * native/core/udp.h. Addresses are bytes in four words, all else is in host order.
 */

/** Bits of the word `events`. */
export const DatagramEvent = {
  created: 1,
  connected: 2,
  answered: 4,
  refused: 8,
  silent: 16,
  closed: 32,
} as const

export const DatagramWord = {
  slot: 0,
  events: 1,
  listener: 2,
  /** 4 or 6 */
  family: 3,
  client: 4,
  clientPort: 8,
  attempt: 9,
  refusedAttempt: 10,
  /** Plus 1; 0: none. */
  latencyMicros: 11,
  end: 12,
  errno: 13,
  hasReply: 14,
  /** Low word, high word. */
  bytesUp: 15,
  bytesDown: 17,
} as const

export const DATAGRAM_RECORD_WORDS = 19

export const DatagramVerdict = { connect: 1, stop: 2 } as const

export const DatagramVerdictWord = {
  slot: 0,
  verdict: 1,
  /** 4 or 6 */
  family: 2,
  address: 3,
  port: 7,
  attempt: 8,
  hasSource: 9,
  source: 10,
} as const

export const DATAGRAM_VERDICT_WORDS = 14

/**
 * In the order of `enum ks_udp_end`: idle for too long; stopped, or refused with nothing to send again;
 * made room for another one; this host has no socket, or no route.
 */
export const DATAGRAM_ENDS = ['expired', 'ended', 'evicted', 'failed'] as const

/** In the order of `enum ks_udp_counter`. */
export const DATAGRAM_COUNTERS = [
  'sessions',
  'sentUp',
  'sentDown',
  'droppedFull',
  'droppedError',
  'droppedTooLong',
  'droppedNoSession',
  'evictions',
] as const
