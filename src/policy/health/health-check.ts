/**
 * A health check as it is set for one Service port: which protocol, how often, and what is asked
 * and expected. Made by parse-health-check.ts from annotations and defaults.
 */
import type { InitialState } from './rise-fall.js'

/** Those that send something to the endpoint. */
export const PROBE_TYPES = [
  'tcp',
  'http',
  'https',
  'http2',
  'grpc',
  'tls',
  'dns',
  'redis',
  'postgres',
  'mysql',
  'mqtt',
  'smtp',
  'icmp',
  'udp',
  'exec',
  'agent',
] as const

export type ProbeType = (typeof PROBE_TYPES)[number]

/** `passive`: only the connections of clients tell. `none`: not even those. */
export type HealthCheckType = ProbeType | 'passive' | 'none'

export const HEALTH_CHECK_TYPES: readonly HealthCheckType[] = [...PROBE_TYPES, 'passive', 'none']

export interface HealthTiming {
  /** From the start of one probe to the start of the next while the endpoint is up. */
  readonly intervalMs: number
  /** Longest time that a probe may take. */
  readonly timeoutMs: number
  /** The interval while results and state differ: on the way up or down. */
  readonly fastIntervalMs: number
  /** The interval while the endpoint is down. */
  readonly downIntervalMs: number
  /** Every interval is longer or shorter by a random share up to half of this, 0..100. */
  readonly jitterPercent: number
  /** Successes in a row that bring an endpoint up; failures in a row that take it down. */
  readonly rise: number
  readonly fall: number
  readonly initialState: InitialState
}

/** What happens to the connections that an endpoint has when it goes down. */
export type OnDown = 'keep' | 'reset'

/** A range of HTTP status codes, both ends included. */
export interface StatusRange {
  readonly from: number
  readonly to: number
}

/** What a probe asks and expects. A field that its protocol does not know is undefined. */
export interface ProbeParameters {
  readonly path?: string
  /** Host header, and the server name of TLS; undefined: the endpoint's address, no server name. */
  readonly host?: string
  readonly method?: string
  readonly headers?: readonly (readonly [name: string, value: string])[]
  /** HTTP: any of these; undefined: 200..399. */
  readonly expectStatus?: readonly StatusRange[]
  /** Bytes that the answer (the body, for HTTP) has to contain. */
  readonly expectBytes?: Buffer
  /** gRPC: the service that is asked for; '' is the server as a whole. */
  readonly serviceName?: string
  /** DNS: name and type that are asked for; undefined: the root's name servers. */
  readonly query?: { readonly name: string; readonly type: string }
  /** DNS: name of the response code, or a text that one of the answers has to be. */
  readonly expectAnswer?: string
  /** What is sent first. */
  readonly send?: Buffer
  /** TLS: certificates that end sooner than this are warned of. */
  readonly expiryWarningMs?: number
  /** exec: absolute path of the program. */
  readonly command?: string
}

export interface HealthCheck extends HealthTiming, ProbeParameters {
  readonly type: HealthCheckType
  /** Number, or name of another port of the Service; undefined: the endpoint's own. */
  readonly port: number | string | undefined
  readonly onDown: OnDown
  /** How long connections of an endpoint that went down are left alone before they are reset. */
  readonly onDownGraceMs: number
}

/** Whether the check sends probes. */
export function isProbed(type: HealthCheckType): type is ProbeType {
  return type !== 'passive' && type !== 'none'
}
