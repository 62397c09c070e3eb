/**
 * Finds an endpoint for one client connection: picks, connects, and on failure goes on to the next
 * endpoint, within the attempts, the time per try and the retry budget. An endpoint that is silent for
 * longer than it usually takes is left for another one sooner, if there is one. The client waits meanwhile
 * and never learns of an endpoint that did not answer.
 *
 * One instance serves one connection. Exactly one call of `done` ends it, unless `cancel` came first;
 * `again` starts it anew. How a connect is made is the dialer's business.
 */
import type { Endpoint } from '../../model/endpoint.js'
import type { EndpointPicker, NewConnection, Pick as Picked } from '../../policy/endpoint-picker.js'
import type { RetryBudget } from '../../policy/retry-budget.js'
import type { ServicePortCounts } from '../../observe/traffic.js'

export interface ConnectServices {
  readonly picker: EndpointPicker
  readonly budget: RetryBudget
  /** Endpoints tried for one client connection. */
  readonly attempts: number
  /** Per try. */
  readonly timeoutMs: number
  /** Client connections now, those that wait for an endpoint included. */
  readonly openConnections: () => number
}

export interface DialTimes {
  /** The connect has failed after this. */
  readonly timeoutMs: number
  /** It is silent after this; timeoutMs or more: never. */
  readonly patienceMs: number
  /** Its first byte is waited for, for so long; 0: it is not. */
  readonly firstByteMs: number
}

/** Makes the connects of one connection, one at a time. */
export interface Dialer {
  /** Whether it can wait for an endpoint's first byte. */
  readonly hearsFirstByte: boolean
  /** Starts a connect; later, not before this has returned, it tells `events` how it went. May throw. */
  dial(endpoint: Endpoint, times: DialTimes, events: DialEvents): void
  /** A silent connect gets the time that is left. */
  keepOn(): void
  /** The connect under way is given up, if there is one: its events must not come any more. */
  hangUp(): void
  /**
   * Connected: from here on the picker is to be told when the connection has closed. Undefined: no
   * endpoint could serve it.
   */
  done(endpoint: Endpoint | undefined): void
}

export interface DialEvents {
  connected(latencyMs: number): void
  failed(errnoName: string): void
  /** Wants `keepOn`, `hangUp` or another `dial`; until then nothing else comes of this connect. */
  silent(): void
}

/** errno names that speak of this host, not of the endpoint: no reason to think less of it. */
const LOCAL_FAILURES: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'ENOBUFS',
  'ENOMEM',
  'EADDRNOTAVAIL',
  'EADDRINUSE',
  'EACCES',
  'EPERM',
])

export class EndpointConnect implements DialEvents {
  readonly #services: ConnectServices
  readonly #connection: NewConnection
  readonly #counts: ServicePortCounts
  readonly #dialer: Dialer
  readonly #tried: Endpoint[] = []
  /** Where a connect is under way. */
  #connecting: Endpoint | undefined
  #holdsRetry = false
  /** The try under way counts as failed already. */
  #isSilent = false

  constructor(
    services: ConnectServices,
    connection: NewConnection,
    counts: ServicePortCounts,
    dialer: Dialer,
  ) {
    this.#services = services
    this.#connection = connection
    this.#counts = counts
    this.#dialer = dialer
  }

  /** Endpoints tried so far. */
  get attempts(): number {
    return this.#tried.length
  }

  /** Starts the first try. `done` may be called before this returns. */
  start(): void {
    this.#try(this.#pick())
  }

  /** The first try is under way already, to an endpoint that was picked ahead. */
  startedAt(endpoint: Endpoint): void {
    this.#take(endpoint)
  }

  /**
   * The endpoint reset the connection before a byte went either way: as good as refused. Goes on with
   * the next endpoint and calls `done` once more.
   */
  again(endpoint: Endpoint): void {
    this.#failed(endpoint, 'ECONNRESET')
  }

  /** The client has gone: gives up without calling `done`. */
  cancel(): void {
    this.#endTry()
    this.#release()
    this.#dialer.hangUp()
  }

