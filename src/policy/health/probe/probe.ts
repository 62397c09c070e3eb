/**
 * A probe: one active health check of one endpoint. One file beside this one for each protocol.
 *
 * Contract, the same for all: `done` is called at most once, never before the start has returned
 * and never after `cancel`; what the endpoint sends is read up to a bound; sockets do not outlive
 * the probe. A probe has no time-out of its own: the scheduler cancels it.
 */
import type { Protocol } from '../../../model/service-port.js'
import type { HealthCheck } from '../health-check.js'

export interface ProbeTarget {
  readonly ip: string
  readonly port: number
  /** Of the Service port. */
  readonly protocol: Protocol
  readonly check: HealthCheck
}

export type ProbeResult = {
  /** For a failure: what came in place of what was expected. */
  readonly reason: string
  /** The endpoint is healthy, but somebody should know this. */
  readonly warning?: string
  readonly isHealthy: boolean
  /** What an agent says of its endpoint. */
  readonly agent?: AgentAnswer
}

export interface AgentAnswer {
  /** Up or down at once, whatever rise and fall. */
  readonly isUp?: boolean
  /** In place of the endpoint's own weight, 0..256; 0 drains. */
  readonly weight?: number
  /** Of the endpoint's own weight. */
  readonly weightPercent?: number
}

export type ProbeDone = (result: ProbeResult) => void

export interface RunningProbe {
  /** Gives up without calling `done`; returns what was being waited for, as `HTTP answer`. */
  cancel(): string
}

export type StartProbe = (target: ProbeTarget, done: ProbeDone) => RunningProbe

export function healthy(reason: string): ProbeResult {
  return { isHealthy: true, reason }
}

export function unhealthy(reason: string): ProbeResult {
  return { isHealthy: false, reason }
}
