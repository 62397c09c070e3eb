/**
 * Where things are in the records and verdicts of the pump: the same numbers as the enums of
 * native/core/pump.h. Addresses are bytes in four words, all else is in host order.
 */

/** Bits of the word `events`. */
export const PumpEvent = {
  accepted: 1,
  connected: 2,
  failed: 4,
  returned: 8,
  closed: 16,
  silent: 32,
  spoke: 64,
  mute: 128,
} as const

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
  end: 17,
  /** Low word, high word. */
  bytesUp: 18,
  bytesDown: 20,
  isPicked: 22,
} as const

export const PUMP_RECORD_WORDS = 23

export const PumpVerdict = { connect: 1, reset: 2, wait: 3 } as const

export const PumpVerdictWord = {
  slot: 0,
  verdict: 1,
  /** 4 or 6 */
  family: 2,
  address: 3,
  port: 7,
  timeoutMs: 8,
  patienceMs: 9,
  hasSource: 10,
  source: 11,
  firstByteMs: 15,
} as const

export const PUMP_VERDICT_WORDS = 16

/** In the order of `enum ks_pump_end`: by a FIN of each side; by a reset, or cut; for want of bytes. */
export const PUMP_ENDS = ['closed', 'reset', 'timed-out'] as const

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
  'handOvers',
  'picksUsed',
] as const
