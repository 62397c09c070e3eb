/** The steering thread as the main thread sees it: starts it, tells it of changes, ends it. */
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'

import { SluiceError } from '../../lib/errors.js'
import { WakeUp } from '../../kernel/wait.js'
import type { ConnectionLine } from '../../observe/connection-log.js'
import type { Foreseen, NewConnection } from '../../policy/endpoint-picker.js'
import type { SteeringMessage, SteeringReport, SteeringThreadOptions } from './steering-message.js'

export interface SteeringThreadEvents {
  readonly onSyn: (syn: Uint8Array) => void
  readonly onWarning: (message: string) => void
  readonly onConnection: (line: ConnectionLine) => void
  readonly onEjection: (servicePortId: string, endpointId: string, isEjected: boolean) => void
  /** The thread has ended without being asked to. New connections meet the standby from here on. */
  readonly onFailure: (error: Error) => void
}

/** What it makes and throws away is small; left to itself V8 takes 48 MiB for that. */
const YOUNG_MIB = 12
/** An answer takes microseconds; the largest change of all some hundred milliseconds. */
const BARRIER_TIMEOUT_MS = 30_000
/** Somebody waits for an explanation; without this part it is one, too. */
const FORESEE_TIMEOUT_MS = 2000

export class SteeringThread {
  readonly #worker: Worker
  readonly #port: MessagePort
  readonly #wakeUp: WakeUp
  readonly #waiting = new Map<number, () => void>()
  readonly #foreseeing = new Map<number, (foreseen: Foreseen | undefined) => void>()
  readonly #exited: Promise<void>
  #nextId = 1
  #isStopping = false

  private constructor(
    options: Omit<SteeringThreadOptions, 'wakeUpFd'>,
    events: SteeringThreadEvents,
    onReady: (report: SteeringReport & { type: 'ready' }) => void,
  ) {
    this.#wakeUp = new WakeUp()
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    port1.unref()
    this.#worker = new Worker(new URL('./steering-worker.js', import.meta.url), {
      name: 'steering',
      workerData: { options: { ...options, wakeUpFd: this.#wakeUp.fd }, port: port2 },
      transferList: [port2],
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    })
    this.#worker.on('message', (report: SteeringReport) => {
      if (report.type === 'ready') onReady(report)
      else this.#onReport(report, events)
    })
    this.#worker.on('error', (error) => {
      events.onFailure(error)
    })
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        resolve()
        if (!this.#isStopping) events.onFailure(new Error('the steering thread has ended'))
      })
    })
  }

  /**
   * Starts the thread; resolves when its queues are bound.
   * @throws SluiceError, e.g. when another process has the queues
   */
  static async start(
    options: Omit<SteeringThreadOptions, 'wakeUpFd'>,
    events: SteeringThreadEvents,
  ): Promise<{ thread: SteeringThread; queueBufferBytes: number; eventBufferBytes: number }> {
    return new Promise((resolve, reject) => {
      let isReady = false
      const thread = new SteeringThread(
        options,
        {
          ...events,
          onFailure: (error) => {
            if (isReady) {
              events.onFailure(error)
              return
            }
            const { first, count } = options.queues
            reject(
              new SluiceError(
                'ERR_KERNEL',
                `steering cannot start: ${error.message}; queues ${first} to ${first + count} must be free (is another kube-sluice running?)`,
                { cause: error },
              ),
            )
          },
        },
        ({ queueBufferBytes, eventBufferBytes }) => {
          isReady = true
          resolve({ thread, queueBufferBytes, eventBufferBytes })
        },
      )
    })
  }

  /** Tells the thread something; it is done in the order of the calls. */
  tell(message: SteeringMessage): void {
    if (this.#isStopping) return
    this.#port.postMessage(message)
    this.#wakeUp.signal()
  }

  /** Resolves when all that was told is in force. Throws SluiceError ERR_TIMEOUT. */
  async settled(): Promise<void> {
    const id = this.#nextId++
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(new SluiceError('ERR_TIMEOUT', 'the steering thread does not answer'))
      }, BARRIER_TIMEOUT_MS)
      this.#waiting.set(id, () => {
        clearTimeout(timer)
        this.#waiting.delete(id)
        resolve()
      })
      this.tell({ type: 'barrier', id })
    })
  }

  /** What it knows of a connection's pick beforehand; undefined when it does not answer in time. */
  async foresee(connection: NewConnection): Promise<Foreseen | undefined> {
    const id = this.#nextId++
    return new Promise((resolve) => {
      const done = (foreseen: Foreseen | undefined): void => {
        clearTimeout(timer)
        this.#foreseeing.delete(id)
        resolve(foreseen)
      }
      const timer = setTimeout(done, FORESEE_TIMEOUT_MS, undefined)
      this.#foreseeing.set(id, done)
      this.tell({ type: 'foresee', id, connection })
    })
  }

  /** Unbinds the queues and ends the thread. Idempotent. */
  async stop(): Promise<void> {
    if (this.#isStopping) {
      await this.#exited
      return
    }
    this.tell({ type: 'stop' })
    this.#isStopping = true
    await this.#exited
    this.#port.close()
    this.#wakeUp.close()
  }

  #onReport(report: SteeringReport, events: SteeringThreadEvents): void {
    switch (report.type) {
      case 'done':
        this.#waiting.get(report.id)?.()
        break
      case 'foreseen':
        this.#foreseeing.get(report.id)?.(report.foreseen)
        break
      case 'send':
        events.onSyn(report.syn)
        break
      case 'connection':
        events.onConnection(report.line)
        break
      case 'warning':
        events.onWarning(report.message)
        break
      case 'ejection':
        events.onEjection(report.servicePortId, report.endpointId, report.isEjected)
        break
      case 'ready':
      case 'stopped':
        break
    }
  }
}