  connected(latencyMs: number): void {
    const endpoint = this.#connecting
    if (endpoint === undefined) return
    const { picker } = this.#services
    picker.latency(this.#connection.servicePortId, endpoint, latencyMs)
    if (this.#firstByteMs() === 0) picker.answered(this.#connection, endpoint)
    picker.connected(this.#connection, endpoint)
    this.#connecting = undefined
    this.#finish(endpoint)
  }

  failed(errnoName: string): void {
    if (this.#connecting !== undefined) this.#failed(this.#connecting, errnoName)
  }

  /** Longer than it usually takes: another one is tried if there is one, else it gets the time that is left. */
  silent(): void {
    if (this.#connecting === undefined) return
    this.#blame(this.#connecting)
    this.#isSilent = true
    const wasRetry = this.#holdsRetry
    const isLast = this.#tried.length >= this.#services.attempts
    if (!isLast && (wasRetry || this.#mayRetry())) {
      const pick = this.#pick()
      if (pick.verdict === 'endpoint') {
        this.#endTry()
        this.#dialer.hangUp()
        this.#retry(pick)
        return
      }
      if (!wasRetry) this.#release()
    }
    this.#dialer.keepOn()
  }

  /** More than 0: that it takes connections says nothing of an endpoint's health, its first byte does. */
  #firstByteMs(): number {
    const { picker } = this.#services
    return this.#dialer.hearsFirstByte ? picker.firstByteMs(this.#connection.servicePortId) : 0
  }

  #pick(): Picked {
    return this.#services.picker.pick(this.#connection, this.#tried)
  }

  #try(pick: Picked): void {
    const { picker, timeoutMs } = this.#services
    if (pick.verdict !== 'endpoint') {
      this.#finish(undefined)
      return
    }
    const { endpoint } = pick
    const { servicePortId } = this.#connection
    this.#take(endpoint)
    const patienceMs = Math.ceil(picker.patienceMs(servicePortId, endpoint) ?? timeoutMs)
    try {
      const times = { timeoutMs, patienceMs, firstByteMs: this.#firstByteMs() }
      this.#dialer.dial(endpoint, times, this)
    } catch (error) {
      this.#failed(endpoint, errnoNameOf(error))
    }
  }

  #take(endpoint: Endpoint): void {
    this.#tried.push(endpoint)
    this.#services.picker.opened(this.#connection.servicePortId, endpoint)
    this.#connecting = endpoint
  }

  #failed(endpoint: Endpoint, errnoName: string): void {
    const isBlamed = this.#isSilent
    this.#endTry()
    this.#release()
    this.#dialer.hangUp()
    if (!isBlamed && !LOCAL_FAILURES.has(errnoName)) this.#blame(endpoint)
    if (this.#mayRetry()) this.#retry(this.#pick())
    else this.#finish(undefined)
  }

  /** Whether there may be one more try; true takes it from the budget. */
  #mayRetry(): boolean {
    const { budget, attempts, openConnections } = this.#services
    this.#holdsRetry = this.#tried.length < attempts && budget.tryAcquire(openConnections())
    return this.#holdsRetry
  }

  #retry(pick: Picked): void {
    this.#counts.retries++
    this.#try(pick)
  }

  #blame(endpoint: Endpoint): void {
    this.#counts.endpoint(endpoint.id).connectFailures++
    this.#services.picker.connectFailed(this.#connection, endpoint)
  }

  #finish(endpoint: Endpoint | undefined): void {
    this.#endTry()
    this.#release()
    this.#dialer.done(endpoint)
  }

  #endTry(): void {
    if (this.#connecting !== undefined) {
      this.#services.picker.closed(this.#connection.servicePortId, this.#connecting)
      this.#connecting = undefined
    }
    this.#isSilent = false
  }

  #release(): void {
    if (this.#holdsRetry) this.#services.budget.release()
    this.#holdsRetry = false
  }
}

/** Of anything that was thrown or emitted. */
export function errnoNameOf(error: unknown): string {
  if (error instanceof Error) {
    const { errnoName, code } = error as { errnoName?: unknown; code?: unknown }
    if (typeof errnoName === 'string') return errnoName
    if (typeof code === 'string') return code
  }
  return 'UNKNOWN'
}
