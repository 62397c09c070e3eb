/**
 * What every proxy mode is given to start with, and what it gives to the one that runs it. Each mode
 * has a `start.ts` that puts it together; the table of modes is src/cli/run-mode.ts.
 */
import type { PumpCounts } from '../observe/traffic.js'
import type { RunConfig } from '../config/run-config.js'
import type { RunCommand } from '../kernel/command.js'
import type { LocalAddress } from '../kernel/local-address.js'
import type { KernelCapabilities } from '../kernel/probe-capability.js'
import type { Clock } from '../lib/clock.js'
import type { Protocol, ServicePort } from '../model/service-port.js'
import type { Snapshot } from '../model/snapshot.js'
import type { StatusInputs } from '../observe/build-status.js'
import type { RuleMetrics } from '../observe/rule-metrics.js'
import type { BalancerPlugin } from '../policy/balancer/plugin.js'
import type { Foreseen, NewConnection } from '../policy/endpoint-picker.js'
import type { Datapath } from './datapath.js'
import type { SteeringWorker } from './nfqueue/steering-spawn.js'

/** Connections of one client that are told of. */
export const MAX_RELAYED = 16

export interface ModeLog {
  info(context: object, message: string): void
  warn(message: string, context?: object): void
}

export interface ModeContext {
  readonly config: RunConfig
  readonly kernel: KernelCapabilities
  /** --balancer-plugin, loaded. */
  readonly plugin: BalancerPlugin | undefined
  readonly run: RunCommand
  readonly clock: Clock
  /** Read anew at each sync: nothing tells of address changes. */
  readonly localAddresses: () => readonly LocalAddress[]
  readonly log: ModeLog
  /** Takes what only a mode that writes rules knows. */
  readonly metrics: RuleMetrics
  /** The mode has stopped working by itself; what serves from here on is the mode's matter. */
  readonly onFailure: (error: Error) => void
  /** An endpoint does not take connections and is passed over, or does so again. */
  readonly onEjection: (servicePortId: string, endpointId: string, isEjected: boolean) => void
  /** The mode has changed by itself; a line for an event on the node. */
  readonly onSwitch: (note: string) => void
  /** The steering thread's worker, where it was started early. */
  readonly steeringWorker?: SteeringWorker | undefined
  /** Whether this process, which is to stop, ends for another one to take its place (SIGTERM). */
  readonly endsForAnother: () => boolean
  /** UDP destinations (`10.96.0.10:53`) whose connection-tracking entries a mode of rules leaves alone. */
  readonly keptFlows?: () => ReadonlySet<string>
}

/** The parts of the status that a mode knows. */
export type ModeStatus = Pick<
  StatusInputs,
  | 'mode'
  | 'capture'
  | 'steering'
  | 'traffic'
  | 'vips'
  | 'balancerOf'
  | 'balancerPlugin'
  | 'udpSessions'
  | 'datagrams'
  | 'affinityClients'
  | 'boundsHit'
  | 'auto'
> & {
  /** What the native thread of the userspace mode has counted, where it relays. */
  readonly pump?: PumpCounts | undefined
}

/** The rules of a mode as text, by the code that loads them; and what could not be done. Pure but for the node. */
export type RenderRules = (
  snapshot: Snapshot,
  config: RunConfig,
  localAddresses: readonly LocalAddress[],
) => { readonly text: string; readonly warnings: readonly string[] }

/** A client of a Service port; without a port all of its connections. */
export interface RelayedClient {
  readonly servicePortId: string
  readonly protocol: Protocol
  readonly clientIp: string
  readonly clientPort: number | undefined
}

/** A connection or session of it that is open. */
export interface RelayedConnection {
  readonly clientPort: number
  /** undefined while one is being looked for. */
  readonly endpoint: string | undefined
}

export interface RunningMode {
  readonly datapath: Datapath
  readonly status: (snapshot: Snapshot) => ModeStatus
  /**
   * What is known of a connection's pick beforehand; undefined: the thread that knows is busy.
   * Absent: the kernel picks.
   */
  readonly foresee?: (connection: NewConnection) => Promise<Foreseen | undefined>
  /** At most MAX_RELAYED; absent: the kernel has the connections. */
  readonly relayed?: (client: RelayedClient) => readonly RelayedConnection[]
  /** Connections that a stop would end. */
  readonly openConnections: () => number
  /** Once after each sync. */
  readonly onSynced: () => void
  /** Before metrics are read: brings in what only the kernel counts. Does not throw. */
  readonly readCounters?: () => Promise<void>
}

/** Since the start. */
export interface LoadTotals {
  /** New connections that the mode has decided about. */
  readonly connections: number
  /** Packets that found its queue full. */
  readonly queueDrops: number
  /** Time spent on verdicts, on one core. */
  readonly busySeconds: number
}

/** How a mode that decides per connection leaves Service ports to rules, and takes them back. */
export interface HandOver {
  /** Its rules that serve what is not taken; undefined: it has none. */
  readonly standby: 'nftables' | 'iptables' | undefined
  /** Whether VIPs are local addresses while it serves them (captures anyip and tproxy). */
  readonly bindsToVip: boolean
  /**
   * From the next sync on new connections come here only for the Service ports of which this holds;
   * connections and sessions that are here go on.
   * @param standbyServesOthers whether the others are the standby's, or of rules elsewhere
   */
  take(takes: (port: ServicePort) => boolean, standbyServesOthers: boolean): void
  load(): LoadTotals
  /** UDP destinations (`10.96.0.10:53`) at which it has sessions. */
  sessionDestinations(): ReadonlySet<string>
}

/** A mode that `auto` can begin with. */
export interface DecidingMode extends RunningMode {
  readonly handOver: HandOver
}
