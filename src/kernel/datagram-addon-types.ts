/**
 * The part of the native addon that relays datagrams in a thread of its own, call by call; see
 * addon-types.ts for what all calls have in common, native/core/udp.h for how it works.
 */

/** A relay that runs; what it is, only native code knows. */
export interface DatagramRelayHandle {
  readonly brand: 'datagram-relay'
}

export interface DatagramTimeoutsArg {
  /** A session that nobody used for that long is closed: one without a reply ... */
  readonly idleMs: number
  /** ... and one that has had one. */
  readonly streamMs: number
  /** Older datagrams are not sent to a second endpoint. */
  readonly retryWithinMs: number
}

export interface DatagramAddon {
  /**
   * Starts the thread. Each time that records begin to wait it calls `onEvents`, and not again until
   * relayReceive has left none. It keeps the process alive until it is closed.
   */
  openDatagramRelay(maxSessions: number, onEvents: () => void): DatagramRelayHandle
  /** Stops the thread, closes listeners and sessions. Twice is fine. */
  closeDatagramRelay(relay: DatagramRelayHandle): void
  /**
   * Receives from a bound socket, which belongs to the relay from then on; its buffers get `bufferBytes`
   * where that is allowed. Returns the listener's number.
   */
  relayListen(relay: DatagramRelayHandle, fd: number, bufferBytes: number): number
  /**
   * Closes a listener and its sessions, at once: it waits for the thread to come to the end of its turn.
   * Throws EBADF when there is no such one.
   */
  relayUnlisten(relay: DatagramRelayHandle, listener: number): void
  /** Fills `records` with what waits, DATAGRAM_RECORD_WORDS each; returns how many. */
  relayReceive(relay: DatagramRelayHandle, records: Uint32Array): number
  /** Takes `count` verdicts of DATAGRAM_VERDICT_WORDS words. */
  relayAnswer(relay: DatagramRelayHandle, verdicts: Uint32Array, count: number): void
  /** For all sessions, from now on. */
  relayTimeouts(relay: DatagramRelayHandle, timeouts: DatagramTimeoutsArg): void
  /** Fills `counters`, DATAGRAM_COUNTERS of them. */
  relayCounters(relay: DatagramRelayHandle, counters: Float64Array): void
}
