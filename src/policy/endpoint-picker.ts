/**
 * Answers "where does this new connection go?" for every datapath that decides per connection:
 * traffic policy first, then session affinity, then the Service port's balancer, which passes over
 * endpoints that did not answer lately while there are others.
 *
 * It is told of every Snapshot and keeps one balancer for each set of endpoints (cluster-wide,
 * local) of each Service port; a Service port that did not change keeps its balancers untouched.
 */
import { hashText } from '../lib/hash.js'
import type { Endpoint } from '../model/endpoint.js'
import { sameValue } from '../model/share-structure.js'
import type { ServicePortState, Snapshot } from '../model/snapshot.js'
import { scopeOf, selectEndpoints, type SourceKind, type VipKind } from '../model/vip.js'
import type { AffinityTable, Pin } from './affinity.js'
import type { Balancer, EndpointStates, PickContext } from './balancer/balancer.js'
import { createBalancer } from './balancer/registry.js'
import {
  BALANCER_DEFAULTS,
  readBalancerSettings,
  type BalancerDefaults,
  type BalancerSettings,
} from './balancer/settings.js'
import {
  EJECTION_DEFAULTS,
  OutlierEjection,
  type EjectionOptions,
} from './health/outlier-ejection.js'
import { ConnectPatience } from './health/connect-patience.js'
import { FirstBytes, firstByteTimeout } from './health/first-byte.js'
import { OpenConnections, type OpenCounts } from './open-connections.js'
import { SlowStart } from './slow-start.js'

/** A new connection, as far as the choice of an endpoint goes. */
export interface NewConnection {
  readonly servicePortId: string
  readonly kind: VipKind
  readonly source: SourceKind
  readonly clientIp: string
  readonly clientPort: number
  /** As PickContext has it. */
  hashClientIp?(seed: number): number
}

/**
 * `endpoint`: go there, and tell how it went: `opened` and `closed` once each, between them what is
 * known. `reject` and `drop` as the traffic policy says. `exhausted`: every endpoint has been tried.
 */
export type Pick =
  | { readonly verdict: 'endpoint'; readonly endpoint: Endpoint }
  | { readonly verdict: 'reject' | 'drop' | 'exhausted' }

/** What is known of a pick beforehand: for people. */
export interface Foreseen {
  /** Where session affinity has the client. */
  readonly pinned: Pin | undefined
  /** Where the balancer sends it, if that hangs on the client alone. */
  readonly pick: string | undefined
  /** Endpoints that are passed over, and how long until a connection tries them. */
  readonly ejected: readonly { readonly endpointId: string; readonly leftMs: number }[]
}

export interface EndpointPickerOptions {
  readonly affinity: AffinityTable
  readonly clock: { nowMs(): number }
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** The same into the first place of an array, instead: for who wants no number on the heap. */
  readonly fillRandom?: (into: Float64Array) => void
  /** For Services whose annotations say nothing; round robin when it is absent. */
  readonly balancers?: BalancerDefaults
  /** Makes the balancers that a user has written. */
  readonly plugin?: { readonly create: () => Balancer } | undefined
  /** Of endpoints that do not take connections. */
  readonly ejection?: EjectionOptions
  /** An endpoint was ejected, or is back. */
  readonly onEjection?: (servicePortId: string, endpoint: Endpoint, isEjected: boolean) => void
  /** Where open connections are counted; undefined: here, by `opened` and `closed`. */
  readonly openCounts?: OpenCounts
}

interface Entry {
  state: ServicePortState
  settings: BalancerSettings
  cluster: Balancer
  local: Balancer
  failing: OutlierEjection
  patience: ConnectPatience
  firstBytes: FirstBytes
  isEjecting: boolean
  readonly slowStart: SlowStart
  /** What its balancers are told of endpoints. */
  readonly states: EndpointStates
}

/** The pick at hand, for balancers: one object for all. Numbers are in arrays, or V8 puts them on the heap. */
class CurrentPick implements PickContext {
  connection: NewConnection | undefined
  readonly drawn = new Float64Array(1)
  readonly time = new Float64Array(1)

  get random(): number {
    return this.drawn[0] ?? 0
  }

  get nowMs(): number {
    return this.time[0] ?? 0
  }

  hashClientIp(seed: number): number {
    const { connection } = this
    return connection?.hashClientIp?.(seed) ?? hashText(this.clientIp, seed) | 0
  }

