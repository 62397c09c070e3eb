/**
 * Child processes of the demo: this program's own files, each in a namespace, joined to the demo by
 * Node's IPC channel. They end themselves when the channel closes, so not even a SIGKILL of the demo
 * leaves them behind. Every wait for one has a deadline.
 */
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { SluiceError } from '../../lib/errors.js'
import type { NetworkNamespaces } from '../../kernel/netns.js'

const NEWS_TIMEOUT_MS = 15_000

export interface ChildOptions {
  readonly namespaces: NetworkNamespaces
  readonly netns: string
  /** For error messages: `pod echo-1`. */
  readonly name: string
  readonly script: 'pod' | 'load' | 'proxy-watch'
  /** File descriptor of the log that standard error goes to. */
  readonly logFd: number
}

/** `Order` is what it is told, `News` what it tells. */
export class DemoChild<Order extends object, News> {
  readonly #process: ChildProcess
  readonly #name: string

  constructor(options: ChildOptions) {
    const file = fileURLToPath(new URL(`./${options.script}.js`, import.meta.url))
    this.#name = options.name
    this.#process = options.namespaces.spawn(options.netns, [process.execPath, file], {
      stdio: ['ignore', options.logFd, options.logFd, 'ipc'],
    })
    // Spawn errors and a channel that closes early show as an exit, which whoever waits sees.
    this.#process.on('error', () => undefined)
  }

  onNews(listener: (news: News) => void): void {
    this.#process.on('message', (news) => {
      listener(news as News)
    })
  }

  /** Does nothing when the child has gone. */
  tell(order: Order): void {
    if (this.#process.connected) this.#process.send(order, () => undefined)
  }

  /** Resolves with the first news that `matches`. Throws SluiceError when the child ends or is silent for 15 s. */
  waitFor(what: string, matches: (news: News) => boolean): Promise<News> {
    return new Promise((resolve, reject) => {
      const child = this.#process
      const settle = (error: SluiceError | undefined): void => {
        clearTimeout(timer)
        child.off('message', onMessage).off('exit', onExit)
        if (error !== undefined) reject(error)
      }
      const onMessage = (message: unknown): void => {
        const news = message as News
        if (!matches(news)) return
        settle(undefined)
        resolve(news)
      }
      const onExit = (code: number | null, signal: string | null): void => {
        const how = signal ?? `status ${String(code)}`
        settle(new SluiceError('ERR_TOOL', `${this.#name}: ended with ${how} before ${what}`))
      }
      const timer = setTimeout(() => {
        settle(new SluiceError('ERR_TIMEOUT', `${this.#name}: no ${what} within 15 s`))
      }, NEWS_TIMEOUT_MS)
      child.on('message', onMessage).on('exit', onExit)
    })
  }

  /** Resolves when the process has ended. Throws SluiceError after `timeoutMs`. */
  async ended(timeoutMs: number): Promise<void> {
    const child = this.#process
    if (child.exitCode !== null || child.signalCode !== null) return
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new SluiceError('ERR_TIMEOUT', `${this.#name}: still alive after ${timeoutMs} ms`))
      }, timeoutMs)
      child.once('exit', () => {
        clearTimeout(timer)
        resolve()
      })
    })
  }
}
