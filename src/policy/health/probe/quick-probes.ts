/**
 * The checks that most Services have, a plain connect and the status of an HTTP request, for many endpoints:
 * all that are under way are looked at together, every TICK_MS while there are some. They answer as tcp.ts and
 * http.ts do. A probe costs a few system calls here; as a socket of Node it costs three times as much.
 */
import type { Clock } from '../../../lib/clock.js'
import type { HealthCheck } from '../health-check.js'
import { errnoText } from './errno-text.js'
import { requestHead, statusResult } from './http.js'
import {
  healthy,
  unhealthy,
  type ProbeDone,
  type ProbeResult,
  type ProbeTarget,
  type RunningProbe,
} from './probe.js'
import { excerpt } from './tcp.js'

/** Non-blocking sockets by their number. Nothing throws; below 0 is an error. */
export interface QuickSockets {
  /** Begins a connect. */
  dial(ip: string, port: number, resets: boolean): number
  /** Of `count` sockets that wait for their connect (0) or for bytes (1): 0 not yet, 1 yes, or an error. */
  poll(fds: Int32Array, wants: Uint8Array, results: Int32Array, count: number): number
  send(fd: number, bytes: Uint8Array): number
  /** 0: the end. */
  receive(fd: number, bytes: Uint8Array): number
  close(fd: number): void
  errorName(error: number): string
}

const TICK_MS = 10
const CONNECT = 0
const RECEIVE = 1
/** As much as node:http takes of headers. */
const MAX_HEAD_BYTES = 16_384
const READ_BYTES = 4096

interface Job {
  fd: number
  index: number
  readonly target: ProbeTarget
  readonly done: ProbeDone
  /** undefined: the connect is all. */
  readonly request: Buffer | undefined
  wants: string
  head: string
}

export class QuickProbes {
  readonly #sockets: QuickSockets
  readonly #clock: Clock
  readonly #jobs: Job[] = []
  #fds = new Int32Array(64)
  #wants = new Uint8Array(64)
  #results = new Int32Array(64)
  readonly #bytes = Buffer.alloc(READ_BYTES)
  #isArmed = false

  constructor(sockets: QuickSockets, clock: Clock) {
    this.#sockets = sockets
    this.#clock = clock
  }

  /** Whether `start` does for this check what the protocol's own probe does. */
  knows({ type, send, expectBytes }: HealthCheck): boolean {
    return expectBytes === undefined && (type === 'http' || (type === 'tcp' && send === undefined))
  }

  start(target: ProbeTarget, done: ProbeDone): RunningProbe {
    const { ip, port, check } = target
    const request = check.type === 'http' ? requestHead(target) : undefined
    const fd = this.#sockets.dial(ip, port, request === undefined)
    const job: Job = {
      fd,
      index: this.#jobs.length,
      target,
      done,
      request,
      wants: 'connection',
      head: '',
    }
    this.#add(job)
    return {
      cancel: () => {
        this.#remove(job)
        return job.wants
      },
    }
  }

  #add(job: Job): void {
    if (job.index === this.#fds.length) this.#grow()
    this.#jobs.push(job)
    this.#fds[job.index] = job.fd
    this.#wants[job.index] = CONNECT
    if (!this.#isArmed) this.#arm()
  }

  #grow(): void {
    const size = this.#fds.length * 2
    const fds = new Int32Array(size)
    const wants = new Uint8Array(size)
    fds.set(this.#fds)
    wants.set(this.#wants)
    this.#fds = fds
    this.#wants = wants
    this.#results = new Int32Array(size)
  }

  #arm(): void {
    this.#isArmed = true
    this.#clock.after(TICK_MS, () => {
      this.#serve()
    })
  }

  #serve(): void {
    const jobs = [...this.#jobs]
    const results = this.#results
    this.#sockets.poll(this.#fds, this.#wants, results, jobs.length)
    // Results are by place, and places change as jobs end: so they are read first.
    const outcomes = jobs.map(({ fd }, i) => (fd < 0 ? fd : (results[i] ?? 0)))
    for (const [i, job] of jobs.entries()) {
      const outcome = outcomes[i] ?? 0
      if (outcome !== 0 && job.index >= 0) this.#step(job, outcome)
    }
    this.#isArmed = false
    if (this.#jobs.length > 0) this.#arm()
  }

  #step(job: Job, outcome: number): void {
    if (outcome < 0) this.#end(job, this.#failure(outcome))
    else if (this.#wants[job.index] === CONNECT) this.#connected(job)
    else this.#read(job)
  }

  #connected(job: Job): void {
    if (job.request === undefined) {
      this.#end(job, healthy('connected'))
      return
    }
    const sent = this.#sockets.send(job.fd, job.request)
    if (sent < 0) {
      this.#end(job, this.#failure(sent))
    } else if (sent < job.request.length) {
      this.#end(job, unhealthy('it does not take the request'))
    } else {
      job.wants = 'HTTP answer'
      this.#wants[job.index] = RECEIVE
    }
  }

  #read(job: Job): void {
    const count = this.#sockets.receive(job.fd, this.#bytes)
    if (count > 0) {
      job.head += this.#bytes.toString('latin1', 0, count)
      const result = readHead(job, job.target.check)
      if (result !== undefined) this.#end(job, result)
    } else if (count === 0) {
      this.#end(job, unhealthy('connection reset'))
    } else if (this.#sockets.errorName(count) !== 'EAGAIN') {
      this.#end(job, this.#failure(count))
    }
  }

  #failure(error: number): ProbeResult {
    const code = this.#sockets.errorName(error)
    return unhealthy(errnoText(Object.assign(new Error(code), { code })))
  }

  #end(job: Job, result: ProbeResult): void {
    this.#remove(job)
    job.done(result)
  }

  /** Idempotent. The last job takes its place. */
  #remove(job: Job): void {
    const { index, fd } = job
    if (index < 0) return
    job.index = -1
    if (fd >= 0) this.#sockets.close(fd)
    const last = this.#jobs.pop()
    if (last === undefined || last === job) return
    this.#jobs[index] = last
    this.#fds[index] = last.fd
    this.#wants[index] = this.#wants[last.index] ?? CONNECT
    last.index = index
  }
}

/** Judges by the status once all headers are there; informational answers go before it. */
function readHead(job: Job, check: HealthCheck): ProbeResult | undefined {
  for (;;) {
    const { head } = job
    const status = /^HTTP\/1\.[01] (\d{3})(?=[ \r\n])/.exec(head)?.[1]
    if (status === undefined && (head.length > 12 || !'HTTP/1.'.startsWith(head.slice(0, 7)))) {
      return unhealthy(`its answer is not HTTP: ${excerpt(Buffer.from(head, 'latin1'))}`)
    }
    const end = head.indexOf('\r\n\r\n')
    if (end > MAX_HEAD_BYTES || (end < 0 && head.length > MAX_HEAD_BYTES)) {
      return unhealthy(`its answer is not HTTP: more than ${MAX_HEAD_BYTES} bytes of headers`)
    }
    if (status === undefined || end < 0) return undefined
    if (status.startsWith('1') && status !== '101') {
      job.head = head.slice(end + 4)
      continue
    }
    if (status === '101') return statusResult(101, check) ?? healthy('HTTP 101')
    return statusResult(Number(status), check) ?? healthy(`HTTP ${status}`)
  }
}
