/** `kube-sluice run` from its words: what it does besides running, and the log that it runs with. */
import { writeFile } from 'node:fs/promises'
import { configFileText } from '../config/config-documents.js'
import { loadRun, type LoadedRun } from '../config/load.js'
import { spawnSteeringEarly } from '../datapath/nfqueue/steering-spawn.js'
import { claimNode } from '../kernel/node-claim.js'
import { setUpNode } from '../kernel/set-up-node.js'
import { messageOf, SluiceError } from '../lib/errors.js'
import { createLog, type Logger } from '../observe/log.js'
import { LiveOptions } from './live-options.js'
import { probeKernel } from './probe-kernel.js'
import { requireLasting } from './require-lasting.js'

/** What one that stops takes after its drain, to remove its rules. */
const REMOVAL_MS = 10_000

export interface StartRunContext {
  readonly signal: AbortSignal
  readonly version: string
  readonly write: (text: string) => void
}

/** Returns the exit status. Throws SluiceError for a bad configuration, and what `run` throws. */
export async function startRun(
  words: readonly string[],
  { signal, version, write }: StartRunContext,
): Promise<number> {
  const loaded = loadRun(words)
  const { config, options } = loaded
  const { writeConfigTo } = options.values
  if (writeConfigTo !== undefined) {
    await writeConfig(writeConfigTo, configFileText(options))
    write(`wrote ${writeConfigTo}\n`)
    return 0
  }
  if (options.values.once) requireLasting(config.proxyMode)
  const log = createLog(config.logLevel)
  for (const warning of options.warnings) log.warn(warning)
  setUpNode(config.nodeSetup, log)
  if (options.values.initOnly) return 0
  const claim = await claimNode({
    waitMs: config.drainTimeoutMs + REMOVAL_MS,
    signal,
    onWait: (owner) => {
      log.warn({ owner }, 'another kube-sluice runs in this network namespace; waiting for its end')
    },
  })
  if (claim === undefined) return 0
  try {
    if (options.values.once) return await (await import('./run-once.js')).runOnce(config, log)
    return await runLasting(words, loaded, { signal, version, log })
  } finally {
    await claim.close()
  }
}

async function runLasting(
  words: readonly string[],
  loaded: LoadedRun,
  { signal, version, log }: Pick<StartRunContext, 'signal' | 'version'> & { readonly log: Logger },
): Promise<number> {
  const { config } = loaded
  // The tools run, and the steering thread loads its part, while everything else is loaded.
  const probed = probeKernel(config)
  const steeringWorker = spawnSteeringEarly(config, probed)
  const { run } = await import('./run.js')
  const settings = new LiveOptions(words, loaded, log)
  try {
    return await run(config, {
      ...{ signal, log, version, early: { probed, steeringWorker } },
      options: () => settings.options,
      onReload: (listener) => {
        settings.onApplied(listener)
      },
    })
  } finally {
    settings.close()
  }
}

async function writeConfig(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text)
  } catch (error) {
    throw new SluiceError('ERR_USAGE', `--write-config-to ${file}: ${messageOf(error)}`, {
      cause: error,
    })
  }
}
