/**
 * What results of probes make of one endpoint: up or down, with HAProxy's counter
 * (src/check.c, check_notify_success and check_notify_failure; doc/configuration.txt `rise`,
 * `fall`, `init-state`). Pure.
 *
 *   0 ........ rise-1 | rise ........ rise+fall-1
 *        down         |         up
 *
 * A success counts up, a failure down; whoever crosses the bar goes all the way to the other end,
 * so the way back takes the full `fall` or `rise` again.
 */

/**
 * How an endpoint begins. `up`: up, but its first failure takes it down; `down`: down, but its
 * first success brings it up; the `fully` ones need `fall` failures and `rise` successes.
 */
export type InitialState = 'up' | 'down' | 'fully-up' | 'fully-down'

export const INITIAL_STATES: readonly InitialState[] = ['up', 'down', 'fully-up', 'fully-down']

/** How sure the state is: `up` and `down` are settled, `rising` is still down, `falling` still up. */
export type Trend = 'up' | 'falling' | 'down' | 'rising'

export class RiseFall {
  readonly #rise: number
  readonly #fall: number
  #health: number

  constructor(options: {
    readonly rise: number
    readonly fall: number
    readonly initialState: InitialState
  }) {
    this.#rise = options.rise
    this.#fall = options.fall
    this.#health = initialHealth(options.rise, options.fall, options.initialState)
  }

  get isUp(): boolean {
    return this.#health >= this.#rise
  }

  /** What decides how soon the next probe comes. */
  get trend(): Trend {
    if (this.isUp) return this.#health === this.#rise + this.#fall - 1 ? 'up' : 'falling'
    return this.#health === 0 ? 'down' : 'rising'
  }

  /** Takes in the result of a probe; true when it brought the endpoint up or took it down. */
  record(isSuccess: boolean): boolean {
    const wasUp = this.isUp
    if (isSuccess) {
      this.#health++
      if (this.#health >= this.#rise) this.#health = this.#rise + this.#fall - 1
    } else if (wasUp) {
      this.#health--
      if (this.#health < this.#rise) this.#health = 0
    } else {
      this.#health = 0
    }
    return this.isUp !== wasUp
  }

  /** Up or down at once, whatever the count was: an agent has said so. */
  force(isUp: boolean): boolean {
    const wasUp = this.isUp
    this.#health = isUp ? this.#rise + this.#fall - 1 : 0
    return wasUp !== isUp
  }
}

function initialHealth(rise: number, fall: number, state: InitialState): number {
  switch (state) {
    case 'fully-up':
      return rise + fall - 1
    case 'up':
      return rise
    case 'down':
      return rise - 1
    case 'fully-down':
      return 0
  }
}
