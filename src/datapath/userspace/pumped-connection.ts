/** One connection in the pump, from the moment when it was accepted to its end. */
import type { Endpoint } from '../../model/endpoint.js'
import type { PumpEnd } from '../../kernel/connection-pump.js'
import type { ConnectionRecord } from '../../observe/connection-log.js'
import type { ServicePortCounts } from '../../observe/traffic.js'
import type { NewConnection } from '../../policy/endpoint-picker.js'
import {
  EndpointConnect,
  type ConnectServices,
  type Dialer,
  type DialTimes,
} from './endpoint-connect.js'

/** What the connection asks of the pump. */
export interface PumpedServices {
  readonly connect: ConnectServices
  /** Starts a connect. */
  dial(slot: number, endpoint: Endpoint, connection: NewConnection, times: DialTimes): void
  /** The silent connect gets the time that is left. */
  wait(slot: number): void
  reset(slot: number): void
}

export interface PumpedClient {
  readonly connection: NewConnection
  readonly vipAddress: string
  readonly record: ConnectionRecord | undefined
}

export class PumpedConnection implements Dialer {
  readonly hearsFirstByte = true
  readonly vipAddress: string
  readonly connection: NewConnection
  readonly #slot: number
  readonly #services: PumpedServices
  readonly #counts: ServicePortCounts
  readonly #connect: EndpointConnect
  /** undefined while one is being looked for. */
  #endpoint: Endpoint | undefined
  #countEnd: (() => void) | undefined
  #isOver = false
  #hasEndpoint = true
  readonly #record: ConnectionRecord | undefined

  constructor(
    slot: number,
    services: PumpedServices,
    counts: ServicePortCounts,
    { connection, vipAddress, record }: PumpedClient,
  ) {
    this.#slot = slot
    this.#services = services
    this.#counts = counts
    this.connection = connection
    this.vipAddress = vipAddress
    this.#record = record
    this.#connect = new EndpointConnect(services.connect, connection, counts, this)
  }

  get endpointId(): string | undefined {
    return this.#endpoint?.id
  }

  /** @param picked where its first connect is under way; undefined: it has none yet */
  start(picked: Endpoint | undefined): void {
    if (picked === undefined) this.#connect.start()
    else this.#connect.startedAt(picked)
  }

  connected(connectMs: number): void {
    this.#connect.connected(connectMs)
  }

  failed(errnoName: string): void {
    // Reset meanwhile: what is left is its end.
    if (!this.#isOver) this.#connect.failed(errnoName)
  }

  silent(): void {
    if (!this.#isOver) this.#connect.silent()
  }

  /** The endpoint's first byte has come, after it was waited for. */
  spoke(): void {
    const { picker } = this.#services.connect
    if (this.#endpoint !== undefined) picker.spoke(this.connection, this.#endpoint)
  }

  /** It has not come in time; the connection goes on. */
  mute(): void {
    const { picker } = this.#services.connect
    if (this.#endpoint !== undefined) picker.wasMute(this.connection, this.#endpoint)
  }

  /** The endpoint reset it before a byte went either way. */
  returned(): void {
    const endpoint = this.#endpoint
    this.#leaveEndpoint()
    if (!this.#isOver && endpoint !== undefined) this.#connect.again(endpoint)
  }

  reset(): void {
    this.#isOver = true
    this.#services.reset(this.#slot)
  }

  closed(end: PumpEnd, bytesToEndpoint: number, bytesToClient: number): void {
    this.#isOver = true
    this.#connect.cancel()
    this.#record?.end(this.#hasEndpoint ? end : 'no-endpoint', {
      endpoint: this.endpointId,
      attempts: this.#connect.attempts,
      bytesToEndpoint,
      bytesToClient,
    })
    this.#leaveEndpoint()
  }

  dial(endpoint: Endpoint, times: DialTimes): void {
    this.#services.dial(this.#slot, endpoint, this.connection, times)
  }

  keepOn(): void {
    this.#services.wait(this.#slot)
  }

  hangUp(): void {
    // The pump has only one connect at a time, and ends it when it tells.
  }

  done(endpoint: Endpoint | undefined): void {
    if (endpoint === undefined) {
      this.#counts.failedConnections++
      this.#hasEndpoint = false
      this.reset()
      return
    }
    this.#endpoint = endpoint
    this.#countEnd = this.#counts.opened(endpoint.id)
  }

  #leaveEndpoint(): void {
    const endpoint = this.#endpoint
    if (endpoint === undefined) return
    this.#endpoint = undefined
    this.#countEnd?.()
    this.#services.connect.picker.closed(this.connection.servicePortId, endpoint)
  }
}
