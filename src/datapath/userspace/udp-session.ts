/**
 * One UDP session: a client's address and port at one VIP, and the endpoint that serves it. The datagrams are
 * in the native relay (kernel/datagram-relay.ts); what is decided here is who gets them, and who next.
 *
 * What has no answer yet is kept there for a moment: when the endpoint's host answers "port unreachable",
 * it is sent to another endpoint, and the client does not notice. A host answers so once a second at
 * most, so that a datagram on trial may meet silence: when its client goes on and the endpoint is
 * still failing, everything unanswered goes to another endpoint.
 */
import type { DatagramEnd } from '../../kernel/datagram-relay.js'
import type { ConnectionOutcome, ConnectionRecord } from '../../observe/connection-log.js'
import type { ServicePortCounts } from '../../observe/traffic.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { EndpointPicker, NewConnection } from '../../policy/endpoint-picker.js'

export interface UdpSessionServices {
  readonly picker: EndpointPicker
  /** Endpoints tried for what a session has unanswered. */
  readonly attempts: number
  /** Has the relay connect the session; the number is the attempt. */
  connect(slot: number, endpoint: Endpoint, connection: NewConnection, attempt: number): void
  /** Has the relay end it. */
  stop(slot: number): void
}

export interface UdpClient {
  readonly connection: NewConnection
  readonly vipKey: string
  readonly record: ConnectionRecord | undefined
}

export class UdpSession {
  readonly connection: NewConnection
  readonly vipKey: string
  readonly #slot: number
  readonly #services: UdpSessionServices
  readonly #counts: ServicePortCounts
  readonly #record: ConnectionRecord | undefined
  readonly #tried: Endpoint[] = []
  #endpoint: Endpoint | undefined
  /** Of connects that were asked for. */
  #attempt = 0
  #connects = 0
  #lastEndpoint: string | undefined
  #countEnd: (() => void) | undefined
  #isOver = false

  constructor(
    slot: number,
    services: UdpSessionServices,
    counts: ServicePortCounts,
    { connection, vipKey, record }: UdpClient,
  ) {
    this.#slot = slot
    this.#services = services
    this.#counts = counts
    this.connection = connection
    this.vipKey = vipKey
    this.#record = record
  }

  get endpoint(): Endpoint | undefined {
    return this.#endpoint
  }

  /** It only waits for the relay to say that it has closed. */
  get isOver(): boolean {
    return this.#isOver
  }

  start(): void {
    this.#open(this.#pick())
  }

  connected(attempt: number): void {
    const endpoint = this.#current(attempt)
    if (endpoint === undefined) return
    this.#connects++
    this.#lastEndpoint = endpoint.id
    this.#countEnd = this.#counts.opened(endpoint.id)
  }

  answered(attempt: number, latencyMs: number | undefined): void {
    const endpoint = this.#current(attempt)
    if (endpoint === undefined) return
    const { picker } = this.#services
    if (latencyMs !== undefined) {
      picker.latency(this.connection.servicePortId, endpoint, latencyMs)
    }
    picker.answered(this.connection, endpoint)
    this.#tried.length = 0
  }

  /** Its client goes on: at another endpoint, where there is one, if this one is known to fail. */
  silent(attempt: number): void {
    const endpoint = this.#current(attempt)
    const { picker } = this.#services
    if (endpoint === undefined || !picker.isFailing(this.connection.servicePortId, endpoint)) return
    this.#hasTried(endpoint)
    const next = this.#pick()
    if (next === undefined) return
    this.#blame(endpoint)
    this.#retry(next)
  }

  /** Nobody listens at the endpoint: what it has not answered goes to another one, if anything is left. */
  refused(attempt: number, isOver: boolean): void {
    const endpoint = this.#current(attempt)
    if (endpoint === undefined) return
    this.#hasTried(endpoint)
    this.#blame(endpoint)
    if (!isOver) this.#retry(this.#pick())
  }

  /** Ends it; the client's next datagram begins anew. Idempotent. */
  stop(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#leaveEndpoint()
    this.#services.stop(this.#slot)
  }

  closed({ reason, hasReply, bytesToEndpoint, bytesToClient }: DatagramEnd): void {
    this.#isOver = true
    // This host had no socket to spare (or no route): another endpoint would not help.
    if (reason === 'failed') this.#counts.failedConnections++
    this.#leaveEndpoint()
    this.#record?.end(this.#outcome(hasReply), {
      endpoint: this.#lastEndpoint,
      attempts: this.#connects,
      bytesToEndpoint,
      bytesToClient,
    })
  }

  #outcome(hasReply: boolean): ConnectionOutcome {
    if (hasReply) return 'answered'
    return this.#lastEndpoint === undefined ? 'no-endpoint' : 'unanswered'
  }

  /** The endpoint, if that is what this attempt was about; undefined: it came too late. */
  #current(attempt: number): Endpoint | undefined {
    return attempt === this.#attempt ? this.#endpoint : undefined
  }

  #hasTried(endpoint: Endpoint): void {
    if (this.#tried.length === 0) this.#tried.push(endpoint)
  }

  /** An endpoint that was not tried yet; undefined when there is none, or no attempt is left. */
  #pick(): Endpoint | undefined {
    const { picker, attempts } = this.#services
    if (this.#tried.length >= attempts) return undefined
    const pick = picker.pick(this.connection, this.#tried)
    return pick.verdict === 'endpoint' ? pick.endpoint : undefined
  }

  #open(endpoint: Endpoint | undefined): void {
    if (endpoint === undefined) {
      this.#counts.failedConnections++
      this.stop()
      return
    }
    const { picker } = this.#services
    this.#tried.push(endpoint)
    this.#endpoint = endpoint
    picker.opened(this.connection.servicePortId, endpoint)
    // At once: a client's next session may be in the same batch.
    picker.connected(this.connection, endpoint)
    this.#services.connect(this.#slot, endpoint, this.connection, ++this.#attempt)
  }

  #retry(next: Endpoint | undefined): void {
    this.#counts.retries++
    this.#open(next)
  }

  #blame(endpoint: Endpoint): void {
    this.#counts.endpoint(endpoint.id).connectFailures++
    this.#services.picker.connectFailed(this.connection, endpoint)
    this.#leaveEndpoint()
  }

  #leaveEndpoint(): void {
    const endpoint = this.#endpoint
    this.#countEnd?.()
    this.#countEnd = undefined
    if (endpoint === undefined) return
    this.#endpoint = undefined
    this.#services.picker.closed(this.connection.servicePortId, endpoint)
  }
}
