/** A Clock (src/lib/clock.ts) of virtual time: whoever advances it fires what is due, in order. */
import { TimeHeap } from '../time-heap.mjs'

export class VirtualClock {
  #nowMs = 0
  #timers = new TimeHeap()

  nowMs() {
    return this.#nowMs
  }

  after(delayMs, fire) {
    const timer = { atMs: this.#nowMs + delayMs, fire }
    this.#timers.push(timer)
    return () => {
      timer.fire = undefined
    }
  }

  /** Fires all timers until then; promises settle after each, so that what they start is in time. */
  async runUntil(endMs) {
    for (;;) {
      const timer = this.#timers.popUntil(endMs)
      if (timer === undefined) break
      if (timer.fire === undefined) continue
      this.#nowMs = timer.atMs
      timer.fire()
      await settled()
    }
    this.#nowMs = endMs
  }
}

/** Long enough for the awaits of a SyncRunner's run. */
async function settled() {
  for (let turn = 0; turn < 4; turn++) await undefined
}
