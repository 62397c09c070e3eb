/**
 * The listeners behind `healthCheckNodePort` (kube-proxy pkg/proxy/healthcheck/service_health.go): a
 * load balancer asks whether this node has endpoints of a Service with externalTrafficPolicy Local.
 * One Service of one IP family is one group of listeners, one for each address; when one of them
 * cannot be bound, none is, and it is tried again at the next sync.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { messageOf } from '../lib/errors.js'
import { formatAddress, type IpFamily } from '../lib/ip-address.js'
import type { Snapshot } from '../model/snapshot.js'

/** Of each listener: a load balancer has few, and they ask one at a time. */
const MAX_CONNECTIONS = 64

export interface HealthCheckNodePortOptions {
  /** Addresses of the node that serve node ports; 'all' is one listener on the unspecified one. */
  readonly addresses: (family: IpFamily) => 'all' | readonly string[]
  /** Whether the proxy keeps up. */
  readonly isProxyHealthy: () => boolean
  /** The port of a Service cannot be bound; once for each reason. */
  readonly onFailure: (failure: ListenFailure) => void
}

export interface ListenFailure {
  readonly namespace: string
  readonly name: string
  readonly port: number
  readonly reason: string
}

interface Wanted {
  readonly namespace: string
  readonly name: string
  readonly family: IpFamily
  readonly port: number
  /** Addresses of local, ready endpoints: two ports of one Pod count once. */
  readonly localIps: Set<string>
}

interface Group {
  readonly where: string
  readonly servers: readonly Server[]
  readonly answer: { wanted: Wanted }
}

export class HealthCheckNodePorts {
  readonly #options: HealthCheckNodePortOptions
  readonly #groups = new Map<string, Group>()
  readonly #failures = new Map<string, string>()
  #work: Promise<void> = Promise.resolve()

  constructor(options: HealthCheckNodePortOptions) {
    this.#options = options
  }

  /** Brings the listeners to a Snapshot that is in force; one call after the other. Never rejects. */
  sync(snapshot: Snapshot): Promise<void> {
    this.#work = this.#work.then(() => this.#apply(wantedOf(snapshot)))
    return this.#work
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#work = this.#work.then(() => this.#apply(new Map()))
    await this.#work
  }

  async #apply(wanted: ReadonlyMap<string, Wanted>): Promise<void> {
    for (const [key, group] of this.#groups) {
      const next = wanted.get(key)
      if (next !== undefined && this.#where(next).join() === group.where) {
        group.answer.wanted = next
        continue
      }
      this.#groups.delete(key)
      await closeAll(group.servers)
    }
    for (const key of this.#failures.keys()) if (!wanted.has(key)) this.#failures.delete(key)
    for (const [key, next] of wanted) if (!this.#groups.has(key)) await this.#open(key, next)
  }

  async #open(key: string, wanted: Wanted): Promise<void> {
    const answer = { wanted }
    const servers: Server[] = []
    try {
      for (const address of this.#addresses(wanted)) {
        const server = this.#server(answer)
        servers.push(server)
        server.listen({ host: address, port: wanted.port, ipv6Only: wanted.family === 'IPv6' })
        await once(server, 'listening')
      }
      this.#groups.set(key, { where: this.#where(wanted).join(), servers, answer })
      this.#failures.delete(key)
    } catch (error) {
      await closeAll(servers)
      const reason = messageOf(error)
      if (this.#failures.get(key) === reason) return
      this.#failures.set(key, reason)
      const { namespace, name, port } = wanted
      this.#options.onFailure({ namespace, name, port, reason })
    }
  }

  #addresses({ family }: Wanted): readonly string[] {
    const addresses = this.#options.addresses(family)
    return addresses === 'all' ? [family === 'IPv4' ? '0.0.0.0' : '::'] : addresses
  }

  #where(wanted: Wanted): string[] {
    return this.#addresses(wanted).map((address) => formatAddress(address, wanted.port))
  }

  /** Any path and any method are answered alike. */
  #server(answer: { readonly wanted: Wanted }): Server {
    const server = createServer((_request, response) => {
      const { namespace, name, localIps } = answer.wanted
      const isHealthy = this.#options.isProxyHealthy()
      const body = healthBody({ namespace, name, localEndpoints: localIps.size, isHealthy })
      response.writeHead(localIps.size > 0 && isHealthy ? 200 : 503, {
        'Content-Type': 'application/json',
        'X-Content-Type-Options': 'nosniff',
        'X-Load-Balancing-Endpoint-Weight': String(localIps.size),
        'Content-Length': Buffer.byteLength(body),
      })
      response.end(body)
    })
    server.maxConnections = MAX_CONNECTIONS
    return server
  }
}

/** The body as kube-proxy prints it: tabs, and no line feed at the end. Names have nothing to escape. */
export function healthBody(parts: {
  readonly namespace: string
  readonly name: string
  readonly localEndpoints: number
  readonly isHealthy: boolean
}): string {
  return [
    '{',
    '\t"service": {',
    `\t\t"namespace": ${JSON.stringify(parts.namespace)},`,
    `\t\t"name": ${JSON.stringify(parts.name)}`,
    '\t},',
    `\t"localEndpoints": ${parts.localEndpoints},`,
    `\t"serviceProxyHealthy": ${parts.isHealthy}`,
    '}',
  ].join('\n')
}

/** By namespace/name and family. */
function wantedOf(snapshot: Snapshot): ReadonlyMap<string, Wanted> {
  const wanted = new Map<string, Wanted>()
  for (const { servicePort, endpoints } of snapshot.servicePorts.values()) {
    const { namespace, name, ipFamily: family, healthCheckNodePort: port } = servicePort
    if (port === undefined) continue
    const key = `${namespace}/${name} ${family}`
    const found = wanted.get(key) ?? { namespace, name, family, port, localIps: new Set<string>() }
    wanted.set(key, found)
    for (const { ip, isLocal, isReady } of endpoints) if (isLocal && isReady) found.localIps.add(ip)
  }
  return wanted
}

async function closeAll(servers: readonly Server[]): Promise<void> {
  await Promise.all(
    servers.map(async (server) => {
      if (!server.listening) return
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    }),
  )
}
