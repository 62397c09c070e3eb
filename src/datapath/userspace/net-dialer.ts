/** Connects to endpoints with Node's own sockets. */
import type { Socket } from 'node:net'
import type { Clock } from '../../lib/clock.js'
import type { Endpoint } from '../../model/endpoint.js'
import { errnoNameOf, type DialEvents, type Dialer, type DialTimes } from './endpoint-connect.js'

export interface NetDialerOptions {
  readonly clock: Clock
  /** Starts a connect; the socket reports by its events. May throw. */
  readonly connect: (endpoint: Endpoint) => Socket
  /** undefined: no endpoint could serve the connection. */
  readonly done: (result: Connected | undefined) => void
}

export interface Connected {
  readonly socket: Socket
  readonly endpoint: Endpoint
}

export class NetDialer implements Dialer {
  readonly hearsFirstByte = false
  readonly #options: NetDialerOptions
  #socket: Socket | undefined
  #timer: NodeJS.Timeout | undefined
  #keepOn: (() => void) | undefined

  constructor(options: NetDialerOptions) {
    this.#options = options
  }

  dial(endpoint: Endpoint, { timeoutMs, patienceMs }: DialTimes, events: DialEvents): void {
    const { clock, connect } = this.#options
    const startedMs = clock.nowMs()
    const socket = connect(endpoint)
    this.#socket = socket
    // After the connect succeeded, or was given up, errors are somebody else's business.
    const fail = (errnoName: string) => {
      if (this.#socket === socket) events.failed(errnoName)
    }
    // One timer a try: Node keeps those of one duration in one list, so it costs next to nothing.
    const failAfter = (ms: number) => {
      this.#timer = setTimeout(() => {
        fail('ETIMEDOUT')
      }, ms)
    }
    this.#keepOn = () => {
      failAfter(timeoutMs - patienceMs)
    }
    if (patienceMs >= timeoutMs) failAfter(timeoutMs)
    else {
      this.#timer = setTimeout(() => {
        if (this.#socket === socket) events.silent()
      }, patienceMs)
    }
    socket.on('error', (error) => {
      fail(errnoNameOf(error))
    })
    socket.once('connect', () => {
      if (this.#socket === socket) events.connected(clock.nowMs() - startedMs)
    })
  }

  keepOn(): void {
    this.#keepOn?.()
  }

  hangUp(): void {
    this.#take()?.destroy()
  }

  done(endpoint: Endpoint | undefined): void {
    const socket = this.#take()
    const isConnected = socket !== undefined && endpoint !== undefined
    this.#options.done(isConnected ? { socket, endpoint } : undefined)
  }

  #take(): Socket | undefined {
    clearTimeout(this.#timer)
    const socket = this.#socket
    this.#socket = undefined
    return socket
  }
}
