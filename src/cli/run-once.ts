/**
 * `kube-sluice run --once`: one sync, then the end. Only for modes whose rules need no process: the
 * others would stop serving with it.
 */
import type { RunConfig } from '../config/run-config.js'
import { systemClock } from '../lib/clock.js'
import type { Logger } from '../observe/log.js'
import { NO_RULE_METRICS } from '../observe/rule-metrics.js'
import { probeKernel } from './probe-kernel.js'
import { readSnapshot } from './read-snapshot.js'
import { startMode } from './run-mode.js'

/** Returns the exit status. Throws SluiceError: what a sync throws. */
export async function runOnce(config: RunConfig, log: Logger): Promise<number> {
  const warn = (message: string): void => {
    log.warn(message)
  }
  const snapshot = await readSnapshot(config, warn)
  const startedMs = systemClock.nowMs()
  const mode = await startMode(config, log, {
    metrics: NO_RULE_METRICS,
    probed: probeKernel(config),
    onFailure: (error) => {
      warn(error.message)
    },
    onEjection: () => undefined,
    endsForAnother: () => false,
    onSwitch: () => undefined,
  })
  try {
    const { warnings } = await mode.datapath.sync(snapshot)
    for (const warning of warnings) warn(warning)
  } finally {
    await mode.datapath.close()
  }
  log.info(
    {
      servicePorts: snapshot.servicePorts.size,
      tookMs: Math.round(systemClock.nowMs() - startedMs),
    },
    'in force',
  )
  return 0
}
