/** One endpoint of a Service port that is probed: its state, and what is known of it for people. */
import type { Endpoint } from '../../model/endpoint.js'
import type { Protocol } from '../../model/service-port.js'
import type { HealthCheck } from './health-check.js'
import type { ProbeJob, ScheduledProbe } from './probe-scheduler.js'
import type {
  ProbeDone,
  ProbeResult,
  ProbeTarget,
  RunningProbe,
  StartProbe,
} from './probe/probe.js'
import { unhealthy, type AgentAnswer } from './probe/probe.js'
import { RiseFall, type Trend } from './rise-fall.js'

export interface ProbedEndpointOptions {
  readonly endpoint: Endpoint
  readonly check: HealthCheck
  readonly protocol: Protocol
  /** Whether it was up before, under another check; undefined: it is new. */
  readonly wasUp: boolean | undefined
  readonly startProbe: StartProbe
  /** Port number that is probed; undefined: there is none of that name. Read at each probe. */
  readonly portOf: (endpoint: Endpoint) => number | undefined
  readonly onResult: (probed: ProbedEndpoint, outcome: ProbeOutcome) => void
}

export interface ProbeOutcome {
  readonly result: ProbeResult
  readonly tookMs: number
  /** It went up or down by this, or its agent gave it another weight. */
  readonly hasChanged: boolean
  readonly hasOtherWeight: boolean
}

export class ProbedEndpoint implements ProbeJob {
  readonly #options: ProbedEndpointOptions
  readonly #riseFall: RiseFall
  endpoint: Endpoint
  scheduled: ScheduledProbe | undefined
  /** When it last went up or down; undefined: not since it was first seen. */
  since: Date | undefined
  /** Of the last probe; undefined before the first. */
  last: ProbeResult | undefined
  /** What its agent has said last of its weight. */
  agentWeight: Pick<AgentAnswer, 'weight' | 'weightPercent'> | undefined
  probes = 0
  failures = 0

  constructor(options: ProbedEndpointOptions) {
    const { check, wasUp } = options
    this.#options = options
    this.endpoint = options.endpoint
    const initialState = wasUp === undefined ? check.initialState : wasUp ? 'up' : 'down'
    this.#riseFall = new RiseFall({ ...check, initialState })
  }

  get timing(): HealthCheck {
    return this.#options.check
  }

  get isUp(): boolean {
    return this.#riseFall.isUp
  }

  get trend(): Trend {
    return this.#riseFall.trend
  }

  start(done: ProbeDone): RunningProbe {
    const { startProbe, check, portOf, protocol } = this.#options
    const port = portOf(this.endpoint)
    if (port === undefined) return failLater(`no port named ${String(check.port)} there`, done)
    const target: ProbeTarget = { ip: this.endpoint.ip, port, protocol, check }
    return startProbe(target, done)
  }

  onResult(result: ProbeResult, tookMs: number): void {
    this.last = result
    this.probes++
    if (!result.isHealthy) this.failures++
    const { isUp } = result.agent ?? {}
    const hasChanged =
      isUp === undefined ? this.#riseFall.record(result.isHealthy) : this.#riseFall.force(isUp)
    const hasOtherWeight = result.agent !== undefined && this.#takeWeight(result.agent)
    this.#options.onResult(this, { result, tookMs, hasChanged, hasOtherWeight })
  }

  /** An agent that says nothing of weights leaves the one before, but `ready` takes it back. */
  #takeWeight({ weight, weightPercent, isUp }: AgentAnswer): boolean {
    const before = this.agentWeight
    if (weight !== undefined) this.agentWeight = { weight }
    else if (weightPercent !== undefined) this.agentWeight = { weightPercent }
    else if (isUp === true) this.agentWeight = undefined
    const after = this.agentWeight
    return before?.weight !== after?.weight || before?.weightPercent !== after?.weightPercent
  }
}

function failLater(reason: string, done: ProbeDone): RunningProbe {
  let isCancelled = false
  setImmediate(() => {
    if (!isCancelled) done(unhealthy(reason))
  })
  return {
    cancel: () => {
      isCancelled = true
      return 'port'
    },
  }
}
