/**
 * How many connections are open to each endpoint of each Service port. Counts outlive the endpoint
 * and the Service port in the Snapshot: what comes back still has the connections that it had, and a
 * balancer that is made anew starts from them. Nothing is kept of what has none.
 */
import type { Endpoint } from '../model/endpoint.js'

export interface OpenCounts {
  of(servicePortId: string, endpoint: Endpoint): number
}

export class OpenConnections implements OpenCounts {
  readonly #ports = new Map<string, Map<string, number>>()

  of(servicePortId: string, { id }: Pick<Endpoint, 'id'>): number {
    return this.#ports.get(servicePortId)?.get(id) ?? 0
  }

  opened(servicePortId: string, endpointId: string): void {
    let counts = this.#ports.get(servicePortId)
    if (counts === undefined) {
      counts = new Map()
      this.#ports.set(servicePortId, counts)
    }
    counts.set(endpointId, (counts.get(endpointId) ?? 0) + 1)
  }

  /** One that was opened has ended; others are nothing to it. */
  closed(servicePortId: string, endpointId: string): void {
    const counts = this.#ports.get(servicePortId)
    const count = counts?.get(endpointId)
    if (counts === undefined || count === undefined) return
    if (count > 1) counts.set(endpointId, count - 1)
    else counts.delete(endpointId)
    if (counts.size === 0) this.#ports.delete(servicePortId)
  }
}
