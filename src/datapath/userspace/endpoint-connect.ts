/**
 * Finds an endpoint for one client connection: picks, connects, and on failure goes on to the next
 * endpoint, within the attempts, the time per try and the retry budget. An endpoint that is silent for
 * longer than it usually takes is left for another one sooner, if there is one. The client waits meanwhile
 * and never learns of an endpoint that did not answer.
 *
 * One instance serves one connection. Exactly one call of `done` ends it, unless `cancel` came first;
 * `again` starts it anew.
 */
import type { Socket } from 'node:net'
import type { Endpoint } from '../../model/endpoint.js'
import type { EndpointPicker, NewConnection, Pick as Picked } from '../../policy/endpoint-picker.js'
import type { RetryBudget } from '../../policy/retry-budget.js'
import type { Clock } from '../../lib/clock.js'
import type { ServicePortCounts } from '../../observe/traffic.js'

export interface ConnectServices {
  readonly picker: EndpointPicker
  readonly budget: RetryBudget
  readonly clock: Clock
  /** Endpoints tried for one client connection. */
  readonly attempts: number
  /** Per try. */
  readonly timeoutMs: number
  /** Starts a connect; the socket reports by its events. May throw. */
  readonly connect: (endpoint: Endpoint, connection: NewConnection) => Socket
  /** Client connections now, those that wait for an endpoint included. */
  readonly openConnections: () => number
}

/** From here on the picker is to be told when the connection has closed. */
export interface Connected {
  readonly socket: Socket
  readonly endpoint: Endpoint
}

/** undefined: no endpoint could serve the connection. */
export type ConnectDone = (result: Connected | undefined) => void

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

export class EndpointConnect {
  readonly #services: ConnectServices
  readonly #connection: NewConnection
  readonly #counts: ServicePortCounts
  readonly #done: ConnectDone
  readonly #tried: Endpoint[] = []
  #socket: Socket | undefined
  /** Where a connect is under way. */
  #connecting: Endpoint | undefined
  #timer: NodeJS.Timeout | undefined
  #holdsRetry = false
  /** The try under way counts as failed already. */
  #isSilent = false

  constructor(
    services: ConnectServices,
    connection: NewConnection,
    counts: ServicePortCounts,
    done: ConnectDone,
  ) {
    this.#services = services
    this.#connection = connection
    this.#counts = counts
    this.#done = done
  }

  /** Endpoints tried so far. */
  get attempts(): number {
    return this.#tried.length
  }

  /** Starts the first try. `done` may be called before this returns. */
  start(): void {
    this.#try(this.#pick())
  }

  /**
   * The endpoint reset the connection before a byte went either way: as good as refused. Goes on with
   * the next endpoint and calls `done` once more.
   */
  again({ endpoint }: Pick<Connected, 'endpoint'>): void {
    this.#failed(endpoint, 'ECONNRESET')
  }

  /** The client has gone: gives up without calling `done`. */
  cancel(): void {
    this.#endTry()
    this.#release()
    this.#drop()
  }

  #pick(): Picked {
    return this.#services.picker.pick(this.#connection, this.#tried)
  }

  #try(pick: Picked): void {
    const { picker, clock, connect, timeoutMs } = this.#services
    if (pick.verdict !== 'endpoint') {
      this.#finish(undefined)
      return
    }
    const { endpoint } = pick
    this.#tried.push(endpoint)
    picker.opened(this.#connection.servicePortId, endpoint)
    this.#connecting = endpoint
    const startedMs = clock.nowMs()
    let socket: Socket
    try {
      socket = connect(endpoint, this.#connection)
    } catch (error) {
      this.#failed(endpoint, errnoNameOf(error))
      return
    }
    this.#socket = socket
    const patienceMs = picker.patienceMs(this.#connection.servicePortId, endpoint) ?? timeoutMs
    // One timer a try: Node keeps those of one duration in one list, so it costs next to nothing.
    this.#timer = setTimeout(
      () => {
        if (this.#socket !== socket) return
        if (patienceMs >= timeoutMs) this.#failed(endpoint, 'ETIMEDOUT')
        else this.#silent(endpoint, timeoutMs - patienceMs)
      },
      Math.min(Math.ceil(patienceMs), timeoutMs),
    )
    socket.on('error', (error) => {
      // After the connect succeeded, or was given up, errors are somebody else's business.
      if (this.#socket === socket) this.#failed(endpoint, errnoNameOf(error))
    })
    socket.once('connect', () => {
      if (this.#socket !== socket) return
      picker.latency(this.#connection.servicePortId, endpoint, clock.nowMs() - startedMs)
      picker.answered(this.#connection, endpoint)
      picker.connected(this.#connection, endpoint)
      this.#connecting = undefined
      this.#finish({ socket, endpoint })
    })
  }

  /** Longer than it usually takes: another one is tried if there is one, else it gets the time that is left. */
  #silent(endpoint: Endpoint, leftMs: number): void {
    this.#blame(endpoint)
    this.#isSilent = true
    const wasRetry = this.#holdsRetry
    const isLast = this.#tried.length >= this.#services.attempts
    if (!isLast && (wasRetry || this.#mayRetry())) {
      const pick = this.#pick()
      if (pick.verdict === 'endpoint') {
        this.#endTry()
        this.#drop()
        this.#retry(pick)
        return
      }
      if (!wasRetry) this.#release()
    }
    this.#timer = setTimeout(() => {
      this.#failed(endpoint, 'ETIMEDOUT')
    }, leftMs)
  }

  #failed(endpoint: Endpoint, errnoName: string): void {
    const isBlamed = this.#isSilent
    this.#endTry()
    this.#release()
    this.#drop()
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

  #finish(result: Connected | undefined): void {
    this.#endTry()
    this.#release()
    this.#socket = undefined
    this.#done(result)
  }

  #endTry(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#connecting !== undefined) {
      this.#services.picker.closed(this.#connection.servicePortId, this.#connecting)
      this.#connecting = undefined
    }
    this.#isSilent = false
  }

  #drop(): void {
    this.#socket?.destroy()
    this.#socket = undefined
  }

  #release(): void {
    if (this.#holdsRetry) this.#services.budget.release()
    this.#holdsRetry = false
  }
}

function errnoNameOf(error: unknown): string {
  if (error instanceof Error) {
    const { errnoName, code } = error as { errnoName?: unknown; code?: unknown }
    if (typeof errnoName === 'string') return errnoName
    if (typeof code === 'string') return code
  }
  return 'UNKNOWN'
}
