/**
 * Active health checks put together: follows the Snapshots, keeps a probe going for every endpoint
 * that new connections may be sent to and whose Service wants it, and takes those that are down out
 * of the Snapshot that the datapath gets.
 *
 *   Snapshot -> apply() -> Snapshot without unhealthy endpoints
 *                 |                    ^
 *              probes -> results -> onChange -> another sync
 *
 * Incremental: a Service port that changed neither in the model nor in health is the same object
 * as before. Bounds: as many probed endpoints as there are ready ones; see also probe-scheduler.ts.
 */
import type { Clock } from '../../lib/clock.js'
import { SortedMap } from '../../lib/sorted-map.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { ServicePort } from '../../model/service-port.js'
import { sameValue, shareState } from '../../model/share-structure.js'
import type { ServicePortState, Snapshot } from '../../model/snapshot.js'
import { applyHealth } from './apply-health.js'
import { isProbed, type HealthCheck } from './health-check.js'
import type { HealthDefaults } from './health-defaults.js'
import { parseHealthCheck } from './parse-health-check.js'
import { Ejections } from './ejections.js'
import { ProbedEndpoint, type ProbeOutcome } from './probed-endpoint.js'
import { ProbeScheduler } from './probe-scheduler.js'
import { LOOK_MS, type ProbeScope } from './probe-scope.js'
import type { StartProbe } from './probe/probe.js'
import { siblingPort } from './sibling-port.js'

/** An endpoint went up or down, or a Service port began or ceased to ignore health. */
export type HealthChange =
  | {
      readonly type: 'endpoint'
      readonly servicePort: ServicePort
      readonly endpoint: Endpoint
      readonly check: HealthCheck
      readonly isUp: boolean
      readonly reason: string
    }
  | {
      readonly type: 'panic'
      readonly servicePort: ServicePort
      readonly isPanicking: boolean
    }
  /** Connections of clients have told: it is passed over, or used again. */
  | {
      readonly type: 'ejection'
      readonly servicePort: ServicePort
      readonly endpoint: Pick<Endpoint, 'id'>
      readonly isEjected: boolean
    }
  /** Healthy, but something should be seen to. */
  | {
      readonly type: 'warning'
      readonly servicePort: ServicePort
      readonly endpoint: Endpoint
      readonly reason: string
    }

export interface HealthMonitorOptions {
  readonly clock: Clock
  readonly wallClock: () => Date
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly defaults: HealthDefaults
  /** Probes under way at once. */
  readonly maxRunning: number
  /** Share of healthy endpoints below which health is ignored, 0..100. */
  readonly panicPercent: number
  readonly startProbe: StartProbe
  /** What this node probes; all of it without. */
  readonly scope?: ProbeScope
  /** Each is called once for each change; may be logged, counted, reported. */
  readonly onChange: (change: HealthChange) => void
  /** The Snapshot of the next apply() will be another one. */
  readonly onStale: () => void
  /** An endpoint is down for its grace: what is still connected to it is to be ended. */
  readonly endConnections: (servicePortId: string, endpoint: Endpoint) => void
}

/** Health of one endpoint, for the status. */
export interface EndpointHealth {
  readonly check: HealthCheck['type']
  readonly isUp: boolean
  readonly trend: string
  readonly since: Date | undefined
  readonly reason: string | undefined
  readonly probes: number
  readonly failures: number
}

/** Counted since the start. */
export interface HealthTotals {
  readonly probedEndpoints: number
  readonly unhealthyEndpoints: number
  readonly panickingServicePorts: number
  readonly probes: number
  readonly probeFailures: number
  readonly delayedProbes: number
  readonly runningProbes: number
  readonly waitingProbes: number
  readonly ejectedEndpoints: number
  readonly ejections: number
  readonly wentDown: number
  readonly cameUp: number
}

interface PortHealth {
  servicePort: ServicePort
  check: HealthCheck
  readonly endpoints: Map<string, ProbedEndpoint>
  isPanicking: boolean
}

export class HealthMonitor {
  readonly #options: HealthMonitorOptions
  readonly #scheduler: ProbeScheduler
  /** Service ports that are probed. */
  readonly #ports = new Map<string, PortHealth>()
  /** Whose health changed since the last apply(). */
  readonly #stale = new Set<string>()
  readonly #ejections = new Ejections()
  #input: Snapshot | undefined
  #output: Snapshot | undefined
  #generation = 0
  #stopLooking: () => void = () => undefined
  readonly #counts = { probeFailures: 0, wentDown: 0, cameUp: 0, unhealthy: 0, panicking: 0 }

  constructor(options: HealthMonitorOptions) {
    this.#options = options
    this.#scheduler = new ProbeScheduler(options)
    if (options.scope !== undefined) this.#lookLater()
  }

