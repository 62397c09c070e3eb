/**
 * Time as a parameter. Policy and datapath code take a Clock so that tests run minutes of
 * virtual time in milliseconds.
 */
export interface Clock {
  /** Milliseconds on a monotonic clock; only differences mean something. */
  nowMs(): number
  /** Calls `fire` once after `delayMs`; the returned function cancels it. Never keeps the process alive. */
  after(delayMs: number, fire: () => void): () => void
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after: (delayMs, fire) => {
    const timer = setTimeout(fire, delayMs)
    timer.unref()
    return () => {
      clearTimeout(timer)
    }
  },
}