  get clientIp(): string {
    return this.connection?.clientIp ?? ''
  }

  get clientPort(): number {
    return this.connection?.clientPort ?? 0
  }
}

const NO_ENDPOINT = {
  reject: { verdict: 'reject' },
  drop: { verdict: 'drop' },
  exhausted: { verdict: 'exhausted' },
} as const satisfies Record<string, Pick>

export class EndpointPicker {
  readonly #options: EndpointPickerOptions
  readonly #entries = new Map<string, Entry>()
  /** The one that was asked for last: a connection asks several times. */
  #lastId = ''
  #lastEntry: Entry | undefined
  /** Undefined when somebody else counts. */
  readonly #open: OpenConnections | undefined
  readonly #openCounts: OpenCounts
  readonly #context = new CurrentPick()

  constructor(options: EndpointPickerOptions) {
    this.#options = options
    this.#open = options.openCounts === undefined ? new OpenConnections() : undefined
    this.#openCounts = options.openCounts ?? this.#open ?? { of: () => 0 }
  }

  /** Goes over to a Snapshot; from the next pick on only its endpoints are chosen. */
  update(snapshot: Snapshot): void {
    for (const id of this.#entries.keys()) {
      if (!snapshot.servicePorts.has(id)) this.remove(id)
    }
    for (const [id, state] of snapshot.servicePorts) this.set(id, state)
  }

  /** Goes over to a new state of one Service port. */
  set(id: string, state: ServicePortState): void {
    this.#updatePort(id, state)
  }

  /** The defaults in the options have changed: what Services leave open is settled anew. */
  reconfigure(): void {
    for (const entry of this.#entries.values()) {
      this.#readSettings(entry, entry.state)
      this.#setEndpoints(entry)
    }
  }

