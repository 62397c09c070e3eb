/**
 * Finds an endpoint for one client connection: picks, connects, and on failure goes on to the next
 * endpoint, within the attempts, the time per try and the retry budget. The client waits meanwhile
 * and never learns of an endpoint that did not answer.
 *
 * One instance serves one connection. Exactly one call of `done` ends it, unless `cancel` came first;
 * `again` starts it anew.
 */
import type { Socket } from 'node:net'
import type { Endpoint } from '../../model/endpoint.js'
import type { EndpointPicker, NewConnection } from '../../policy/endpoint-picker.js'
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

  /** Starts the first try. `done` may be called before this returns. */
  start(): void {
    this.#try()
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
    this.#socket?.destroy()
    this.#socket = undefined
  }

  #try(): void {
    const { picker, clock, connect, timeoutMs } = this.#services
    const pick = picker.pick(this.#connection, this.#tried)
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
    // One timer a try: Node keeps those of one duration in one list, so it costs next to nothing.
    this.#timer = setTimeout(() => {
      if (this.#socket === socket) this.#failed(endpoint, 'ETIMEDOUT')
    }, timeoutMs)
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

  #failed(endpoint: Endpoint, errnoName: string): void {
    const { picker, budget, attempts, openConnections } = this.#services
    this.#endTry()
    this.#socket?.destroy()
    this.#socket = undefined
    if (!LOCAL_FAILURES.has(errnoName)) {
      this.#counts.endpoint(endpoint.id).connectFailures++
      picker.connectFailed(this.#connection, endpoint)
    }
    if (this.#tried.length >= attempts || !budget.tryAcquire(openConnections())) {
      this.#finish(undefined)
      return
    }
    this.#holdsRetry = true
    this.#counts.retries++
    this.#try()
  }

  #finish(result: Connected | undefined): void {
    this.#endTry()
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
