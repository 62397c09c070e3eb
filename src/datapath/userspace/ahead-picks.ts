/**
 * Endpoints picked ahead: where it does not matter which client comes, the pump has the endpoints of
 * the next connections of a listener, and connects each at once instead of waking this thread first. As
 * many as it has used lately; what has been said of an endpoint that has changed since is taken back.
 *
 * Picks are used in their order, and told in the same, so that a queue on this side knows each.
 * Bounds: MOST for a listener; all together no more than connections are allowed.
 */
import type { Pump, PumpTarget } from '../../kernel/connection-pump.js'
import type { Endpoint } from '../../model/endpoint.js'
import type { ServicePortState } from '../../model/snapshot.js'
import type { EndpointPicker, NewConnection } from '../../policy/endpoint-picker.js'

export interface AheadPicksOptions {
  readonly pump: Pick<Pump, 'pick' | 'unpick'>
  readonly picker: Pick<EndpointPicker, 'pickAhead' | 'stateOf'>
  readonly targetOf: (servicePortId: string, endpoint: Endpoint) => PumpTarget
  /** How many may be given out now. */
  readonly room: () => number
}

/** Of one listener. */
interface Queue {
  servicePortId: string
  readonly endpoints: Endpoint[]
  /** As it was when they were picked. */
  state: ServicePortState | undefined
  /** Connections since it was filled last. */
  used: number
}

/** For a listener: at least, and at most. */
const LEAST = 8
const MOST = 512
/** Of what was used between two refills: half of it is left when the next is asked for. */
const AHEAD = 4

export class AheadPicks {
  readonly #options: AheadPicksOptions
  /** By listener. */
  readonly #queues = new Map<number, Queue>()
  /** Those that have been used since they were filled, with a connection of each. */
  readonly #used = new Map<number, NewConnection>()
  #size = 0

  constructor(options: AheadPicksOptions) {
    this.#options = options
  }

  /** Picks that no connection is known for yet. */
  get size(): number {
    return this.#size
  }

  /**
   * The endpoint that a connection was given to. Undefined: the listener has gone, or serves another Service
   * port since then.
   */
  take(listener: number, servicePortId: string | undefined): Endpoint | undefined {
    const queue = this.#queues.get(listener)
    const endpoint = queue?.endpoints.shift()
    if (endpoint !== undefined) this.#size--
    return queue?.servicePortId === servicePortId ? endpoint : undefined
  }

  /** A connection came by a listener that serves this Service port alone. */
  came(listener: number, connection: NewConnection): void {
    const queue = this.#queues.get(listener)
    if (queue !== undefined) queue.used++
    this.#used.set(listener, connection)
  }

  /** Fills up what was used. To be called when a batch of connections has been seen to. */
  refill(): void {
    for (const [listener, connection] of this.#used) this.#fill(listener, connection)
    this.#used.clear()
  }

  /** Takes back the picks of Service ports that are no longer as they were. */
  forgetChanged(): void {
    const { picker } = this.#options
    this.#forget(({ servicePortId, state }) => picker.stateOf(servicePortId) !== state)
  }

  forgetPort(servicePortId: string): void {
    this.#forget((queue) => queue.servicePortId === servicePortId)
  }

  forgetAll(): void {
    this.#forget(() => true)
  }

  /** The listener has been closed, and what it had with it. */
  closed(listener: number): void {
    this.#size -= this.#queues.get(listener)?.endpoints.length ?? 0
    this.#queues.delete(listener)
    this.#used.delete(listener)
  }

  #forget(isMeant: (queue: Queue) => boolean): void {
    for (const [listener, queue] of this.#queues) {
      if (queue.endpoints.length === 0 || !isMeant(queue)) continue
      // Those before them are used: their connections are on their way here.
      const left = this.#options.pump.unpick(listener)
      queue.endpoints.length -= left
      this.#size -= left
    }
  }

  #fill(listener: number, connection: NewConnection): void {
    const { pump, picker, targetOf, room } = this.#options
    const { servicePortId } = connection
    const queue = this.#queueOf(listener, servicePortId)
    if (queue === undefined) return
    const wanted = Math.min(MOST, Math.max(LEAST, queue.used * AHEAD)) - queue.endpoints.length
    queue.used = 0
    const count = Math.min(wanted, room())
    const targets: PumpTarget[] = []
    while (targets.length < count) {
      const endpoint = picker.pickAhead(connection)
      if (endpoint === undefined) break
      targets.push(targetOf(servicePortId, endpoint))
      queue.endpoints.push(endpoint)
    }
    queue.state = picker.stateOf(servicePortId)
    if (targets.length === 0) return
    this.#size += targets.length
    pump.pick(listener, targets)
  }

  /** Undefined: it is another Service port's still. */
  #queueOf(listener: number, servicePortId: string): Queue | undefined {
    let queue = this.#queues.get(listener)
    if (queue === undefined) {
      queue = { servicePortId, endpoints: [], state: undefined, used: 1 }
      this.#queues.set(listener, queue)
    }
    if (queue.servicePortId === servicePortId) return queue
    this.forgetPort(queue.servicePortId)
    if (queue.endpoints.length > 0) return undefined
    queue.servicePortId = servicePortId
    return queue
  }
}
