/**
 * One UDP session: a client's address and port at one VIP, and the endpoint that serves it, through
 * a connected socket of its own (so only that endpoint can answer, and the kernel reports it when
 * nobody listens there).
 *
 * Datagrams that have no answer yet are kept for a moment: when the endpoint's host answers "port
 * unreachable", they are sent to another endpoint, and the client does not notice. A host answers so
 * once a second at most, so that a datagram on trial may meet silence: when its client repeats it and
 * the endpoint is still failing, the repetition goes to another endpoint.
 * Bounds: KEPT_DATAGRAMS datagrams and KEPT_BYTES bytes for at most `retryWithinMs`.
 */
import type { Socket } from 'node:dgram'
import type { Endpoint } from '../../model/endpoint.js'
import type { EndpointPicker, NewConnection } from '../../policy/endpoint-picker.js'
import type { ServicePortCounts } from '../../observe/traffic.js'
import type { ConnectionEnd, ConnectionOutcome } from '../../observe/connection-log.js'
import type { Clock } from '../../lib/clock.js'

const KEPT_DATAGRAMS = 8
/** One datagram of the largest size always fits. */
const KEPT_BYTES = 65_536
/** Datagrams that come this close together are one burst, and no repetition. */
const SILENT_MS = 300

export interface UdpSessionServices {
  readonly picker: EndpointPicker
  readonly clock: Clock
  readonly attempts: number
  readonly retryWithinMs: number
  /** Idle time-outs before and after the first reply. */
  readonly timeoutMs: number
  readonly streamTimeoutMs: number
  /** Opens a socket that is being connected to the endpoint. May throw. */
  readonly connect: (endpoint: Endpoint, connection: NewConnection) => Socket
}

export interface UdpSessionOwner {
  /** Sends a datagram of the endpoint to the client, from the VIP. */
  reply(datagram: Buffer): void
  /** The session has ended by itself. */
  ended(): void
}

interface Kept {
  readonly datagram: Buffer
  readonly sentAtMs: number
}

export class UdpSession {
  readonly connection: NewConnection
  readonly #services: UdpSessionServices
  readonly #counts: ServicePortCounts
  readonly #owner: UdpSessionOwner
  readonly #tried: Endpoint[] = []
  #endpoint: Endpoint | undefined
  #socket: Socket | undefined
  #isConnected = false
  #kept: Kept[] = []
  #keptBytes = 0
  #hasReply = false
  #lastUsedMs: number
  #countEnd: (() => void) | undefined
  #isClosed = false
  #attempts = 0
  #bytesToEndpoint = 0
  #bytesToClient = 0
  #lastEndpoint: string | undefined

  constructor(
    services: UdpSessionServices,
    connection: NewConnection,
    counts: ServicePortCounts,
    owner: UdpSessionOwner,
  ) {
    this.#services = services
    this.connection = connection
    this.#counts = counts
    this.#owner = owner
    this.#lastUsedMs = services.clock.nowMs()
  }

  get endpoint(): Endpoint | undefined {
    return this.#endpoint
  }

  /** What has become of it, for the connection log. */
  get summary(): ConnectionEnd & { readonly outcome: ConnectionOutcome } {
    const noEndpoint = this.#lastEndpoint === undefined
    const outcome = this.#hasReply ? 'answered' : noEndpoint ? 'no-endpoint' : 'unanswered'
    return {
      outcome,
      endpoint: this.#lastEndpoint,
      attempts: this.#attempts,
      bytesToEndpoint: this.#bytesToEndpoint,
      bytesToClient: this.#bytesToClient,
    }
  }

  /** Whether its idle time-out is over: nf_conntrack_udp_timeout, or _stream once it was answered. */
  isExpired(nowMs: number): boolean {
    const { timeoutMs, streamTimeoutMs } = this.#services
    return nowMs - this.#lastUsedMs >= (this.#hasReply ? streamTimeoutMs : timeoutMs)
  }

