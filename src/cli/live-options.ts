/** The settings of a running proxy, which follow its configuration file. */
import { resolveRun, type LoadedRun } from '../config/load.js'
import { applyReload } from '../config/reload.js'
import type { ResolvedOptions } from '../config/resolve-options.js'
import { watchFile } from '../config/watch-file.js'
import { messageOf } from '../lib/errors.js'
import type { Logger } from '../observe/log.js'

/** More problems than that are counted. */
const SHOWN_PROBLEMS = 3

export class LiveOptions {
  readonly #words: readonly string[]
  readonly #loaded: LoadedRun
  readonly #log: Logger
  readonly #stop: () => void
  readonly #listeners: (() => void)[] = []
  #options: ResolvedOptions

  constructor(words: readonly string[], loaded: LoadedRun, log: Logger) {
    this.#words = words
    this.#loaded = loaded
    this.#log = log
    this.#options = loaded.options
    const { file } = loaded
    this.#stop =
      file === undefined
        ? () => undefined
        : watchFile(file.text, {
            file: file.name,
            onChange: (text) => {
              this.#reload(file.name, text)
            },
            onUnreadable: (reason) => {
              log.error(`configuration ${file.name}: ${reason}; what is in force stays`)
            },
          })
  }

  /** In force now. */
  get options(): ResolvedOptions {
    return this.#options
  }

  /** Called whenever options that are live have changed. */
  onApplied(listener: () => void): void {
    this.#listeners.push(listener)
  }

  close(): void {
    this.#stop()
  }

  #reload(name: string, text: string): void {
    const log = this.#log
    try {
      const next = resolveRun(this.#words, { name, text })
      const running = { ...this.#loaded, options: this.#options }
      const { options, applied, needRestart } = applyReload(running, next)
      const told = new Set(this.#options.warnings)
      this.#options = options
      log.level = this.#loaded.config.logLevel
      for (const warning of next.warnings) if (!told.has(warning)) log.warn(warning)
      if (applied.length > 0) {
        for (const listener of this.#listeners) listener()
        log.info({ options: applied }, `configuration ${name} is in force`)
      }
      if (needRestart.length > 0) {
        log.warn(
          { options: needRestart },
          `configuration ${name}: restart for the change of ${needRestart.join(', ')}`,
        )
      }
    } catch (error) {
      const problems = messageOf(error).split('\n')
      const more = problems.length - SHOWN_PROBLEMS
      const shown = problems.slice(0, SHOWN_PROBLEMS).join('; ')
      log.error(
        `the changed configuration is not valid, nothing was changed: ${shown}` +
          (more > 0 ? `; and ${more} more` : ''),
      )
    }
  }
}
