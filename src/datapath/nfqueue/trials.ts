/**
 * Failing endpoints that a connection tries: one that has not failed again for TRIAL_MS has answered, where
 * nobody says so. At most MAX_TRIALS at a time; more are settled by the events of connection tracking.
 */
import type { EndpointPicker, NewConnection } from '../../policy/endpoint-picker.js'
import type { FlowTable } from './flow-table.js'
import type { SteeredEndpoint } from './steered-port.js'

const TRIAL_MS = 3000
const MAX_TRIALS = 64

interface Trial {
  readonly connection: NewConnection
  readonly endpoint: SteeredEndpoint
  readonly place: number
  readonly attempts: number
  readonly atMs: number
}

export class Trials {
  readonly #flows: FlowTable
  readonly #picker: EndpointPicker
  #trials: Trial[] = []

  constructor(flows: FlowTable, picker: EndpointPicker) {
    this.#flows = flows
    this.#picker = picker
  }

  /** The flow in that place goes to the endpoint now. */
  add(connection: NewConnection, endpoint: SteeredEndpoint, place: number, atMs: number): void {
    if (this.#trials.length >= MAX_TRIALS) return
    const { servicePortId, kind, source, clientIp, clientPort } = connection
    this.#trials.push({
      connection: { servicePortId, kind, source, clientIp, clientPort },
      endpoint,
      place,
      attempts: this.#flows.attempts[place] ?? 0,
      atMs,
    })
  }

  /** To be called about once a second. */
  settle(nowMs: number): void {
    if (this.#trials.length === 0) return
    const { mark, attempts } = this.#flows
    this.#trials = this.#trials.filter((trial) => {
      if (nowMs - trial.atMs < TRIAL_MS) return true
      const isSame = this.#flows.lastSlot(trial.place) === trial.endpoint.slot
      if (isSame && attempts[trial.place] === trial.attempts && mark[trial.place] !== 0) {
        this.#picker.answered(trial.connection, trial.endpoint)
      }
      return false
    })
  }
}
