/**
 * A plug-in's balancer with round robin behind it: whatever the plug-in does, a pick is an endpoint
 * of the set that was not tried, as long as there is one. What it cannot guard against is a pick that
 * never returns.
 */
import { messageOf } from '../../lib/errors.js'
import type { Endpoint } from '../../model/endpoint.js'
import {
  AT_REST,
  isTried,
  type Balancer,
  type EndpointStates,
  type PickContext,
} from './balancer.js'
import type { PluginGuard } from './plugin.js'
import { RoundRobin } from './round-robin.js'

type Guard = Pick<PluginGuard, 'limitMs' | 'nowMs' | 'isOff' | 'failed' | 'overran' | 'succeeded'>

export class GuardedBalancer implements Balancer {
  readonly #guard: Guard
  readonly #fallback = new RoundRobin()
  #own: Balancer | undefined
  #byId: ReadonlyMap<string, Endpoint> = new Map()

  constructor(create: () => Balancer, guard: Guard) {
    this.#guard = guard
    this.#call('createBalancer', () => {
      this.#own = create()
    })
  }

  get name(): string {
    return this.#guard.isOff || this.#own === undefined ? 'plugin (round-robin)' : 'plugin'
  }

  setEndpoints(endpoints: readonly Endpoint[], states: EndpointStates = AT_REST): void {
    this.#byId = new Map(endpoints.map((endpoint) => [endpoint.id, endpoint]))
    this.#fallback.setEndpoints(endpoints, states)
    this.#call('setEndpoints', () => {
      this.#own?.setEndpoints(endpoints, states)
    })
  }

  pick(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    return this.#pickOwn(context, tried) ?? this.#fallback.pick(context, tried)
  }

  onConnect(endpoint: Endpoint): void {
    this.#call('onConnect', () => this.#own?.onConnect?.(endpoint))
  }

  onConnectFailure(endpoint: Endpoint, nowMs: number): void {
    this.#call('onConnectFailure', () => this.#own?.onConnectFailure?.(endpoint, nowMs))
  }

  onClose(endpoint: Endpoint): void {
    this.#call('onClose', () => this.#own?.onClose?.(endpoint))
  }

  onLatency(endpoint: Endpoint, latencyMs: number, nowMs: number): void {
    this.#call('onLatency', () => this.#own?.onLatency?.(endpoint, latencyMs, nowMs))
  }

  /** The plug-in's pick, when it is one. */
  #pickOwn(context: PickContext, tried: readonly Endpoint[]): Endpoint | undefined {
    const guard = this.#guard
    if (guard.isOff || this.#own === undefined) return undefined
    const startedMs = guard.nowMs()
    let picked: unknown
    try {
      picked = this.#own.pick(context, tried)
    } catch (error) {
      guard.failed(`pick has thrown: ${messageOf(error)}`)
      return undefined
    }
    const tookMs = guard.nowMs() - startedMs
    if (tookMs > guard.limitMs) {
      guard.overran(tookMs)
      return undefined
    }
    const endpoint = this.#memberOf(picked)
    if (endpoint === undefined || isTried(endpoint, tried)) {
      // Nothing is a true answer when all were tried.
      const isTrue = picked === undefined && tried.length >= this.#byId.size
      if (!isTrue) guard.failed('pick has returned what is no endpoint of the set, or was tried')
      return undefined
    }
    guard.succeeded()
    return endpoint
  }

  #memberOf(picked: unknown): Endpoint | undefined {
    if (typeof picked !== 'object' || picked === null || !('id' in picked)) return undefined
    return typeof picked.id === 'string' ? this.#byId.get(picked.id) : undefined
  }

  #call(method: string, call: () => void): void {
    if (this.#guard.isOff) return
    try {
      call()
    } catch (error) {
      this.#guard.failed(`${method} has thrown: ${messageOf(error)}`)
    }
  }
}
