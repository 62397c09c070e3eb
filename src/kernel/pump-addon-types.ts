/**
 * The part of the native addon that relays TCP connections in a thread of its own, call by call; see
 * addon-types.ts for what all calls have in common, native/core/pump.h for how it works.
 */

/** A pump that runs; what it is, only native code knows. */
export interface PumpHandle {
  readonly brand: 'pump'
}

export interface OpenPumpArg {
  /** Bulk is moved by splice(2); else everything by recv and send. */
  readonly splice: boolean
  /** Of two descriptors each; beyond them bytes are copied. */
  readonly maxPipes: number
  /** What is accepted beyond them is reset. */
  readonly maxConnections: number
  /** Connections without a verdict; beyond them nothing is accepted. */
  readonly maxWaiting: number
}

export interface PumpListenArg {
  readonly family: 'IPv4' | 'IPv6'
  readonly backlog: number
  /** Each connection is told with its destination from before nat. */
  readonly redirected: boolean
}

export interface PumpAddon {
  /**
   * Starts the thread. Each time that records begin to wait it calls `onEvents`, and not again until
   * pumpReceive has left none. It keeps the process alive until it is closed.
   */
  openPump(options: OpenPumpArg, onEvents: () => void): PumpHandle
  /** Stops the thread, closes the listeners, resets what is open. Twice is fine. */
  closePump(pump: PumpHandle): void
  /** Listens on a bound socket, which belongs to the pump from then on; returns the listener's number. */
  pumpListen(pump: PumpHandle, fd: number, options: PumpListenArg): number
  /** Closes a listener; its connections go on. Throws EBADF when there is no such one. */
  pumpUnlisten(pump: PumpHandle, listener: number): void
  /** Fills `records` with what waits, PUMP_RECORD_WORDS each; returns how many. */
  pumpReceive(pump: PumpHandle, records: Uint32Array): number
  /** Takes `count` verdicts of PUMP_VERDICT_WORDS words. */
  pumpAnswer(pump: PumpHandle, verdicts: Uint32Array, count: number): void
  /**
   * Takes `count` verdicts for connections of a listener that are yet to come, after those that it has.
   * Throws EBADF when there is no such listener, EINVAL when they are too many.
   */
  pumpPick(pump: PumpHandle, listener: number, verdicts: Uint32Array, count: number): void
  /** Takes those back that were not used; returns how many. */
  pumpUnpick(pump: PumpHandle, listener: number): number
  /** Both sides of a connection without a byte for that long are closed. */
  pumpTimeouts(pump: PumpHandle, idleMs: number, halfClosedMs: number): void
  /** Fills `counters`, PUMP_COUNTERS of them. */
  pumpCounters(pump: PumpHandle, counters: Float64Array): void
}
