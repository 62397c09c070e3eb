/**
 * Where things are in the records and verdicts of the pump: the same numbers as the enums of
 * native/core/pump.h. Addresses are bytes in four words, all else is in host order.
 */

/** Bits of the word `events`. */
export const PumpEvent = { accepted: 1, connected: 2, failed: 4, returned: 8, closed: 16 } as const

export const PumpWord = {
  slot: 0,
  events: 1,
  listener: 2,
  /** 4 or 6 */
  family: 3,
  client: 4,
  clientPort: 8,
  hasDestination: 9,
  destination: 10,
  destinationPort: 14,
  errno: 15,
  connectMicros: 16,
  /** Low word, high word. */
  bytesUp: 17,
  bytesDown: 19,
} as const

export const PUMP_RECORD_WORDS = 21

export const PumpVerdict = { connect: 1, reset: 2 } as const

export const PumpVerdictWord = {
  slot: 0,
  verdict: 1,
  /** 4 or 6 */
  family: 2,
  address: 3,
  port: 7,
  timeoutMs: 8,
  hasSource: 9,
  source: 10,
} as const

export const PUMP_VERDICT_WORDS = 14

/** In the order of `enum ks_pump_counter`. */
export const PUMP_COUNTERS = [
  'open',
  'accepts',
  'acceptsRefused',
  'acceptPauses',
  'bytesSpliced',
  'bytesCopied',
  'pipes',
  'pipesMissed',
] as const
