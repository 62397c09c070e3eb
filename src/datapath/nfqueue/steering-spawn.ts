/**
 * Starts the steering thread's worker, possibly before anything is known of what it is to do: it loads
 * its modules while the main thread loads its own, and then waits for its options.
 */
import { Worker } from 'node:worker_threads'

import type { RunConfig } from '../../config/run-config.js'
import type { KernelCapabilities } from '../../kernel/probe-capability.js'
import { chooseMode } from '../choose-mode.js'

export interface SteeringWorker {
  readonly worker: Worker
  /** Resolves when it has ended, with the reason. */
  readonly ended: Promise<Error>
}

/** What it makes and throws away is small; left to itself V8 takes 48 MiB for that. */
const YOUNG_MIB = 12

export function spawnSteering(): SteeringWorker {
  const worker = new Worker(new URL('./steering-worker.js', import.meta.url), {
    name: 'steering',
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  })
  let reason = new Error('the steering thread has ended')
  worker.once('error', (error) => {
    reason = error
  })
  const ended = new Promise<Error>((resolve) => {
    worker.once('exit', () => {
      resolve(reason)
    })
  })
  return { worker, ended }
}

/** Starts it as soon as it is known that it will be needed; undefined when it will not be. */
export async function spawnSteeringEarly(
  { proxyMode, auto }: Pick<RunConfig, 'proxyMode' | 'auto'>,
  probed: Promise<KernelCapabilities>,
): Promise<SteeringWorker | undefined> {
  if (proxyMode === 'nfqueue') return spawnSteering()
  if (proxyMode !== 'auto') return undefined
  const { decidingMode } = auto
  const isSteering =
    decidingMode === 'auto'
      ? chooseMode(await probed).mode === 'nfqueue'
      : decidingMode === 'nfqueue'
  return isSteering ? spawnSteering() : undefined
}
