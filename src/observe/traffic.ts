/**
 * Counts of connections, per Service port and endpoint, as the datapath reports them. A TCP
 * connection and a UDP session count alike. Counts of a Service port or endpoint that has gone stay
 * until its last connection has ended and a sync has passed, then they are dropped: the table is
 * never larger than what exists plus what still drains.
 */
import type { Snapshot } from '../model/snapshot.js'

export interface EndpointCounts {
  activeConnections: number
  totalConnections: number
  connectFailures: number
}

export class ServicePortCounts {
  activeConnections = 0
  totalConnections = 0
  /** Connections that no endpoint could serve. */
  failedConnections = 0
  retries = 0
  readonly endpoints = new Map<string, EndpointCounts>()

  endpoint(id: string): EndpointCounts {
    let counts = this.endpoints.get(id)
    if (counts === undefined) {
      counts = { activeConnections: 0, totalConnections: 0, connectFailures: 0 }
      this.endpoints.set(id, counts)
    }
    return counts
  }

  /** A connection to the endpoint is open; the function that is returned says that it has ended. */
  opened(endpointId: string): () => void {
    const counts = this.endpoint(endpointId)
    this.activeConnections++
    this.totalConnections++
    counts.activeConnections++
    counts.totalConnections++
    let isOpen = true
    return () => {
      if (!isOpen) return
      isOpen = false
      this.activeConnections--
      counts.activeConnections--
    }
  }
}

/** Datagrams that were relayed, and those that were not, by reason. */
export interface DatagramCounts {
  readonly toEndpoint: number
  readonly toClient: number
  readonly dropped: Readonly<Record<string, number>>
}

/** What the native thread that relays TCP has counted. */
export interface PumpCounts {
  /** Moved inside the kernel. */
  readonly bytesSpliced: number
  readonly bytesCopied: number
  /** That exist. */
  readonly pipes: number
  /** Times that it woke the main thread. */
  readonly handOvers: number
  /** Connections that had their endpoint ahead. */
  readonly picksUsed: number
}

export interface TrafficTotals {
  activeConnections: number
  totalConnections: number
  failedConnections: number
  retries: number
}

export class Traffic {
  readonly #ports = new Map<string, ServicePortCounts>()
  /** What dropped Service ports had counted: totals never go down. */
  readonly #dropped: TrafficTotals = newTotals()
  /** Connections turned away because the relay was full. */
  rejectedByLimit = 0

  servicePort(id: string): ServicePortCounts {
    let counts = this.#ports.get(id)
    if (counts === undefined) {
      counts = new ServicePortCounts()
      this.#ports.set(id, counts)
    }
    return counts
  }

  /** The same for reading: nothing is kept for a Service port that has not counted anything. */
  read(id: string): Readonly<ServicePortCounts> {
    return this.#ports.get(id) ?? NOTHING
  }

  totals(): TrafficTotals {
    const totals = { ...this.#dropped }
    for (const counts of this.#ports.values()) add(totals, counts)
    return totals
  }

  /** Drops the counts of what is neither in the Snapshot nor still in use. */
  prune(snapshot: Snapshot): void {
    for (const [id, counts] of this.#ports) {
      const state = snapshot.servicePorts.get(id)
      if (state === undefined && counts.activeConnections === 0) {
        add(this.#dropped, counts)
        this.#ports.delete(id)
        continue
      }
      const known = new Set(state?.endpoints.map((endpoint) => endpoint.id))
      for (const [endpointId, endpoint] of counts.endpoints) {
        if (!known.has(endpointId) && endpoint.activeConnections === 0) {
          counts.endpoints.delete(endpointId)
        }
      }
    }
  }
}

const NOTHING: Readonly<ServicePortCounts> = new ServicePortCounts()

function newTotals(): TrafficTotals {
  return { activeConnections: 0, totalConnections: 0, failedConnections: 0, retries: 0 }
}

function add(totals: TrafficTotals, counts: TrafficTotals): void {
  totals.activeConnections += counts.activeConnections
  totals.totalConnections += counts.totalConnections
  totals.failedConnections += counts.failedConnections
  totals.retries += counts.retries
}