  /** The plug-in makes other balancers from now on: they take over, with the connections that are open. */
  renewPlugin(): void {
    for (const entry of this.#entries.values()) {
      if (entry.settings.name !== 'plugin') continue
      entry.cluster = createBalancer(entry.settings, this.#options.plugin)
      entry.local = createBalancer(entry.settings, this.#options.plugin)
      this.#tellBalancers(entry)
    }
  }

  /** The Service port has gone. */
  remove(id: string): void {
    this.#entries.delete(id)
    this.#lastEntry = undefined
  }

  /** Whether the endpoint did not answer lately and is only tried. */
  isFailing(servicePortId: string, endpoint: Endpoint): boolean {
    return this.#entry(servicePortId)?.failing.has(endpoint) === true
  }

  /**
   * How long the endpoint may take to answer a connect before it counts as silent; undefined: nothing is
   * known of it, or it is on trial and gets all the time that there is.
   */
  patienceMs(servicePortId: string, endpoint: Endpoint): number | undefined {
    const entry = this.#entry(servicePortId)
    if (entry === undefined || entry.failing.has(endpoint)) return undefined
    return entry.patience.of(endpoint)
  }

  /** How long an endpoint may take to its first byte; 0: whatever it takes. */
  firstByteMs(servicePortId: string): number {
    return this.#entry(servicePortId)?.firstBytes.timeoutMs ?? 0
  }

  /** The Service port as the picker sees it now; undefined when it has gone. */
  stateOf(servicePortId: string): ServicePortState | undefined {
    return this.#entry(servicePortId)?.state
  }

  /** Name of the balancer of a Service port, for people. */
  balancerOf(servicePortId: string): string | undefined {
    return this.#entry(servicePortId)?.cluster.name
  }

  /** The endpoint for a new connection, or for the next try of one that `tried` did not serve. */
  pick(connection: NewConnection, tried: readonly Endpoint[]): Pick {
    const endpoint = this.choose(connection, tried)
    return typeof endpoint === 'string' ? NO_ENDPOINT[endpoint] : { verdict: 'endpoint', endpoint }
  }

  /** The same, without an object for the answer. */
  choose(
    connection: NewConnection,
    tried: readonly Endpoint[],
  ): Endpoint | keyof typeof NO_ENDPOINT {
    const entry = this.#entry(connection.servicePortId)
    if (entry?.state.hasAny !== true) return 'reject'
    const scope = scopeOf(entry.state.servicePort, connection.kind, connection.source)
    const endpoints = entry.state[scope]
    if (endpoints.length === 0) return 'drop'

    const balancer = entry[scope]
    const context = this.#context
    context.connection = connection
    const { clock, random, fillRandom } = this.#options
    context.time[0] = clock.nowMs()
    if (fillRandom === undefined) context.drawn[0] = random()
    else fillRandom(context.drawn)
    const { slowStart, failing } = entry
    if (slowStart.isWarming && slowStart.isDue(context.nowMs)) this.#tellBalancers(entry)
    if (entry.state.servicePort.affinityTimeoutSeconds !== undefined) {
      const pinned = this.#pinned(entry.state, connection, context.nowMs)
      const endpoint = pinned === undefined ? undefined : findUntried(endpoints, pinned, tried)
      if (endpoint !== undefined) return endpoint
    }
    if (failing.isEjecting) {
      const avoided = failing.toAvoid(endpoints.length, context.nowMs)
      const picked = avoided.length > 0 && balancer.pick(context, [...tried, ...avoided])
      if (picked) return picked
    }
    return balancer.pick(context, tried) ?? 'exhausted'
  }

  /**
   * The endpoint of a connection that is yet to come, whoever its client will be: as good a pick as one
   * made when it comes, until the Service port changes or an endpoint fails. Undefined: the client or the
   * moment matters.
   */
  pickAhead(connection: NewConnection): Endpoint | undefined {
    const entry = this.#entry(connection.servicePortId)
    if (entry === undefined || !canPickAhead(entry, connection.kind)) return undefined
    const endpoint = this.choose(connection, [])
    return typeof endpoint === 'string' ? undefined : endpoint
  }

  /** What is known of a connection's pick beforehand; asking changes nothing. */
  foresee(connection: NewConnection): Foreseen {
    const entry = this.#entry(connection.servicePortId)
    if (entry === undefined) return { pinned: undefined, pick: undefined, ejected: [] }
    const nowMs = this.#options.clock.nowMs()
    const timeoutSeconds = entry.state.servicePort.affinityTimeoutSeconds
    const { affinity } = this.#options
    const { servicePortId, clientIp } = connection
    const pinned =
      timeoutSeconds === undefined
        ? undefined
        : affinity.peek(servicePortId, clientIp, { nowMs, timeoutMs: timeoutSeconds * 1000 })
    const ejected = entry.failing.ejected(nowMs)
    return { pinned, pick: this.#foreseenPick(entry, connection, nowMs), ejected }
  }

  /** The connection was given to the endpoint: it counts as open, while it connects already. */
  opened(servicePortId: string, endpoint: Endpoint): void {
    this.#open?.opened(servicePortId, endpoint.id)
    const entry = this.#entry(servicePortId)
    if (entry === undefined) return
    entry.cluster.onConnect?.(endpoint)
    entry.local.onConnect?.(endpoint)
  }

  /** One that was `opened` has ended, or never came about. */
  closed(servicePortId: string, endpoint: Endpoint): void {
    this.#open?.closed(servicePortId, endpoint.id)
    const entry = this.#entry(servicePortId)
    if (entry === undefined) return
    entry.cluster.onClose?.(endpoint)
    entry.local.onClose?.(endpoint)
  }

  /** The endpoint took this long to answer. */
  latency(servicePortId: string, endpoint: Endpoint, latencyMs: number): void {
    const entry = this.#entry(servicePortId)
    if (entry === undefined) return
    entry.patience.answered(endpoint, latencyMs)
    const nowMs = this.#options.clock.nowMs()
    entry.cluster.onLatency?.(endpoint, latencyMs, nowMs)
    entry.local.onLatency?.(endpoint, latencyMs, nowMs)
  }

  /** The endpoint has answered. */
  answered(connection: NewConnection, endpoint: Endpoint): void {
    this.#entry(connection.servicePortId)?.failing.succeeded(endpoint, this.#options.clock.nowMs())
  }

  /** The first byte of an endpoint has come, where firstByteMs() was waited for. */
  spoke(connection: NewConnection, endpoint: Endpoint): void {
    const entry = this.#entry(connection.servicePortId)
    if (entry === undefined) return
    const nowMs = this.#options.clock.nowMs()
    entry.firstBytes.came(endpoint, nowMs)
    entry.failing.succeeded(endpoint, nowMs)
  }

  /** It has not come within firstByteMs(): a failure, unless the endpoint has answered others meanwhile. */
  wasMute(connection: NewConnection, endpoint: Endpoint): void {
    const firstBytes = this.#entry(connection.servicePortId)?.firstBytes
    if (firstBytes?.isMute(endpoint, this.#options.clock.nowMs()) !== true) return
    this.connectFailed(connection, endpoint)
  }

  /** The connection goes to this endpoint: its client belongs there from now on. */
  connected(connection: NewConnection, endpoint: Endpoint): void {
    const timeoutSeconds = this.#entry(connection.servicePortId)?.state.servicePort
      .affinityTimeoutSeconds
    if (timeoutSeconds === undefined) return
    this.#options.affinity.pin(connection, endpoint.id, {
      nowMs: this.#options.clock.nowMs(),
      timeoutMs: timeoutSeconds * 1000,
    })
  }

  /** The endpoint did not take the connection: its client is free again, others pass it over. */
  connectFailed(connection: NewConnection, endpoint: Endpoint): void {
    const entry = this.#entry(connection.servicePortId)
    if (entry === undefined) return
    const nowMs = this.#options.clock.nowMs()
    if (entry.state.endpoints.some(({ id }) => id === endpoint.id)) {
      entry.failing.failed(endpoint, nowMs)
    }
    entry.cluster.onConnectFailure?.(endpoint, nowMs)
    entry.local.onConnectFailure?.(endpoint, nowMs)
    const pinned = this.#pinned(entry.state, connection, nowMs)
    if (pinned === endpoint.id) {
      this.#options.affinity.forget(connection.servicePortId, connection.clientIp)
    }
  }

  #entry(id: string): Entry | undefined {
    if (this.#lastEntry !== undefined && this.#lastId === id) return this.#lastEntry
    this.#lastId = id
    this.#lastEntry = this.#entries.get(id)
    return this.#lastEntry
  }

  #pinned(state: ServicePortState, connection: NewConnection, nowMs: number): string | undefined {
    const timeoutSeconds = state.servicePort.affinityTimeoutSeconds
    if (timeoutSeconds === undefined) return undefined
    const time = { nowMs, timeoutMs: timeoutSeconds * 1000 }
    return this.#options.affinity.find(connection.servicePortId, connection.clientIp, time)
  }

  /** Only balancers that go by the client alone can be asked without changing what comes next. */
  #foreseenPick(entry: Entry, connection: NewConnection, nowMs: number): string | undefined {
    const { name, hashesPort } = entry.settings
    const needsPort = name === 'maglev' && hashesPort
    if (name !== 'source-hash' && name !== 'maglev') return undefined
    if (needsPort && connection.clientPort === 0) return undefined
    const selection = selectEndpoints(entry.state, connection.kind, connection.source)
    if (selection.verdict !== 'balance') return undefined
    const balancer = selection.scope === 'local' ? entry.local : entry.cluster
    const { clientIp, clientPort } = connection
    const context: PickContext = { clientIp, clientPort, nowMs, random: 0 }
    const avoided = entry.failing.avoidedNow(selection.endpoints.length, nowMs)
    return (balancer.pick(context, avoided) ?? balancer.pick(context, []))?.id
  }

  #updatePort(id: string, state: ServicePortState): void {
    const entry = this.#entries.get(id) ?? this.#newEntry(id, state)
    if (entry.state === state) return
    if (entry.state.servicePort !== state.servicePort) this.#readSettings(entry, state)
    entry.state = state
    this.#setEndpoints(entry)
    entry.failing.retain(state.endpoints)
    entry.patience.retain(state.endpoints)
    entry.firstBytes.retain(state.endpoints)
  }

