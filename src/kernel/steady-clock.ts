/**
 * The time for a thread that handles packets: read once for all that is decided together, and without
 * the number on the heap that every performance.now() is.
 */
import { loadAddon } from './addon.js'

export class SteadyClock {
  readonly #addon = loadAddon()
  readonly #ms = new Float64Array(1)

  /** Looks at CLOCK_MONOTONIC. */
  read(): void {
    this.#addon.readClock(this.#ms)
  }

  /** Milliseconds, as it was read last. */
  nowMs(): number {
    return this.#ms[0] ?? 0
  }
}
