/** The steering thread as the main thread sees it: starts it, tells it of changes, ends it. */
import { MessageChannel, type MessagePort } from 'node:worker_threads'

import { SluiceError } from '../../lib/errors.js'
import { WakeUp } from '../../kernel/wait.js'
import type { ConnectionLine } from '../../observe/connection-log.js'
import type { Foreseen, NewConnection } from '../../policy/endpoint-picker.js'
import type {
  SteeringMessage,
  SteeringReport,
  SteeringStart,
  SteeringThreadOptions,
} from './steering-message.js'
import { spawnSteering, type SteeringWorker } from './steering-spawn.js'

export interface SteeringThreadEvents {
  readonly onSyn: (syn: Uint8Array) => void
  readonly onWarning: (message: string) => void
  readonly onConnection: (line: ConnectionLine) => void
  readonly onEjection: (servicePortId: string, endpointId: string, isEjected: boolean) => void
  /** The thread has ended without being asked to. New connections meet the standby from here on. */
  readonly onFailure: (error: Error) => void
}

/** An answer takes microseconds; the largest change of all some hundred milliseconds. */
const BARRIER_TIMEOUT_MS = 30_000
/** Somebody waits for an explanation; without this part it is one, too. */
const FORESEE_TIMEOUT_MS = 2000

export class SteeringThread {
  readonly #port: MessagePort
  readonly #wakeUp: WakeUp
  readonly #waiting = new Map<number, () => void>()
  readonly #foreseeing = new Map<number, (foreseen: Foreseen | undefined) => void>()
  readonly #ended: Promise<Error>
  #nextId = 1
  #isStopping = false

  private constructor(
    { worker, ended }: SteeringWorker,
    options: Omit<SteeringThreadOptions, 'wakeUpFd'>,
    events: SteeringThreadEvents,
    onReady: (report: SteeringReport & { type: 'ready' }) => void,
  ) {
    this.#wakeUp = new WakeUp()
    this.#ended = ended
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    port1.unref()
    worker.on('message', (report: SteeringReport) => {
      if (report.type === 'ready') onReady(report)
      else this.#onReport(report, events)
    })
    void ended.then((reason) => {
      if (!this.#isStopping) events.onFailure(reason)
    })
    const start: SteeringStart = {
      options: { ...options, wakeUpFd: this.#wakeUp.fd },
      port: port2,
    }
    worker.postMessage(start, [port2])
  }

  /**
   * Starts the thread, in a worker that may be there already; resolves when its queues are bound.
   * @throws SluiceError, e.g. when another process has the queues
   */
  static async start(
    options: Omit<SteeringThreadOptions, 'wakeUpFd'>,
    events: SteeringThreadEvents,
    spawned: SteeringWorker = spawnSteering(),
  ): Promise<{ thread: SteeringThread; queueBufferBytes: number; eventBufferBytes: number }> {
    return new Promise((resolve, reject) => {
      let isReady = false
      const thread = new SteeringThread(
        spawned,
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
      await this.#ended
      return
    }
    this.tell({ type: 'stop' })
    this.#isStopping = true
    await this.#ended
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