  #newEntry(id: string, state: ServicePortState): Entry {
    const settings = this.#settingsOf(state)
    const slowStart = new SlowStart(settings)
    const entry: Entry = {
      state,
      settings,
      cluster: createBalancer(settings, this.#options.plugin),
      local: createBalancer(settings, this.#options.plugin),
      failing: this.#newEjection(state),
      patience: new ConnectPatience(this.#patienceMs(state)),
      firstBytes: new FirstBytes(this.#firstByteMs(state)),
      isEjecting: this.#isEjecting(state),
      slowStart,
      states: {
        openOf: (endpoint) => this.#openCounts.of(id, endpoint),
        warmthOf: (endpoint) => slowStart.warmthOf(endpoint),
      },
    }
    this.#entries.set(id, entry)
    this.#setEndpoints(entry)
    return entry
  }

  #readSettings(entry: Entry, state: ServicePortState): void {
    this.#chooseBalancers(entry, state)
    const isEjecting = this.#isEjecting(state)
    if (isEjecting !== entry.isEjecting) {
      entry.failing.clear()
      entry.failing = this.#newEjection(state)
      entry.isEjecting = isEjecting
    }
    const patienceMs = this.#patienceMs(state)
    if (patienceMs !== entry.patience.leastMs) entry.patience = new ConnectPatience(patienceMs)
    const firstByteMs = this.#firstByteMs(state)
    if (firstByteMs !== entry.firstBytes.timeoutMs) entry.firstBytes = new FirstBytes(firstByteMs)
  }

  /** A Service without any health check wants no passive one either. */
  #isEjecting({ servicePort }: ServicePortState): boolean {
    const { byDefault } = this.#options.ejection ?? EJECTION_DEFAULTS
    const check = servicePort.annotations['health-check']
    return check === undefined ? byDefault : check !== 'none'
  }

  #patienceMs(state: ServicePortState): number {
    const { patienceMs, maxPercent } = this.#options.ejection ?? EJECTION_DEFAULTS
    return this.#isEjecting(state) && maxPercent > 0 ? patienceMs : 0
  }