  /** A datagram from the client. */
  send(datagram: Buffer): void {
    if (this.#isClosed) return
    const nowMs = this.#services.clock.nowMs()
    this.#lastUsedMs = nowMs
    this.#bytesToEndpoint += datagram.length
    const isSilent = nowMs - (this.#kept[0]?.sentAtMs ?? nowMs) >= SILENT_MS
    this.#keep({ datagram, sentAtMs: nowMs })
    if (this.#socket === undefined) this.#open(this.#pick())
    else if (this.#isConnected) {
      if (!isSilent || !this.#leavesFailing()) this.#transmit(this.#socket, datagram)
    }
  }

  /** Goes on at another endpoint, where there is one, if this one is known to fail. */
  #leavesFailing(): boolean {
    const endpoint = this.#endpoint
    const { servicePortId } = this.connection
    if (endpoint === undefined || !this.#services.picker.isFailing(servicePortId, endpoint)) {
      return false
    }
    if (this.#tried.length === 0) this.#tried.push(endpoint)
    const next = this.#pick()
    if (next === undefined) return false
    this.#refused(endpoint, next)
    return true
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#kept = []
    this.#leaveEndpoint()
    this.#owner.ended()
  }

  /** An endpoint that was not tried yet; undefined when there is none, or no attempt is left. */
  #pick(): Endpoint | undefined {
    const { picker, attempts } = this.#services
    if (this.#tried.length >= attempts) return undefined
    const pick = picker.pick(this.connection, this.#tried)
    return pick.verdict === 'endpoint' ? pick.endpoint : undefined
  }

  /** Connects to the endpoint; what is kept goes out when that is done. */
  #open(endpoint: Endpoint | undefined): void {
    const { picker, connect } = this.#services
    if (endpoint === undefined) {
      this.#counts.failedConnections++
      this.close()
      return
    }
    this.#tried.push(endpoint)
    let socket: Socket
    try {
      socket = connect(endpoint, this.connection)
    } catch {
      // This host has no socket to spare (or no route): another endpoint would not help.
      this.#counts.failedConnections++
      this.close()
      return
    }
    this.#endpoint = endpoint
    this.#lastEndpoint = endpoint.id
    this.#attempts++
    picker.opened(this.connection.servicePortId, endpoint)
    this.#socket = socket
    this.#isConnected = false
    socket.once('connect', () => {
      if (this.#socket === socket) this.#opened(socket, endpoint)
    })
    socket.on('message', (datagram) => {
      if (this.#socket === socket) this.#replied(datagram)
    })
    socket.on('error', () => {
      if (this.#socket === socket) this.#refused(endpoint)
    })
  }

  #opened(socket: Socket, endpoint: Endpoint): void {
    this.#isConnected = true
    this.#countEnd = this.#counts.opened(endpoint.id)
    this.#services.picker.connected(this.connection, endpoint)
    for (const { datagram } of this.#kept) this.#transmit(socket, datagram)
  }

  #transmit(socket: Socket, datagram: Buffer): void {
    socket.send(datagram, (error) => {
      // ECONNREFUSED: the ICMP error that came for an earlier datagram, reported on this send.
      // ENOBUFS and the like: the datagram is lost, as on any full link.
      const isRefused = error !== null && 'code' in error && error.code === 'ECONNREFUSED'
      if (isRefused && this.#socket === socket && this.#endpoint !== undefined) {
        this.#refused(this.#endpoint)
      }
    })
  }

  #replied(datagram: Buffer): void {
    if (!this.#hasReply) this.#firstReply()
    this.#hasReply = true
    if (this.#endpoint !== undefined) {
      this.#services.picker.answered(this.connection, this.#endpoint)
    }
    this.#lastUsedMs = this.#services.clock.nowMs()
    this.#kept = []
    this.#keptBytes = 0
    this.#tried.length = 0
    this.#bytesToClient += datagram.length
    this.#owner.reply(datagram)
  }

  /** What is kept has waited for this answer: the oldest of it tells how long. */
  #firstReply(): void {
    const { picker, clock } = this.#services
    const sentAtMs = this.#kept[0]?.sentAtMs
    if (this.#endpoint === undefined || sentAtMs === undefined) return
    const latencyMs = clock.nowMs() - sentAtMs
    picker.latency(this.connection.servicePortId, this.#endpoint, latencyMs)
  }

  /** Nobody listens at the endpoint: what it has not answered goes to another one, `next` if given. */
  #refused(endpoint: Endpoint, next?: Endpoint): void {
    const { picker, clock, retryWithinMs } = this.#services
    this.#counts.endpoint(endpoint.id).connectFailures++
    picker.connectFailed(this.connection, endpoint)
    if (this.#tried.length === 0) this.#tried.push(endpoint)
    this.#leaveEndpoint()
    const since = clock.nowMs() - retryWithinMs
    this.#kept = this.#kept.filter(({ sentAtMs }) => sentAtMs >= since)
    this.#keptBytes = this.#kept.reduce((sum, { datagram }) => sum + datagram.length, 0)
    if (this.#kept.length === 0) {
      this.close() // The next datagram starts a session anew.
      return
    }
    this.#counts.retries++
    this.#open(next ?? this.#pick())
  }

  #leaveEndpoint(): void {
    const socket = this.#socket
    this.#socket = undefined
    if (socket !== undefined) {
      socket.on('error', ignore)
      socket.close()
      if (this.#endpoint !== undefined) {
        this.#services.picker.closed(this.connection.servicePortId, this.#endpoint)
      }
    }
    this.#countEnd?.()
    this.#countEnd = undefined
  }

  #keep(kept: Kept): void {
    this.#kept.push(kept)
    this.#keptBytes += kept.datagram.length
    while (
      this.#kept.length > KEPT_DATAGRAMS ||
      (this.#keptBytes > KEPT_BYTES && this.#kept.length > 1)
    ) {
      this.#keptBytes -= this.#kept.shift()?.datagram.length ?? 0
    }
  }
}

/** A socket that is being closed may still report the error that closed it. */
function ignore(): void {
  // nothing to do
}
