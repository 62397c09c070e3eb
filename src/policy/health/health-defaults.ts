/** What health checks are like where an annotation says nothing: from the options. */
import type { HealthCheckType } from './health-check.js'
import type { InitialState } from './rise-fall.js'

/** `auto`: as appProtocol or the port's name suggests. */
export type DefaultHealthCheck = Extract<HealthCheckType, 'passive' | 'none' | 'tcp'> | 'auto'

export interface HealthDefaults {
  readonly check: DefaultHealthCheck
  readonly intervalMs: number
  /** undefined: half of the interval, and at most a second. */
  readonly timeoutMs: number | undefined
  /** undefined: half of the interval, and at most a second. */
  readonly fastIntervalMs: number | undefined
  /** undefined: the interval. */
  readonly downIntervalMs: number | undefined
  readonly jitterPercent: number
  readonly rise: number
  readonly fall: number
  readonly initialState: InitialState
  /** Folder with the programs that an exec check may name; undefined: no exec checks. */
  readonly execDirectory: string | undefined
}
