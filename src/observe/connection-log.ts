/**
 * One line a connection, for the Services that `--log-connections` names: written when it has ended.
 * A sample of them, drawn when they begin; at most `perSecond` lines a second, what is over is counted.
 */
import type { Clock } from '../lib/clock.js'
import { TokenBucket } from '../lib/token-bucket.js'

export interface ConnectionLogConfig {
  /** `namespace/name`; empty: nothing is logged. */
  readonly services: readonly string[]
  /** 1..100 */
  readonly samplePercent: number
  /** Lines. */
  readonly perSecond: number
}

/**
 * `closed`: by a FIN. `reset`: by one side, or it was cut. `timed-out`: no packet for the idle time-out.
 * `answered`, `unanswered`: a UDP session that has had a reply or none; TCP, no answer to the SYN.
 * `no-endpoint`: none could serve it. `client-gone`: while an endpoint was being looked for.
 * `limit`: the relay was full. `rejected`, `dropped`: by the verdict.
 */
export type ConnectionOutcome =
  | 'closed'
  | 'reset'
  | 'timed-out'
  | 'answered'
  | 'unanswered'
  | 'no-endpoint'
  | 'client-gone'
  | 'limit'
  | 'rejected'
  | 'dropped'

export interface ConnectionEnd {
  /** The last one that it was given to; undefined: none. */
  readonly endpoint: string | undefined
  /** Endpoints tried. */
  readonly attempts: number
  /** Payload; absent where the kernel carries it. */
  readonly bytesToEndpoint?: number
  readonly bytesToClient?: number
}

export interface ConnectionLine extends ConnectionEnd {
  readonly servicePort: string
  readonly client: string
  readonly vip: string
  readonly outcome: ConnectionOutcome
  readonly durationMs: number
}

/** A connection whose line is to be written. */
export interface ConnectionRecord {
  /** Writes it, the first time. */
  end(outcome: ConnectionOutcome, end: ConnectionEnd): void
}

export interface ConnectionLogOptions extends ConnectionLogConfig {
  readonly clock: Pick<Clock, 'nowMs'>
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly write: (line: ConnectionLine) => void
}

export class ConnectionLog {
  readonly #options: ConnectionLogOptions
  readonly #services: ReadonlySet<string>
  readonly #bucket: TokenBucket
  /** Lines that were not written: too many a second. */
  dropped = 0

  constructor(options: ConnectionLogOptions) {
    this.#options = options
    this.#services = new Set(options.services)
    this.#bucket = new TokenBucket(options.perSecond, options.perSecond, options.clock)
  }

  /** Whether the Service of the Service port is one of those. */
  isOf(servicePortId: string): boolean {
    return this.#services.has(serviceOf(servicePortId))
  }

  /** A connection begins; undefined: it is not to be logged. `describe` is called when it is. */
  begin(
    servicePortId: string,
    describe: () => Pick<ConnectionLine, 'client' | 'vip'>,
  ): ConnectionRecord | undefined {
    const { random, samplePercent, clock } = this.#options
    if (!this.isOf(servicePortId) || random() * 100 >= samplePercent) return undefined
    const startedMs = clock.nowMs()
    const place = describe()
    let isWritten = false
    return {
      end: (outcome, end) => {
        if (isWritten) return
        isWritten = true
        const durationMs = Math.round((clock.nowMs() - startedMs) * 10) / 10
        this.#write({ servicePort: servicePortId, ...place, ...end, outcome, durationMs })
      },
    }
  }

  #write(line: ConnectionLine): void {
    if (this.#bucket.tryTake()) this.#options.write(line)
    else this.dropped++
  }
}

/** `demo/echo:http/TCP/IPv4` is of `demo/echo`. */
function serviceOf(servicePortId: string): string {
  return /^[^/]*\/[^:/]*/.exec(servicePortId)?.[0] ?? ''
}

/** undefined when no Service is named. */
export function connectionLogOf(
  config: ConnectionLogConfig,
  parts: Omit<ConnectionLogOptions, keyof ConnectionLogConfig>,
): ConnectionLog | undefined {
  return config.services.length === 0 ? undefined : new ConnectionLog({ ...config, ...parts })
}
