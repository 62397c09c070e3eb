/**
 * What the status page and the program say to each other: only types, and nothing of either side.
 * Rows are arrays, so that 10,000 of them stay small on the wire.
 */

/** Of a Service port: what changes with its objects or with health. */
export type StaticRow = readonly [
  /** Unique while the program runs. */
  id: number,
  /** `ns/name:port` */
  name: string,
  /** `TCP`, `UDP6`: the 6 is for IPv6. */
  protocol: string,
  /** VIPs, separated by blanks; the first is the cluster IP. */
  vips: string,
  balancer: string,
  endpoints: number,
  /** Endpoints that get new connections. */
  inUse: number,
  /** Endpoints that a health check has found down. */
  down: number,
  /** Further ones that connections pass over because they did not take one. */
  ejected: number,
]

/** Of a Service port: what changes with connections. `rate`: new connections per second. */
export type CountRow = readonly [
  id: number,
  open: number,
  rate: number,
  total: number,
  failed: number,
  retries: number,
]

/** A moment of the whole proxy. Times in microseconds; null: nothing was measured. */
export interface Point {
  /** Counts up by one; a gap is time in which nothing was recorded. */
  readonly seq: number
  readonly open: number
  /** Per second, over the step. */
  readonly rate: number
  readonly failed: number
  readonly retries: number
  readonly p50: number | null
  readonly p99: number | null
  /** Packets that waited in queues, and per second found one full. */
  readonly waiting: number
  readonly queueDrops: number
}

export interface FeedEntry {
  /** Counts up by one. */
  readonly seq: number
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly level: 'good' | 'info' | 'bad'
  readonly text: string
}

/** How near something is to where the mode changes by itself. */
export interface Gauge {
  readonly name: string
  readonly value: number | null
  readonly limit: number
}

/** What the head of the page shows. */
export interface Summary {
  readonly mode: string
  /** Of the mode: how traffic is captured, or what `auto` would go over to. */
  readonly modeDetail: string
  /** Whether this mode learns of connections at all; rules in the kernel tell nothing. */
  readonly countsConnections: boolean
  readonly gauges: readonly Gauge[]
  readonly uptimeSeconds: number
  readonly servicePorts: number
  /** Service ports that have no row, because of the bound. */
  readonly leftOut: number
  readonly endpoints: number
  readonly inUse: number
  readonly down: number
  readonly ejected: number
  readonly open: number
  readonly total: number
  readonly failed: number
  readonly retries: number
  readonly queues: number
  readonly waiting: number
  readonly queueDropped: number
  readonly problem: string | null
}

/** The first event of a stream: everything that was known is void. */
export interface Hello {
  readonly version: string
  readonly node: string
  readonly stepMs: number
  readonly points: number
}

/** Every second or so; only what has changed since the one before. */
export interface Tick {
  readonly at: number
  readonly summary: Summary
  readonly rows?: readonly StaticRow[]
  readonly counts?: readonly CountRow[]
  readonly gone?: readonly number[]
  readonly points?: readonly Point[]
  readonly feed?: readonly FeedEntry[]
}

export interface EndpointDetail {
  readonly address: string
  readonly pod: string
  readonly node: string
  readonly zone: string
  /** `up`, `down`, `ejected`, `draining`, `terminating`, `not ready`, `unused`. */
  readonly state: string
  /** Check, and what it found last. */
  readonly reason: string
  /** Of the state, as text of a date; '' when unknown. */
  readonly since: string
  readonly weight: number
  readonly open: number
  readonly total: number
  readonly failures: number
}

/** The answer about rows that can be seen: their history, and endpoints of those that are open. */
export interface Details {
  readonly stepMs: number
  readonly rows: readonly {
    readonly id: number
    /** New connections per second, oldest first. */
    readonly rates: readonly number[]
    readonly endpoints?: readonly EndpointDetail[]
    /** Endpoints that are not listed, because of the bound. */
    readonly leftOut?: number
  }[]
}