  /** Goes over to a Snapshot and returns it as health leaves it; the same object while nothing changes. */
  apply(input: Snapshot): Snapshot {
    const before = this.#input
    this.#input = input
    const changes = new Map<string, ServicePortState | undefined>()
    const empty = SortedMap.empty<ServicePortState>()
    for (const { key, after } of (before?.servicePorts ?? empty).differences(input.servicePorts)) {
      this.#follow(key, after)
      this.#ejections.retain(key, after?.endpoints ?? [])
      this.#stale.delete(key)
      changes.set(key, after === undefined ? undefined : this.#applyTo(key, after))
    }
    for (const id of this.#stale) {
      const state = input.servicePorts.get(id)
      if (state !== undefined) changes.set(id, this.#applyTo(id, state))
    }
    this.#stale.clear()
    if (this.#output !== undefined && input === before && changes.size === 0) return this.#output
    const servicePorts =
      this.#ports.size === 0
        ? input.servicePorts
        : (this.#output?.servicePorts ?? empty).with(changes)
    this.#output = { ...input, servicePorts, generation: ++this.#generation }
    return this.#output
  }

  /** The defaults have changed: checks that Services leave to them begin anew where they differ. */
  reconfigure(): void {
    const { servicePorts } = this.#input ?? {}
    if (servicePorts === undefined) return
    for (const [id, state] of servicePorts) {
      this.#follow(id, state, true)
      this.#stale.add(id)
    }
    this.#options.onStale()
  }

  /** undefined: it is not probed. */
  healthOf(servicePortId: string, endpointId: string): EndpointHealth | undefined {
    const port = this.#ports.get(servicePortId)
    const probed = port?.endpoints.get(endpointId)
    if (port === undefined || probed === undefined) return undefined
    const { isUp, trend, since, last, probes, failures } = probed
    return { check: port.check.type, isUp, trend, since, reason: last?.reason, probes, failures }
  }

  totals(): HealthTotals {
    const { probeFailures, wentDown, cameUp, unhealthy, panicking } = this.#counts
    return {
      probedEndpoints: this.#scheduler.size,
      unhealthyEndpoints: unhealthy,
      panickingServicePorts: panicking,
      probes: this.#scheduler.started,
      probeFailures,
      delayedProbes: this.#scheduler.delayed,
      ejectedEndpoints: this.#ejections.size,
      ejections: this.#ejections.count,
      runningProbes: this.#scheduler.running,
      waitingProbes: this.#scheduler.waiting,
      wentDown,
      cameUp,
    }
  }

  /** A mode that decides per connection passes the endpoint over, or uses it again. */
  ejected(servicePortId: string, endpointId: string, isEjected: boolean): void {
    const state = this.#input?.servicePorts.get(servicePortId)
    if (state === undefined) return
    if (!this.#ejections.set(servicePortId, endpointId, isEjected ? this.#now() : undefined)) return
    this.#options.onChange({
      type: 'ejection',
      servicePort: state.servicePort,
      endpoint: { id: endpointId },
      isEjected,
    })
    if (isEjected) this.suspect(servicePortId, endpointId)
  }

  /** Since when clients' connections pass the endpoint over; undefined: they do not. */
  ejectedSince(servicePortId: string, endpointId: string): Date | undefined {
    return this.#ejections.since(servicePortId, endpointId)
  }

  #now(): Date {
    return this.#options.wallClock()
  }

  /** Clients could not connect to the endpoint: it is probed at once, not in its turn. */
  suspect(servicePortId: string, endpointId: string): void {
    const probed = this.#ports.get(servicePortId)?.endpoints.get(endpointId)
    if (probed?.scheduled !== undefined) this.#scheduler.hurry(probed.scheduled)
  }

  /** No probes any more. Idempotent. */
  close(): void {
    this.#stopLooking()
    this.#scheduler.close()
  }

  /** Service ports come into use, and go out of it. */
  #lookLater(): void {
    const { clock, scope, onStale } = this.#options
    this.#stopLooking = clock.after(LOOK_MS, () => {
      for (const id of scope?.look(this.#ports.keys(), clock.nowMs()) ?? []) {
        const port = this.#ports.get(id)
        const state = this.#input?.servicePorts.get(id)
        if (port === undefined || state === undefined) continue
        this.#followEndpoints(id, port, state, false)
        // Those that are not probed any more are not down any more.
        this.#stale.add(id)
        onStale()
      }
      this.#lookLater()
    })
  }

  #follow(id: string, state: ServicePortState | undefined, hasOtherDefaults = false): void {
    const known = this.#ports.get(id)
    if (state === undefined) {
      this.#forget(id, known)
      return
    }
    const { servicePort } = state
    let check = known?.check
    if (hasOtherDefaults || known?.servicePort !== servicePort || check === undefined) {
      // What is wrong with annotations is told by those who read the objects.
      const parsed = parseHealthCheck(servicePort, this.#options.defaults)
      check = sameValue(check, parsed.check) ? (check ?? parsed.check) : parsed.check
    }
    if (!isProbed(check.type)) {
      this.#forget(id, known)
      return
    }
    const port = known ?? { servicePort, check, endpoints: new Map(), isPanicking: false }
    this.#ports.set(id, port)
    const isOther = port.check !== check
    port.servicePort = servicePort
    port.check = check
    this.#followEndpoints(id, port, state, isOther)
  }