  #firstByteMs(state: ServicePortState): number {
    const { maxPercent } = this.#options.ejection ?? EJECTION_DEFAULTS
    return this.#isEjecting(state) && maxPercent > 0 ? firstByteTimeout(state.servicePort) : 0
  }

  #newEjection(state: ServicePortState): OutlierEjection {
    const { servicePort } = state
    const { ejection = EJECTION_DEFAULTS, onEjection } = this.#options
    const options = this.#isEjecting(state) ? ejection : { ...ejection, maxPercent: 0 }
    return new OutlierEjection(options, (endpoint, isEjected) => {
      if (options.maxPercent > 0) onEjection?.(servicePort.id, endpoint, isEjected)
    })
  }

  /** New balancers when the settings have changed; they start from the connections that are open. */
  #chooseBalancers(entry: Entry, state: ServicePortState): void {
    const settings = this.#settingsOf(state)
    if (sameValue(settings, entry.settings)) return
    entry.settings = settings
    entry.slowStart.setOptions(settings)
    entry.cluster = createBalancer(settings, this.#options.plugin)
    entry.local = createBalancer(settings, this.#options.plugin)
  }

  #settingsOf({ servicePort }: ServicePortState): BalancerSettings {
    // What is wrong with annotations is told by those who read the objects.
    return readBalancerSettings(servicePort, this.#options.balancers ?? BALANCER_DEFAULTS).settings
  }

  #setEndpoints(entry: Entry): void {
    entry.slowStart.setEndpoints(entry.state.reachable, this.#options.clock.nowMs())
    this.#tellBalancers(entry)
  }

  #tellBalancers({ state, states, cluster, local }: Entry): void {
    cluster.setEndpoints(state.cluster, states)
    local.setEndpoints(state.local, states)
  }
}

/** Go neither by the client nor by what is open. */
const BLIND_BALANCERS: ReadonlySet<string> = new Set(['round-robin', 'weighted-round-robin'])

function canPickAhead(entry: Entry, kind: VipKind): boolean {
  const { state, settings, slowStart, failing, patience, firstBytes } = entry
  const { servicePort } = state
  const { affinityTimeoutSeconds, internalPolicyLocal, externalPolicyLocal } = servicePort
  if (!BLIND_BALANCERS.has(settings.name) || affinityTimeoutSeconds !== undefined) return false
  if (slowStart.isWarming || failing.isEjecting) return false
  // Who is ejected by its first byte is known only after the connections that came meanwhile.
  if (firstBytes.timeoutMs !== 0) return false
  if (kind !== 'cluster-ip' && externalPolicyLocal) return false
  const endpoints = kind === 'cluster-ip' && internalPolicyLocal ? state.local : state.cluster
  return patience.knowsAll(endpoints)
}

function findUntried(
  endpoints: readonly Endpoint[],
  id: string,
  tried: readonly Endpoint[],
): Endpoint | undefined {
  for (const other of tried) if (other.id === id) return undefined
  return endpoints.find((endpoint) => endpoint.id === id)
}
