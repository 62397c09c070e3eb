/** What the demo and its child processes say to each other over Node's IPC channel. */
import type { DemoServiceName, Target } from './topology.js'

/** To a pod: open these addresses (an empty list closes all), or die between two requests. */
export type PodOrder =
  | {
      readonly type: 'serve'
      readonly service: DemoServiceName
      readonly pod: string
      readonly addresses: readonly string[]
      readonly port: number
    }
  | { readonly type: 'die' }

/** From a pod. */
export type PodNews =
  { readonly type: 'serving' } | { readonly type: 'failed'; readonly message: string }

/** To a load process: begin, or stop and send the last report. */
export type LoadOrder =
  | {
      readonly type: 'start'
      readonly service: DemoServiceName
      /** Workers take them in turn. */
      readonly targets: readonly Target[]
      readonly workers: number
      /** Between the end of a worker's request and its next. */
      readonly pauseMs: number
      readonly timeoutMs: number
    }
  | { readonly type: 'stop' }

export interface RequestFailure {
  readonly service: DemoServiceName
  readonly target: string
  /** Milliseconds of the wall clock: all processes of the demo share it. */
  readonly startedAtMs: number
  readonly failedAtMs: number
  /** Whether the connection was ended by the other side, rather than refused or silent. */
  readonly isReset: boolean
  readonly message: string
}

/** From a load process, five times a second: what came since the report before. */
export interface LoadReport {
  readonly type: 'report'
  readonly service: DemoServiceName
  /** By name of the pod. */
  readonly served: Readonly<Record<string, number>>
  readonly failed: number
  /** The first of them; more are only counted. */
  readonly failures: readonly RequestFailure[]
  /** DNS queries that were sent once more, as a resolver does. */
  readonly resent: number
  /** Pairs of histogram bucket and count. */
  readonly latencies: readonly (readonly [number, number])[]
  readonly slowestMs: number
  /** Whether it is the last one. */
  readonly isLast: boolean
}

/** From the watcher in the node's namespace. */
export type ProxyNews =
  | { readonly type: 'healthy' }
  | {
      readonly type: 'status'
      readonly mode: string
      readonly capture: string
      readonly retries: number
    }
