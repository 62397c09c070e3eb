/** The validated configuration of `kube-sluice run`: what load.ts makes of flags, file and defaults. */
import type { IpRange } from '../lib/ip-address.js'
import type { NodeSetup } from '../kernel/set-up-node.js'
import type { ConnectionLogConfig } from '../observe/connection-log.js'
import type { BalancerDefaults } from '../policy/balancer/settings.js'
import type { ProbeScopeConfig } from '../policy/health/probe-scope.js'
import type { EjectionOptions } from '../policy/health/outlier-ejection.js'
import type { HealthDefaults } from '../policy/health/health-defaults.js'

export type ProxyMode = 'auto' | 'userspace' | 'nfqueue' | 'iptables' | 'ipvs' | 'nftables'
export type CaptureName = 'anyip' | 'redirect' | 'tproxy'
export type RelayName = 'splice' | 'copy' | 'node'
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'

export interface BindAddress {
  readonly address: string
  readonly port: number
}

export interface UserspaceConfig {
  /** How a VIP's traffic reaches the relay; `auto` takes tproxy, else anyip, else redirect. */
  readonly capture: CaptureName | 'auto'
  /** What moves the bytes of TCP: a native thread, or Node's own sockets. */
  readonly relay: RelayName
  /** Of the native thread; beyond them it copies. */
  readonly maxPipes: number
  /** Endpoints tried for one client connection, 1..10. */
  readonly connectAttempts: number
  /** Per try. */
  readonly connectTimeoutMs: number
  /** Retries under way may be at most this share of open connections ... */
  readonly retryBudgetPercent: number
  /** ... but this many are always allowed. */
  readonly retryMinConcurrency: number
  /** Relayed TCP connections at once; more are reset. */
  readonly maxConnections: number
  /** A relayed TCP connection without a byte for this long is closed. */
  readonly tcpIdleTimeoutMs: number
  /** A half-closed TCP connection without a byte for this long is closed. */
  readonly tcpHalfCloseTimeoutMs: number
  /** UDP session with no reply yet / with a reply (nf_conntrack_udp_timeout, _stream). */
  readonly udpTimeoutMs: number
  readonly udpStreamTimeoutMs: number
  /** UDP sessions at once; the one idle longest makes room. */
  readonly udpMaxSessions: number
  /** Bit (0..31) of the packet mark that the tproxy capture uses, and only between PREROUTING and INPUT. */
  readonly tproxyMarkBit: number
}

export interface NfqueueConfig {
  /** First packets go to `queueCount` queues from this one on, retries to the one after them. */
  readonly queueFirst: number
  readonly queueCount: number
  /** Packets that each queue holds. */
  readonly queueLength: number
  /** Receive buffers of the sockets, bytes. */
  readonly queueBufferBytes: number
  readonly eventBufferBytes: number
  /** Flows remembered for retries. */
  readonly flows: number
  /** Nice value of the steering thread, -20..19. */
  readonly nice: number
  /** Our bits of the connection mark: one run of at least 12. */
  readonly markMask: number
  /** How a verdict becomes a translation; `auto` takes nftables where the kernel has it. */
  readonly dnat: 'auto' | 'nftables' | 'iptables'
}

/** When `auto` leaves the mode that decides for one of rules. */
export interface AutoConfig {
  /** `auto`: nfqueue where the kernel can. */
  readonly decidingMode: 'auto' | 'nfqueue' | 'userspace'
  /** In order of preference. */
  readonly fallbackModes: readonly ('ipvs' | 'nftables' | 'iptables')[]
  /** Above them the rules take over; 0: none. */
  readonly thresholds: {
    readonly servicePorts: number
    readonly endpoints: number
    readonly connectionsPerSecond: number
    readonly queueDropsPerSecond: number
    /** Of a core. */
    readonly verdictPercent: number
  }
  /** Of each threshold, for the return. */
  readonly returnPercent: number
  readonly holdDownMs: number
  readonly samplePeriodMs: number
}

export interface HealthConfig {
  /** Where a Service says nothing of its own. */
  readonly defaults: HealthDefaults
  /** Passive checks. */
  readonly ejection: EjectionOptions
  /** Probes under way at once. */
  readonly maxRunning: number
  /** Share of healthy endpoints, 0..100, below which health is ignored. */
  readonly panicPercent: number
  /** Which endpoints this node probes. */
  readonly scope: ProbeScopeConfig
}

export interface IpvsConfig {
  /** The kernel's name of it; empty: whatever the default balancer amounts to. */
  readonly scheduler: string
  /** Virtual servers at these addresses are never touched. */
  readonly excludeCidrs: readonly IpRange[]
  readonly strictArp: boolean
  /** 0 leaves what the kernel has. */
  readonly tcpTimeoutMs: number
  readonly tcpFinTimeoutMs: number
  readonly udpTimeoutMs: number
  /** How long an endpoint that has gone may keep connections. */
  readonly gracefulPeriodMs: number
}

/**
 * A reload of the configuration file changes the fields of options that are `live` in place
 * (reload.ts): read those where they are used, and keep no copy.
 */
export interface RunConfig {
  /** File or folder; undefined: the objects come from the API server. */
  readonly manifests: string | undefined
  /** undefined, without manifests: the service account of the Pod. */
  readonly kubeconfig: string | undefined
  /** Address of the API server in place of the configured one. */
  readonly master: string | undefined
  /** `--hostname-override`, trimmed and lower-cased, else the host's name. */
  readonly nodeName: string
  /** `--bind-address` when it is an address: the node's primary one, before those of its Node object. */
  readonly nodeIp: string | undefined
  readonly proxyMode: ProxyMode
  readonly auto: AutoConfig
  readonly clusterCidrs: readonly IpRange[]
  /** Userspace has no interface to look at: only the two CIDR modes apply. */
  readonly detectLocalMode: 'ClusterCIDR' | 'NodeCIDR'
  readonly masqueradeAll: boolean
  /** Empty: every local address. */
  readonly nodePortAddresses: 'primary' | readonly IpRange[]
  readonly localhostNodePorts: boolean
  /** undefined: not served. */
  readonly healthzBindAddress: BindAddress | undefined
  readonly metricsBindAddress: BindAddress | undefined
  /** Names by which the metrics address may be called, besides those of loopback. */
  readonly metricsAllowedHosts: readonly string[]
  /** Endpoints, and Service ports, that have metrics of their own. */
  readonly metricsPerEndpoint: number
  readonly metricsPerServicePort: number
  /** Serve /debug/... on the metrics address. */
  readonly profiling: boolean
  /** Without a bind: exit 1. Otherwise retried every 5 s. */
  readonly bindAddressHardFail: boolean
  readonly syncPeriodMs: number
  readonly minSyncPeriodMs: number
  /** How long SIGTERM waits for connections to end. */
  readonly drainTimeoutMs: number
  /** How long new connections are held for the next process after it; 0: not. */
  readonly stopHoldMs: number
  /** Clients remembered for session affinity, over all Service ports. */
  readonly affinityMaxClients: number
  /** For Services whose annotations do not say otherwise. */
  readonly balancers: BalancerDefaults
  /** Bit (0..31) of the packet mark that says "masquerade" in the iptables mode. */
  readonly iptablesMasqueradeBit: number
  readonly userspace: UserspaceConfig
  readonly nfqueue: NfqueueConfig
  readonly nodeSetup: NodeSetup
  readonly health: HealthConfig
  readonly ipvs: IpvsConfig
  readonly logLevel: LogLevel
  readonly connectionLog: ConnectionLogConfig
}
