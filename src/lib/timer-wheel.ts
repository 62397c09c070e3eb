/**
 * Many timers on one: a hashed wheel of slots, one tick each. Setting and cancelling a timer is
 * O(1), and there is one timer of the clock for all of them, set to the next slot that is not
 * empty. A timer fires at its time or up to one tick later, never earlier.
 *
 * A timer further away than one turn stays in its slot and is passed over, once a turn.
 */
import type { Clock } from './clock.js'

const DEFAULT_TICK_MS = 10
const DEFAULT_SLOTS = 1024

export interface TimerWheelOptions {
  readonly clock: Clock
  readonly tickMs?: number
  readonly slots?: number
}

/** A timer that was set. Belongs to the wheel: nothing in it is for others. */
export interface WheelTimer {
  readonly fire: () => void
  tick: number
  /** Place in its slot; -1: fired or cancelled. */
  index: number
}

export class TimerWheel {
  readonly #clock: Clock
  readonly #tickMs: number
  readonly #slots: WheelTimer[][]
  readonly #startMs: number
  /** All slots up to this tick have been served. */
  #doneTick = 0
  #size = 0
  #cancelTimer: (() => void) | undefined
  #armedTick = Infinity
  #isServing = false

  constructor({ clock, tickMs = DEFAULT_TICK_MS, slots = DEFAULT_SLOTS }: TimerWheelOptions) {
    this.#clock = clock
    this.#tickMs = tickMs
    this.#slots = Array.from({ length: slots }, () => [])
    this.#startMs = clock.nowMs()
  }

  /** Timers that are set. */
  get size(): number {
    return this.#size
  }

  /** Calls `fire` once after `delayMs`. It must not throw. */
  after(delayMs: number, fire: () => void): WheelTimer {
    const atMs = this.#clock.nowMs() - this.#startMs + Math.max(0, delayMs)
    const tick = Math.max(this.#doneTick + 1, Math.ceil(atMs / this.#tickMs))
    const slot = this.#slotOf(tick)
    const timer: WheelTimer = { fire, tick, index: slot.length }
    slot.push(timer)
    this.#size++
    if (tick < this.#armedTick && !this.#isServing) this.#arm(tick)
    return timer
  }

  /** Does nothing when it has fired already. */
  cancel(timer: WheelTimer): void {
    if (timer.index < 0) return
    const slot = this.#slotOf(timer.tick)
    const last = slot.pop()
    if (last !== undefined && last !== timer) {
      slot[timer.index] = last
      last.index = timer.index
    }
    timer.index = -1
    this.#size--
  }

  /** Cancels everything; timers may be set again afterwards. */
  clear(): void {
    for (const slot of this.#slots) {
      for (const timer of slot) timer.index = -1
      slot.length = 0
    }
    this.#size = 0
    this.#disarm()
  }

  #slotOf(tick: number): WheelTimer[] {
    return this.#slots[tick % this.#slots.length] as WheelTimer[]
  }

  #arm(tick: number): void {
    this.#disarm()
    this.#armedTick = tick
    const delayMs = this.#startMs + tick * this.#tickMs - this.#clock.nowMs()
    this.#cancelTimer = this.#clock.after(Math.max(0, delayMs), () => {
      this.#armedTick = Infinity
      this.#serve()
    })
  }

  #disarm(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#armedTick = Infinity
  }

  #serve(): void {
    const nowTick = Math.floor((this.#clock.nowMs() - this.#startMs) / this.#tickMs)
    // After a pause of a turn or more each slot is looked at once, not once a turn.
    const first = Math.max(this.#doneTick + 1, nowTick - this.#slots.length + 1)
    this.#isServing = true
    for (let tick = first; tick <= nowTick; tick++) {
      this.#doneTick = tick
      this.#serveSlot(this.#slotOf(tick), nowTick)
    }
    this.#isServing = false
    this.#armNext()
  }

  #serveSlot(slot: WheelTimer[], nowTick: number): void {
    // A list of its own: a timer that fires may cancel others of its slot, or set new ones there.
    const due = slot.filter(({ tick }) => tick <= nowTick)
    for (const timer of due) {
      if (timer.index < 0) continue
      this.cancel(timer)
      timer.fire()
    }
  }

  #armNext(): void {
    if (this.#size === 0) return
    const count = this.#slots.length
    for (let step = 1; step <= count; step++) {
      const tick = this.#doneTick + step
      if (this.#slotOf(tick).length > 0) {
        this.#arm(tick)
        return
      }
    }
  }
}
