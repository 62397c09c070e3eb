/**
 * ClientIP session affinity: which endpoint a client of a Service port was sent to last.
 *
 * The key is the client's address alone, per Service port and shared by all of its VIPs; the
 * time-out runs from the last *new* connection, not from traffic (as kube-proxy's iptables mode:
 * `recent --rcheck --seconds N --reap`, then `--set`). Bounded: beyond `maxClients` the client
 * that was seen longest ago is forgotten.
 */
import { LRUCache } from 'lru-cache'

interface AffinityEntry {
  endpointId: string
  lastUsedMs: number
  timeoutMs: number
}

export class AffinityTable {
  readonly #clients: LRUCache<string, AffinityEntry>
  #evictions = 0

  constructor(options: { readonly maxClients: number }) {
    this.#clients = new LRUCache({
      max: options.maxClients,
      dispose: (_entry, _key, reason) => {
        if (reason === 'evict') this.#evictions++
      },
    })
  }

  /** Clients remembered, expired ones included until the next sweep. */
  get size(): number {
    return this.#clients.size
  }

  /** Clients forgotten because the table was full: a sign that maxClients is too small. */
  get evictions(): number {
    return this.#evictions
  }

  /** Id of the endpoint that the client belongs to, or undefined when it has none (any more). */
  find(servicePortId: string, clientIp: string, now: AffinityTime): string | undefined {
    const entry = this.#clients.get(keyOf(servicePortId, clientIp))
    // The time-out of the Service as it is now counts, also for clients pinned before it changed.
    if (entry === undefined || now.nowMs - entry.lastUsedMs >= now.timeoutMs) return undefined
    return entry.endpointId
  }

  /** The same without using it, and how long it will hold; for people. */
  peek(servicePortId: string, clientIp: string, now: AffinityTime): Pin | undefined {
    const entry = this.#clients.peek(keyOf(servicePortId, clientIp))
    const leftMs = entry === undefined ? 0 : entry.lastUsedMs + now.timeoutMs - now.nowMs
    return entry === undefined || leftMs <= 0 ? undefined : { endpointId: entry.endpointId, leftMs }
  }

  /** Pins the client to the endpoint, from now on. */
  pin(client: AffinityClient, endpointId: string, now: AffinityTime): void {
    const key = keyOf(client.servicePortId, client.clientIp)
    const entry = this.#clients.get(key)
    if (entry === undefined) {
      this.#clients.set(key, { endpointId, lastUsedMs: now.nowMs, timeoutMs: now.timeoutMs })
      return
    }
    entry.endpointId = endpointId
    entry.lastUsedMs = now.nowMs
    entry.timeoutMs = now.timeoutMs
  }

  /** Unpins the client: its endpoint did not answer. */
  forget(servicePortId: string, clientIp: string): void {
    this.#clients.delete(keyOf(servicePortId, clientIp))
  }

  /** Drops expired clients, so that `size` is what is in force. O(n); once per sync period. */
  sweep(nowMs: number): void {
    for (const [key, entry] of this.#clients.entries()) {
      if (nowMs - entry.lastUsedMs >= entry.timeoutMs) this.#clients.delete(key)
    }
  }
}

export interface Pin {
  readonly endpointId: string
  /** Unless it connects again. */
  readonly leftMs: number
}

export interface AffinityClient {
  readonly servicePortId: string
  readonly clientIp: string
}

export interface AffinityTime {
  readonly nowMs: number
  readonly timeoutMs: number
}

function keyOf(servicePortId: string, clientIp: string): string {
  return `${servicePortId} ${clientIp}`
}
