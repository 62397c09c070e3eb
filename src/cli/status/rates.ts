/** New connections a second, from one status to the next. Keeps the totals of one status. */
import type { EndpointStatus, ProxyStatus, ServicePortStatus } from '../../observe/status.js'

type Named = Pick<ServicePortStatus, 'name' | 'protocol' | 'ipFamily'>

export class Rates {
  #atMs = 0
  #totals = new Map<string, number>()
  #rates = new Map<string, number>()
  #startedAt = ''
  /** Of all; undefined before the second status. */
  all: number | undefined

  /** Takes the next status in. `nowMs` is monotonic. */
  add({ services, totals, startedAt }: ProxyStatus, nowMs: number): void {
    const seconds = (nowMs - this.#atMs) / 1000
    const isFirst = this.#startedAt !== startedAt || seconds <= 0
    const before = this.#totals
    const next = new Map<string, number>([['', totals.totalConnections]])
    for (const service of services) {
      next.set(keyOf(service), service.totalConnections)
      for (const endpoint of service.endpoints) {
        next.set(keyOf(service, endpoint), endpoint.totalConnections)
      }
    }
    this.#rates = new Map()
    for (const [key, total] of isFirst ? [] : next) {
      const change = total - (before.get(key) ?? total)
      if (change > 0) this.#rates.set(key, change / seconds)
    }
    this.all = isFirst ? undefined : (this.#rates.get('') ?? 0)
    this.#totals = next
    this.#startedAt = startedAt
    this.#atMs = nowMs
  }

  /** Of a Service port or one of its endpoints; undefined before the second status. */
  of(service: Named, endpoint?: Pick<EndpointStatus, 'address'>): number | undefined {
    return this.all === undefined ? undefined : (this.#rates.get(keyOf(service, endpoint)) ?? 0)
  }
}

function keyOf(
  { name, protocol, ipFamily }: Named,
  endpoint?: Pick<EndpointStatus, 'address'>,
): string {
  return `${name} ${protocol} ${ipFamily} ${endpoint?.address ?? ''}`
}