  #followEndpoints(
    id: string,
    port: PortHealth,
    { reachable }: ServicePortState,
    isOtherCheck: boolean,
  ): void {
    const wanted = new Map<string, Endpoint>()
    const { scope } = this.#options
    for (const one of reachable) {
      if (one.isReady && scope?.includes(id, one.id) !== false) wanted.set(one.id, one)
    }
    for (const [endpointId, probed] of [...port.endpoints]) {
      const endpoint = wanted.get(endpointId)
      if (endpoint === undefined) this.#stopProbing(port, probed)
      else if (isOtherCheck) this.#restart(id, port, probed, endpoint)
      else probed.endpoint = endpoint
      wanted.delete(endpointId)
    }
    for (const endpoint of wanted.values()) this.#startProbing(id, port, endpoint, undefined)
  }

  #restart(id: string, port: PortHealth, probed: ProbedEndpoint, endpoint: Endpoint): void {
    const { isUp, since } = probed
    this.#stopProbing(port, probed)
    this.#startProbing(id, port, endpoint, isUp).since = since
  }

  #startProbing(
    id: string,
    port: PortHealth,
    endpoint: Endpoint,
    wasUp: boolean | undefined,
  ): ProbedEndpoint {
    const { check } = port
    const probed = new ProbedEndpoint({
      endpoint,
      check,
      protocol: port.servicePort.protocol,
      wasUp,
      startProbe: this.#options.startProbe,
      portOf: (of) =>
        typeof check.port === 'string'
          ? siblingPort(this.#input, port.servicePort, check.port, of)
          : (check.port ?? of.port),
      onResult: (which, outcome) => {
        this.#onResult(id, which, outcome)
      },
    })
    port.endpoints.set(endpoint.id, probed)
    if (!probed.isUp) this.#counts.unhealthy++
    probed.scheduled = this.#scheduler.add(probed)
    return probed
  }

  #stopProbing(port: PortHealth, probed: ProbedEndpoint): void {
    if (probed.scheduled !== undefined) this.#scheduler.remove(probed.scheduled)
    if (!probed.isUp) this.#counts.unhealthy--
    port.endpoints.delete(probed.endpoint.id)
  }

  #forget(id: string, port: PortHealth | undefined): void {
    if (port === undefined) return
    for (const probed of [...port.endpoints.values()]) this.#stopProbing(port, probed)
    if (port.isPanicking) this.#counts.panicking--
    this.#options.scope?.forget(id)
    this.#ports.delete(id)
  }

  #onResult(id: string, probed: ProbedEndpoint, outcome: ProbeOutcome): void {
    const port = this.#ports.get(id)
    if (port === undefined) return
    const { result, hasChanged, hasOtherWeight } = outcome
    const { servicePort, check } = port
    const { endpoint, isUp } = probed
    const { onChange, onStale, wallClock } = this.#options
    if (!result.isHealthy) this.#counts.probeFailures++
    if (result.warning !== undefined) {
      onChange({ type: 'warning', servicePort, endpoint, reason: result.warning })
    }
    if (hasOtherWeight) {
      this.#stale.add(id)
      onStale()
    }
    if (!hasChanged) return
    probed.since = wallClock()
    if (isUp) this.#counts.cameUp++
    else this.#counts.wentDown++
    this.#counts.unhealthy += isUp ? -1 : 1
    onChange({ type: 'endpoint', servicePort, endpoint, check, isUp, reason: result.reason })
    this.#stale.add(id)
    onStale()
    if (!isUp && check.onDown === 'reset') this.#endLater(id, probed, check)
  }

  /** After the grace, unless it is up again, has gone, or is used all the same for want of others. */
  #endLater(id: string, probed: ProbedEndpoint, check: HealthCheck): void {
    const { clock, endConnections } = this.#options
    const { since } = probed
    const isDueStill = (): boolean =>
      this.#ports.get(id)?.endpoints.get(probed.endpoint.id) === probed &&
      !probed.isUp &&
      probed.since === since &&
      this.#output?.servicePorts
        .get(id)
        ?.reachable.every((endpoint) => endpoint.id !== probed.endpoint.id) === true
    // Not before the sync that takes it out of rotation: a client that comes back at once would meet it again.
    clock.after(Math.max(check.onDownGraceMs, SYNC_FIRST_MS), () => {
      if (isDueStill()) endConnections(id, probed.endpoint)
    })
  }

  #applyTo(id: string, state: ServicePortState): ServicePortState {
    const port = this.#ports.get(id)
    if (port === undefined) return state
    const { panicPercent, onChange } = this.#options
    const applied = applyHealth(state, ({ id: one }) => port.endpoints.get(one), panicPercent)
    if (applied.isPanicking !== port.isPanicking) {
      port.isPanicking = applied.isPanicking
      this.#counts.panicking += applied.isPanicking ? 1 : -1
      onChange({
        type: 'panic',
        servicePort: port.servicePort,
        isPanicking: applied.isPanicking,
      })
    }
    return shareState(this.#output?.servicePorts.get(id), applied.state)
  }
}

/** How long the sync that a change asks for usually takes to be in force. */
const SYNC_FIRST_MS = 250
