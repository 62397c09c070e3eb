/** What the main thread and the steering thread tell each other. */
import type { MessagePort } from 'node:worker_threads'

import type { ConnectionLine, ConnectionLogConfig } from '../../observe/connection-log.js'
import type { MarkLayout } from '../../packet/mark-layout.js'
import type { BalancerDefaults } from '../../policy/balancer/settings.js'
import type { Foreseen, NewConnection } from '../../policy/endpoint-picker.js'
import type { EjectionOptions } from '../../policy/health/outlier-ejection.js'
import type { PackedPort } from './steered-port.js'
import type { SteeringCounterMemory } from './steering-counters.js'

/** Settings of the steering thread, for its whole life. */
export interface SteeringThreadOptions {
  readonly layout: MarkLayout
  readonly queues: { readonly first: number; readonly count: number }
  /** Packets that each queue holds. */
  readonly queueLength: number
  /** Receive buffers of the packet queues' socket and of the conntrack events'. */
  readonly queueBufferBytes: number
  readonly eventBufferBytes: number
  /** Flows remembered for retries. */
  readonly flows: number
  /** Nice value of the thread, -20..19. */
  readonly nice: number
  readonly attempts: number
  readonly canSendAgain: boolean
  readonly masqueradeAll: boolean
  readonly affinityMaxClients: number
  readonly ejection: EjectionOptions
  readonly balancers: BalancerDefaults
  /** eventfd that says that messages wait. */
  readonly wakeUpFd: number
  readonly connectionLog: ConnectionLogConfig
  readonly counters: SteeringCounterMemory
}

/** The first thing that its worker is told; all others come by the port. */
export interface SteeringStart {
  readonly options: SteeringThreadOptions
  readonly port: MessagePort
}

/** To the steering thread, in order. */
export type SteeringMessage =
  | {
      readonly type: 'sources'
      /** CIDR ranges of the local detector, and the node's own addresses. */
      readonly pods: readonly string[]
      readonly node: readonly string[]
      readonly hasLocalDetector: boolean
    }
  | {
      readonly type: 'ports'
      readonly set: readonly PackedPort[]
      readonly remove: readonly string[]
    }
  /** What the configuration says of Services that say nothing has changed. */
  | {
      readonly type: 'defaults'
      readonly balancers: BalancerDefaults
      readonly ejection: EjectionOptions
    }
  /** The file of the balancer plug-in has changed, and is one still. */
  | { readonly type: 'plugin'; readonly version: number }
  /** Answered with `done` once everything before it is in force. */
  | { readonly type: 'barrier'; readonly id: number }
  /** Counts connections anew, and takes session affinity from them: after a start. */
  | { readonly type: 'adopt' }
  /** Answered with `foreseen`. */
  | { readonly type: 'foresee'; readonly id: number; readonly connection: NewConnection }
  | { readonly type: 'stop' }

/** From the steering thread. */
export type SteeringReport =
  | {
      readonly type: 'ready'
      readonly queueBufferBytes: number
      readonly eventBufferBytes: number
    }
  | { readonly type: 'done'; readonly id: number }
  | { readonly type: 'foreseen'; readonly id: number; readonly foreseen: Foreseen }
  /** A SYN to be sent again. */
  | { readonly type: 'send'; readonly syn: Uint8Array }
  /** A line of the connection log. */
  | { readonly type: 'connection'; readonly line: ConnectionLine }
  | { readonly type: 'warning'; readonly message: string }
  /** An endpoint was ejected, or is back. */
  | {
      readonly type: 'ejection'
      readonly servicePortId: string
      readonly endpointId: string
      readonly isEjected: boolean
    }
  | { readonly type: 'stopped' }
