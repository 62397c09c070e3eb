/**
 * A balancer that a user has written: an ES module (docs/writing-a-balancer.md) whose exports are
 *
 *   name              text, for people
 *   createBalancer()  makes a balancer (balancer.ts) for one set of endpoints
 *
 * and what guards against it: it may throw, answer nonsense or be slow, and still every connection
 * gets an endpoint, by round robin. One guard for all Service ports of a thread.
 */
import { messageOf, SluiceError } from '../../lib/errors.js'
import { quote } from '../../model/object-fields.js'
import type { Balancer } from './balancer.js'
import { GuardedBalancer } from './guarded-balancer.js'

export interface BalancerPlugin {
  readonly name: string
  readonly createBalancer: () => Balancer
}

const NOTIFICATIONS = ['onConnect', 'onConnectFailure', 'onClose', 'onLatency'] as const

/**
 * Checks what a module exports, and makes one balancer to see that it can.
 * @throws SluiceError ERR_PLUGIN: which file, what is wrong with it
 */
export function pluginOf(exports: Readonly<Record<string, unknown>>, file: string): BalancerPlugin {
  const fail = (message: string): never => {
    throw new SluiceError('ERR_PLUGIN', `--balancer-plugin ${file}: ${message}`)
  }
  const { name, createBalancer } = exports
  if (typeof name !== 'string' || name === '') return fail('export const name = "..." is missing')
  if (typeof createBalancer !== 'function') return fail('export function createBalancer is missing')
  const create = (): Balancer => checked((createBalancer as () => unknown)(), fail)
  try {
    create()
  } catch (error) {
    if (error instanceof SluiceError) throw error
    fail(`createBalancer has thrown: ${messageOf(error)}`)
  }
  return { name, createBalancer: create }
}

function checked(balancer: unknown, fail: (message: string) => never): Balancer {
  if (typeof balancer !== 'object' || balancer === null) {
    return fail(`createBalancer must return an object, returned ${quote(balancer)}`)
  }
  const methods = balancer as Readonly<Record<string, unknown>>
  for (const method of ['setEndpoints', 'pick']) {
    if (typeof methods[method] !== 'function') fail(`its balancer has no method ${method}`)
  }
  for (const method of NOTIFICATIONS) {
    if (methods[method] !== undefined && typeof methods[method] !== 'function') {
      fail(`${method} of its balancer is not a function`)
    }
  }
  return balancer as Balancer
}

export interface PluginGuardOptions {
  readonly plugin: BalancerPlugin
  /** Longest time of a pick. */
  readonly limitMs: number
  readonly nowMs: () => number
  /** The first failure, and when it is switched off: a line each, and no more. */
  readonly onWarning: (message: string) => void
  /** The counts have changed. */
  readonly onCounted?: (counts: PluginCounts) => void
}

export interface PluginCounts {
  /** Calls that threw or answered nonsense, and picks that took too long. */
  readonly failures: number
  readonly overruns: number
  readonly isOff: boolean
}

/** Overruns, less one for each so many good picks, after which the plug-in is switched off. */
const MAX_OVERRUNS = 10
const PICKS_THAT_FORGIVE = 1000

export class PluginGuard implements PluginCounts {
  readonly limitMs: number
  readonly nowMs: () => number
  #plugin: BalancerPlugin
  /** Of the plug-in at hand. */
  #hasFailed = false
  readonly #onWarning: (message: string) => void
  readonly #onCounted: (counts: PluginCounts) => void
  #score = 0
  #goodPicks = 0
  failures = 0
  overruns = 0
  isOff = false

  constructor({ plugin, limitMs, nowMs, onWarning, onCounted }: PluginGuardOptions) {
    this.#plugin = plugin
    this.limitMs = limitMs
    this.nowMs = nowMs
    this.#onWarning = onWarning
    this.#onCounted = onCounted ?? (() => undefined)
  }

  counts(): PluginCounts {
    const { failures, overruns, isOff } = this
    return { failures, overruns, isOff }
  }

  create(): Balancer {
    return new GuardedBalancer(this.#plugin.createBalancer, this)
  }

  /** Another version of it, which begins without a past; balancers made from here on are its. */
  replace(plugin: BalancerPlugin): void {
    this.#plugin = plugin
    this.#hasFailed = false
    this.#score = 0
    this.#goodPicks = 0
    this.isOff = false
    this.#onCounted(this)
  }

  failed(message: string): void {
    this.failures++
    this.#onCounted(this)
    if (!this.#hasFailed) {
      this.#hasFailed = true
      this.#warn(`${message}; round robin picks in its place, and further failures are counted`)
    }
  }

  overran(tookMs: number): void {
    this.overruns++
    this.isOff = ++this.#score >= MAX_OVERRUNS
    this.#onCounted(this)
    if (!this.isOff) return
    this.#warn(
      `a pick took ${tookMs.toFixed(1)} ms, ${this.overruns} were above ${this.limitMs} ms; it is switched off, round robin picks from here on`,
    )
  }

  succeeded(): void {
    if (this.#score === 0 || ++this.#goodPicks < PICKS_THAT_FORGIVE) return
    this.#goodPicks = 0
    this.#score--
  }

  #warn(message: string): void {
    this.#onWarning(`balancer plug-in "${this.#plugin.name}": ${message}`)
  }
}
